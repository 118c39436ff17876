"""Records of one size in a file that many processes fill, each kept with a checksum.

A crop decoded and scaled is such a record, or what a frozen backbone says of it. A record counts
once its checksum is that of its bytes, so neither a process killed while it writes, nor two that
write the same, nor a disk that lost power leave anything that could be taken for a record. The
file is sparse or reserved at once, of the size it will have.
"""

import contextlib
import hashlib
import logging
import os
import shutil
import zlib
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDER = ".cache"  # in the folder of the crops
SUFFIX = ".records"
DISK_SHARE_MAX = 0.5  # of what is free

logger = logging.getLogger(__name__)


class Records:
    """`count` arrays of one shape and type, read and written by number."""

    def __init__(self, path: Path, count: int, shape: tuple[int, ...], kind: str = "u1") -> None:
        self.path, self.count = path, count
        self.record = np.dtype([("check", "<u4"), ("content", kind, shape)])

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs, which maps the file itself."""
        return {"path": self.path, "count": self.count, "record": self.record}

    @cached_property
    def _mapped(self) -> Any:
        return np.memmap(self.path, self.record, "r+", shape=(self.count,))

    def get(self, number: int) -> NDArray[Any] | None:
        """Return a copy of a record, or None if it is not there, or not whole."""
        if number >= self.count:
            return None
        record = self._mapped[number]
        content: NDArray[Any] = record["content"].copy()
        return content if zlib.crc32(content.data) == record["check"] else None

    def put(self, number: int, content: NDArray[Any]) -> None:
        """Write a record; one that has no place is left out."""
        if number < self.count:
            self._mapped[number]["content"] = content
            self._mapped[number]["check"] = zlib.crc32(self._mapped[number]["content"])


def open_records(
    folder: Path,
    key: str,
    count: int,
    shape: tuple[int, ...],
    kind: str = "u1",
    *,
    gigabytes: float,
) -> Records | None:
    """Return the records of a key, new or as they were left, as many as the disk is to hold.

    All files of the folder together are to be of `gigabytes` at most: those used longest ago go.
    None where there is no room, or nothing can be written, which is said.
    """
    folder = folder / FOLDER
    size = np.dtype([("check", "<u4"), ("content", kind, shape)]).itemsize
    path = folder / f"{key}{SUFFIX}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = path.stat().st_size if path.exists() else 0
        room = min(gigabytes * 1e9, there + DISK_SHARE_MAX * shutil.disk_usage(folder).free)
        kept = min(count, max(int(room), there) // size)  # another run may be using what is there
        if not kept:
            return None
        _make_room(folder, path, gigabytes * 1e9 - kept * size)
        _reserve(path, kept * size)
    except OSError as error:
        logger.warning("%s: nothing of the crops is kept (%s)", path, error)
        return None
    if kept < count:
        message = (
            "%s has room for %s of %s crops (--cache-gb %s, and half of the free disk): the others "
            "are opened each time"
        )
        logger.warning(message, folder, f"{kept:,}", f"{count:,}", gigabytes)
    return Records(path, kept, shape, kind)


def _make_room(folder: Path, path: Path, room: float) -> None:
    """Remove the files used longest ago until the others have at most `room` bytes."""
    others = [other for other in folder.glob(f"*{SUFFIX}") if other != path]
    for other in sorted(others, key=lambda one: one.stat().st_mtime, reverse=True):
        room -= other.stat().st_size
        if room < 0:
            with contextlib.suppress(OSError):  # on Windows one in use cannot be removed
                other.unlink()


def _reserve(path: Path, size: int) -> None:
    """Give the file its size, keeping what it holds."""
    with path.open("ab") as file:
        file.truncate(size)
        if hasattr(os, "posix_fallocate"):  # else a full disk would be met while writing
            os.posix_fallocate(file.fileno(), 0, size)
    os.utime(path)


def make_key(folder: Path, names: Iterable[str], *made_by: Any) -> str:
    """Return a name for records made of these files, by their names, sizes and times."""
    digest = hashlib.sha256(repr(made_by).encode())
    for name in names:
        try:
            state = (folder / name).stat()
            digest.update(f"{name}\0{state.st_size}\0{state.st_mtime_ns}\n".encode())
        except OSError:
            digest.update(f"{name}\0\n".encode())
    return digest.hexdigest()[:16]
