"""What `download` knows of every picture: the rows of download.csv, and the journal of a run."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from animl_pipeline import artifacts, files, storage

HELD = ("present", "downloaded")
STATES = (*HELD, "missing", "denied", "corrupt", "unsafe", "failed")
SEPARATOR = "\t"


class Row(NamedTuple):
    """A row of the ledger; a state of "" is one that is not known yet."""

    image_id: str
    file_name: str
    key: str
    state: str
    bytes: int | str = ""
    md5: str = ""
    reason: str = ""

    def of(self, got: storage.Fetched) -> "Row":
        """Return the row of a picture that was fetched."""
        return self._replace(state="downloaded", bytes=got.size_bytes, md5=got.md5, reason=got.note)


class Held(NamedTuple):
    """What an earlier run knew of a file.

    `mtime_ns` is the time of change of the file, or the latest it can have if not `exact`.
    """

    state: str
    size_bytes: int
    md5: str
    mtime_ns: int
    exact: bool


class Journal:
    """The pictures that a run has got so far, each in here before its file is in place."""

    def __init__(self, path: Path) -> None:
        # Unbuffered: a line is one write, so threads do not mix and a crash cuts but the last.
        self._file = path.open("ab", buffering=0)

    def note(self, file_name: str, got: storage.Fetched) -> None:
        """Keep that these bytes are about to be in place."""
        values = ("downloaded", str(got.size_bytes), got.md5, str(got.mtime_ns), file_name)
        self._file.write((SEPARATOR.join(values) + "\n").encode())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def held(journal_path: Path, folder: Path) -> dict[str, Held]:
    """Return, by file name, what the last ledger and the journal of an interrupted run know."""
    path = folder / artifacts.LEDGER.name
    known = dict(_in_ledger(path)) if path.exists() else {}
    return known | dict(_in_journal(journal_path))


def _in_ledger(path: Path) -> Iterator[tuple[str, Held]]:
    mtime_ns = path.stat().st_mtime_ns
    table = artifacts.read(artifacts.LEDGER, path)
    table = table[table["state"].isin(HELD)]
    columns = (table[name] for name in ("file_name", "bytes", "md5"))
    for name, size, md5 in zip(*columns, strict=True):
        yield name, Held("present", int(size), md5, mtime_ns, exact=False)


def _in_journal(path: Path) -> Iterator[tuple[str, Held]]:
    data = path.read_bytes()
    whole_lines = data[: data.rfind(b"\n") + 1]
    if whole_lines != data:  # the line a crash cut off
        path.write_bytes(whole_lines)
    for line in whole_lines.decode(errors="replace").split("\n")[:-1]:
        with contextlib.suppress(ValueError):  # not a line of ours; its picture is looked at anew
            state, size, md5, mtime_ns, name = line.split(SEPARATOR, 4)
            yield name, Held(state, int(size), md5, int(mtime_ns), exact=True)


def at_first_sight(row: Row, target: Path, known: Held | None, id_md5: str) -> Row | None:
    """Return the row of a picture that an earlier run checked and nobody changed since, else None.

    Nothing is read but the size and the time of the file.
    """
    if not known:
        return None
    try:
        stat = target.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    late, early = stat.st_mtime_ns > known.mtime_ns, stat.st_mtime_ns < known.mtime_ns
    if stat.st_size != known.size_bytes or late or (known.exact and early):
        return None
    return _here(row, known.state, known.size_bytes, known.md5, id_md5, known)


def after_reading(
    row: Row, target: Path, known: Held | None, id_md5: str, source: storage.Source
) -> Row | None:
    """Return the row of a picture that is there and is the right one, else None.

    Raises:
        ObjectUnavailable, StorageRefused: the source was to tell, and could not.
    """
    try:
        size = target.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return None
    md5, wanted = files.digest(target, "md5"), known.md5 if known else id_md5
    if md5 != wanted and not storage.matches(
        source, row.key, size_bytes=size, md5=md5, by_size=not wanted
    ):
        return None
    return _here(row, known.state if known else "present", size, md5, id_md5, known)


def _here(row: Row, state: str, size: int, md5: str, id_md5: str, known: Held | None) -> Row:
    differs = known and id_md5 and known.md5 != id_md5
    reason = storage.NOTE_OTHER_MD5 if differs else ""
    return row._replace(state=state, bytes=size, md5=md5, reason=reason)
