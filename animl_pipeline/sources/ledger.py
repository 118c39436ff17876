"""What `download` knows of every picture: the rows of download.csv, and the journal of a run."""

import contextlib
import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from animl_pipeline.artifacts import tables
from animl_pipeline.errors import ObjectUnavailable
from animl_pipeline.files import whole
from animl_pipeline.sources import source as storage

HELD = ("present", "downloaded")
STATES = (*HELD, "missing", "denied", "corrupt", "unsafe", "failed")


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
    """What an earlier run knew of a file, and of which picture it is.

    `mtime_ns` is the time of change of the file, or the latest it can have if not `exact`.
    """

    image_id: str
    key: str
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

    def note(self, row: Row, got: storage.Fetched) -> None:
        """Keep that these bytes are about to be in place."""
        line = [row.file_name, row.image_id, row.key, got.size_bytes, got.md5, got.mtime_ns]
        self._file.write((json.dumps(line) + "\n").encode())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def write(folder: Path, rows: Iterable[Row]) -> None:
    """Write download.csv, whole or not at all."""
    with (
        whole.whole(folder / tables.LEDGER.name) as part,
        part.open("w", encoding="utf-8", newline="") as file,
    ):
        table = csv.writer(file, lineterminator="\n")
        # A lone carriage return ends a line for whoever reads.
        quoted = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
        table.writerow(tables.LEDGER.names)
        for row in rows:
            returns = any("\r" in str(cell) for cell in row)
            (quoted if returns else table).writerow(row)


def held(journal_path: Path, folder: Path) -> dict[str, Held]:
    """Return, by file name, what the last ledger and the journal of an interrupted run know.

    Raises:
        InputInvalid: download.csv is not the table that was written.
    """
    path = folder / tables.LEDGER.name
    known = dict(_in_ledger(path)) if path.exists() else {}
    return known | dict(_in_journal(journal_path))


def not_held(folder: Path) -> dict[tuple[str, str], str]:
    """Return, by image id and file name, why a picture is not the one the export means.

    What lies in its place, if anything does, is not to be used.

    Raises:
        InputInvalid: download.csv is not the table that was written.
    """
    path = folder / tables.LEDGER.name
    if not path.exists():
        return {}
    table = tables.read(tables.LEDGER, path)
    table = table[~table["state"].isin(HELD)]
    columns = (table[name] for name in ("image_id", "file_name", "state", "reason"))
    return {
        (image_id, name): f"picture is not the right one: {path.name} says {state} ({reason})"
        for image_id, name, state, reason in zip(*columns, strict=True)
    }


def _in_ledger(path: Path) -> Iterator[tuple[str, Held]]:
    mtime_ns = path.stat().st_mtime_ns
    table = tables.read(tables.LEDGER, path)
    table = table[table["state"].isin(HELD)]
    columns = (table[name] for name in ("file_name", "image_id", "key", "bytes", "md5"))
    for name, image_id, key, size, md5 in zip(*columns, strict=True):
        with contextlib.suppress(ValueError):  # edited; its picture is looked at anew
            yield name, Held(image_id, key, "present", int(size), md5, mtime_ns, exact=False)


def _in_journal(path: Path) -> Iterator[tuple[str, Held]]:
    data = path.read_bytes()
    whole_lines = data[: data.rfind(b"\n") + 1]
    if whole_lines != data:  # the line a crash cut off
        path.write_bytes(whole_lines)
    for line in whole_lines.split(b"\n")[:-1]:
        with contextlib.suppress(ValueError, TypeError):  # cut off by a full disk
            name, image_id, key, size, md5, mtime_ns = json.loads(line)
            yield name, Held(image_id, key, "downloaded", size, md5, mtime_ns, exact=True)


def at_first_sight(row: Row, target: Path, known: Held | None, id_md5: str) -> Row | None:
    """Return the row of a picture that an earlier run checked and nobody changed since, else None.

    Nothing is read but the size and the time of the file.
    """
    if not known:
        return None
    try:
        stat = target.stat()
    except OSError:  # not there, or what is there is for `after_reading` to look at
        return None
    late, early = stat.st_mtime_ns > known.mtime_ns, stat.st_mtime_ns < known.mtime_ns
    if stat.st_size != known.size_bytes or late or (known.exact and early):
        return None
    return _here(row, known.state, known.size_bytes, known.md5, id_md5)


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
    md5, wanted = whole.digest(target, "md5"), known.md5 if known else id_md5
    if md5 != wanted:
        try:
            same = storage.matches(source, row.key, size_bytes=size, md5=md5, by_size=not wanted)
        except ObjectUnavailable as error:
            if error.state != "failed":
                raise
            return None  # some servers answer no HEAD: fetching will tell
        if not same:
            return None
    return _here(row, known.state if known else "present", size, md5, id_md5)


def _here(row: Row, state: str, size: int, md5: str, id_md5: str) -> Row:
    reason = storage.NOTE_OTHER_MD5 if id_md5 and md5 != id_md5 else ""
    return row._replace(state=state, bytes=size, md5=md5, reason=reason)
