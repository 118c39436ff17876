"""The answers so far, in a file of SQLite: whatever ends a run, the next one goes on from here.

Answers hold for the settings they were made with. Under other settings the store begins anew.
"""

import errno
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from animl_pipeline.catalogue.records import Facts
from animl_pipeline.catalogue.sequences import parse_datetime
from animl_pipeline.detection.walking import FileState
from animl_pipeline.errors import InputInvalid
from animl_pipeline.prediction.answers import ImageAnswer
from animl_pipeline.prediction.packing import pack_boxes, unpack_boxes

NAME = ".predict.answers"
FORMAT_VERSION = 1
SETTINGS, CHANGES = "settings", "changes"  # among the notes
# `taken` is the datetime in the image itself; `moment` that of the one that holds, in seconds.
SCHEMA = """
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS images (
    name TEXT PRIMARY KEY, folder TEXT, time_ns INTEGER, size_bytes INTEGER, failure TEXT,
    width_px INTEGER, height_px INTEGER, taken TEXT,
    image_id TEXT DEFAULT '', location TEXT DEFAULT '', datetime TEXT DEFAULT '',
    sequence TEXT DEFAULT '', moment REAL,
    boxes TEXT, logits BLOB, traits BLOB);
CREATE INDEX IF NOT EXISTS by_camera ON images (location, folder, moment, name);
"""
# Of one connection, made anew each time: the answers stay as they are.
SEQUENCES = """
CREATE TEMP TABLE sequences (name TEXT PRIMARY KEY, named TEXT, place INTEGER) WITHOUT ROWID;
CREATE INDEX temp.by_sequence ON sequences (named, place);
"""
FACTS = "image_id, location, datetime, sequence"
ANSWER = """
SELECT name, time_ns, size_bytes, failure, image_id, location, datetime,
    coalesce(named, sequence), width_px, height_px, boxes, logits, traits
FROM images LEFT JOIN sequences USING (name)"""
BY_CAMERA = "ORDER BY location, folder, moment IS NULL, moment, name"
DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
NUMBERS = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_IOERR: errno.EIO,
    sqlite3.SQLITE_CANTOPEN: errno.EACCES,
    sqlite3.SQLITE_READONLY: errno.EACCES,
    sqlite3.SQLITE_PERM: errno.EACCES,
}


class Store:
    """What is answered of every image, kept in a file; used by one thread."""

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        """Open a store, made if it is not there, and begin it anew under other settings.

        Args:
            path: the file.
            settings: all that decides what is answered of an image.
        """
        self.path = path
        self.begun_anew: str = ""  # why, where answers were there and do not hold any more
        try:
            self._open()
        except DamagedStore:
            self.begun_anew = "the answers so far cannot be read"
            for part in (path.with_name(f"{path.name}-journal"), path):
                part.unlink(missing_ok=True)
            self._open()
        earlier = self.read_note(SETTINGS)
        if earlier != settings:
            if isinstance(earlier, dict) and self.count():
                self.begun_anew = f"{_name_differences(earlier, settings)} changed"
            with self._changing():
                self._connection.execute("DELETE FROM images")
                self._write_note(SETTINGS, settings)

    def _open(self) -> None:
        with _said(self.path):
            self._connection = sqlite3.connect(self.path, isolation_level=None)
            try:
                version = self._connection.execute("PRAGMA user_version").fetchone()[0]
                if version not in (0, FORMAT_VERSION):
                    raise DamagedStore(self.path)
                self._connection.executescript(f"BEGIN IMMEDIATE;{SCHEMA}COMMIT;{SEQUENCES}")
                self._connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
            except BaseException:  # Ctrl-C, too: nobody else could close what nobody has yet
                self._connection.close()
                raise

    def list_known(self) -> Iterator[tuple[str, FileState]]:
        """Yield every image that could be read, and what its file was then."""
        rows = self._select("SELECT name, time_ns, size_bytes FROM images WHERE failure = ''")
        return ((name, FileState(*state)) for name, *state in rows)

    def count(self) -> int:
        """Return how many images are in it."""
        return int(next(self._select("SELECT count(*) FROM images"))[0])

    def count_failed(self) -> int:
        """Return how many of them could not be read."""
        return int(next(self._select("SELECT count(*) FROM images WHERE failure != ''"))[0])

    def keep(self, images: dict[str, FileState]) -> None:
        """Drop what is answered of images that are not there any more."""
        names = (name for (name,) in self._select("SELECT name FROM images"))
        gone = [name for name in names if name not in images]
        if gone:
            with self._changing():
                self._connection.executemany(
                    "DELETE FROM images WHERE name = ?", [(name,) for name in gone]
                )

    def add(self, answers: Iterable[ImageAnswer]) -> None:
        """Keep answers, all or none; the same answer again is no change."""
        rows = [_to_row(answer) for answer in answers]
        with _said(self.path):
            new = [row for row in rows if self._is_new(row)]
        if new:
            places = ", ".join(f":{name}" for name in new[0])
            with self._changing():
                self._connection.executemany(
                    f"INSERT OR REPLACE INTO images ({', '.join(new[0])}) VALUES ({places})", new
                )

    def _is_new(self, row: dict[str, Any]) -> bool:
        told = [f"{name} IS :{name}" for name in row]
        query = f"SELECT 1 FROM images WHERE {' AND '.join(told)}"
        return self._connection.execute(query, row).fetchone() is None

    def place(self, find_facts: Callable[[str, str], Facts]) -> None:
        """Set where and when each image was taken.

        `find_facts` gets its file name and the datetime that is in the image itself, or "".
        """
        update = f"""UPDATE images SET ({FACTS}, moment) = (?, ?, ?, ?, ?) WHERE name = ?"""
        changed = []
        for name, taken, *earlier in self._select(f"SELECT name, taken, {FACTS} FROM images"):
            facts = find_facts(name, taken)[:4]
            if facts != tuple(earlier):
                changed.append((*facts, _to_seconds(facts[2]), name))
        if changed:
            with self._changing():
                self._connection.executemany(update, changed)

    def iterate(self) -> Iterator[ImageAnswer]:
        """Yield every answer, in the order of the file names."""
        return map(_to_answer, self._select(f"{ANSWER} ORDER BY name"))

    def iterate_by_camera(self) -> Iterator[ImageAnswer]:
        """Yield every answer, camera by camera (location and folder), in the order of time.

        Images without a datetime come last of their camera, by name.
        """
        return map(_to_answer, self._select(f"{ANSWER} {BY_CAMERA}"))

    def iterate_by_sequence(self) -> Iterator[ImageAnswer]:
        """Yield every answer that has a sequence, sequence by sequence, in the order of time."""
        query = ANSWER.replace("images LEFT JOIN sequences", "sequences JOIN images")
        return map(_to_answer, self._select(f"{query} ORDER BY named, place"))

    def list_shots(self) -> Iterator[tuple[str, Facts]]:
        """Yield every image and where and when it was taken, in the order of `iterate_by_camera`.

        Its sequence is that of its source, "" where that names none.
        """
        rows = self._select(f"SELECT name, {FACTS} FROM images {BY_CAMERA}")
        return (
            (name, Facts._make([*(text or "" for text in facts), 0, 0])) for name, *facts in rows
        )

    def set_sequences(self, sequences: Iterable[tuple[str, str]]) -> None:
        """Set the sequences of images until the store is closed: their names, and each one's.

        Those of one sequence are given in the order of time.
        """
        rows = ((*pair, place) for place, pair in enumerate(sequences))
        with _said(self.path), self._connection:
            self._connection.execute("BEGIN")
            self._connection.execute("DELETE FROM sequences")
            self._connection.executemany("INSERT INTO sequences VALUES (?, ?, ?)", rows)

    def read_note(self, name: str) -> Any:
        """Return what was noted under a name, or None."""
        rows = list(self._select("SELECT value FROM notes WHERE name = ?", name))
        return json.loads(rows[0][0]) if rows else None

    def note(self, name: str, value: Any) -> None:
        """Note a value (of JSON) under a name."""
        with _said(self.path), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            self._write_note(name, value)

    @property
    def changes(self) -> int:
        """How often what it holds has changed: it holds the same where this is the same."""
        return self.read_note(CHANGES) or 0

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Make one change of all that is done in the block; an error in it undoes all."""
        with _said(self.path), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            yield
            self._write_note(CHANGES, self.changes + 1)

    def _write_note(self, name: str, value: Any) -> None:
        self._connection.execute(
            "INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, json.dumps(value, sort_keys=True))
        )

    def _select(self, query: str, *values: Any) -> Iterator[Any]:
        with _said(self.path):
            yield from self._connection.execute(query, values)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class DamagedStore(InputInvalid):
    """The file is no store, or not one of this version."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is damaged. Remove it, and run the same command again.")


@contextmanager
def _said(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into those of the system, which say what to do."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest says which of its kind
        if code in DAMAGED:
            raise DamagedStore(path) from error
        if code in NUMBERS:
            raise OSError(NUMBERS[code], os.strerror(NUMBERS[code]), str(path)) from error
        raise


def _name_differences(earlier: dict[str, Any], settings: dict[str, Any]) -> str:
    names = sorted(earlier.keys() | settings.keys())
    return ", ".join(name for name in names if earlier.get(name) != settings.get(name))


def _to_row(answer: ImageAnswer) -> dict[str, Any]:
    """Return what a store keeps of an answer; where it was taken is set by `place`."""
    boxes, logits, traits = pack_boxes(answer.boxes)
    return {
        "name": answer.file_name,
        "folder": answer.file_name.rpartition("/")[0],
        "time_ns": answer.time_ns,
        "size_bytes": answer.size_bytes,
        "failure": answer.failure,
        "width_px": answer.facts.width_px,
        "height_px": answer.facts.height_px,
        "taken": answer.facts.datetime,
        "boxes": boxes,
        "logits": logits,
        "traits": traits,
    }


def _to_answer(row: tuple[Any, ...]) -> ImageAnswer:
    name, time_ns, size_bytes, failure, *about, boxes, logits, traits = row
    image_id, location, datetime, sequence = (text or "" for text in about[:4])
    facts = Facts(image_id, location, datetime, sequence, *about[4:])
    return ImageAnswer(
        name,
        time_ns,
        size_bytes,
        unpack_boxes(boxes, logits, traits),
        failure,
        facts,
    )


def _to_seconds(datetime: str) -> float | None:
    moment = parse_datetime(datetime)
    return moment.timestamp() if moment else None
