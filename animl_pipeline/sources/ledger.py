"""What `download` knows of every image, and whether the file that is there is the right one."""

import dataclasses
from pathlib import Path
from typing import NamedTuple, Self

from animl_pipeline.catalogue.records import Image, Refused
from animl_pipeline.errors import ObjectUnavailable
from animl_pipeline.files import whole
from animl_pipeline.files.journal import Journal
from animl_pipeline.sources.source import Source
from animl_pipeline.sources.verified import NOTE_OTHER_MD5, Fetched, is_same

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

    def as_fetched(self, fetched: Fetched) -> Self:
        """Return the row of an image that was fetched."""
        size_bytes, md5, _, note = dataclasses.astuple(fetched)
        return self._replace(state="downloaded", bytes=size_bytes, md5=md5, reason=note)


def make_rows(
    images: list[Image], refused: list[Refused], *, key_prefix: str, key_field: str
) -> list[Row]:
    """Return the rows of a COCO file before anything was done."""
    rows = [_make_row(image, key_prefix, key_field) for image in images]
    return rows + [Row("", name, "", "failed", reason=str(reason)) for name, _, reason in refused]


def _make_row(image: Image, key_prefix: str, key_field: str) -> Row:
    row = Row(image.image_id, image.file_name, key_prefix + image.key if image.key else "", "")
    if image.unsafe:
        return row._replace(state="unsafe", reason=image.unsafe_reason)
    if not row.key:
        return row._replace(state="failed", reason=f"the record has no {key_field}")
    return row


class Held(NamedTuple):
    """What an earlier run knew of a file, and of which image it is.

    `mtime_ns` is the time of change of the file, or the latest it can have if not `exact`.
    """

    image_id: str
    key: str
    state: str
    size_bytes: int
    md5: str
    mtime_ns: int
    exact: bool


class Todo(NamedTuple):
    """A row whose state takes a look into a file or at the source; `number` is its place."""

    number: int
    row: Row
    before: Held | None  # what an earlier run knew of the file
    id_md5: str  # the md5 that the image's id holds, or ""


def note_fetched(journal: Journal, row: Row, fetched: Fetched) -> None:
    """Keep in the journal of a run that these bytes are about to be in place."""
    line = [row.file_name, row.image_id, row.key]
    journal.append([*line, fetched.size_bytes, fetched.md5, fetched.mtime_ns])


def judge_by_stat(row: Row, target: Path, known: Held | None, id_md5: str) -> Row | None:
    """Return the row of an image that an earlier run checked and nobody changed since, else None.

    Nothing is read but the size and the time of the file.
    """
    if not known:
        return None
    try:
        stat = target.stat()
    except OSError:  # not there, or what is there is for `judge_by_bytes` to look at
        return None
    late, early = stat.st_mtime_ns > known.mtime_ns, stat.st_mtime_ns < known.mtime_ns
    if stat.st_size != known.size_bytes or late or (known.exact and early):
        return None
    return _make_held_row(row, known.state, known.size_bytes, known.md5, id_md5)


def judge_by_bytes(
    row: Row, target: Path, known: Held | None, id_md5: str, source: Source
) -> Row | None:
    """Return the row of an image that is there and is the right one, else None.

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
            same = is_same(source, row.key, size_bytes=size, md5=md5, by_size=not wanted)
        except ObjectUnavailable as error:
            if error.state != "failed":
                raise
            return None  # some servers answer no HEAD: fetching will tell
        if not same:
            return None
    return _make_held_row(row, known.state if known else "present", size, md5, id_md5)


def _make_held_row(row: Row, state: str, size: int, md5: str, id_md5: str) -> Row:
    reason = NOTE_OTHER_MD5 if id_md5 and md5 != id_md5 else ""
    return row._replace(state=state, bytes=size, md5=md5, reason=reason)
