"""A file of JSON lines that only grows: a crash cuts off the last line at most."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self


def read_journal(path: Path, header: Any = None) -> Iterator[Any]:
    """Yield the values in a journal; none where it is not there or has another header.

    Lines that were cut off, by a crash or a full disk, are left out.
    """
    lines = _read_whole_lines(path, _make_line(header)).splitlines()
    for line in lines[header is not None :]:
        with contextlib.suppress(ValueError):
            yield json.loads(line)


class Journal:
    """A journal that is written to; threads may share it.

    A file that is there is gone on with. A journal under another header is
    begun anew.
    """

    def __init__(self, path: Path, header: Any = None, *, syncs: bool = False) -> None:
        """Open a journal.

        Args:
            path: the file.
            header: what all values depend on; it becomes the first line.
            syncs: every line is on the disk, not only with the system, before the next.
        """
        self.path = path
        self._header = _make_line(header)
        self._syncs = syncs
        # Unbuffered: a line is one write, so threads do not mix and a crash cuts but the last.
        self._file = path.open("ab", buffering=0)
        # In place, as somebody may hold a lock on the file.
        kept = len(_read_whole_lines(path, self._header))
        self._file.truncate(kept)
        if not kept:
            self._file.write(self._header)

    def append(self, value: Any) -> None:
        """Add a value as a line."""
        self._file.write(_make_line(value))
        if self._syncs:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def remove(self) -> None:
        """Close and remove the file: what it kept is in its place."""
        self.close()
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _make_line(value: Any) -> bytes:
    """Return a value as a line; of None, as there is no header, nothing."""
    return b"" if value is None else json.dumps(value, sort_keys=True).encode() + b"\n"


def _read_whole_lines(path: Path, header: bytes) -> bytes:
    data = path.read_bytes() if path.exists() else b""
    lines = data[: data.rfind(b"\n") + 1]
    return lines if lines.startswith(header) else b""
