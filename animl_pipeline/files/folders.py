"""Folders that one process works in, and pointers that lead to one of several."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from animl_pipeline.errors import InputInvalid
from animl_pipeline.files.whole import PART

_held: set[IO[bytes]] = set()  # the files of the locks of this process


@contextmanager
def locked(path: Path, taken: str) -> Iterator[None]:
    """Hold a file, made if it is not there, so that no other process does.

    Where the system or its disk knows no locks, nothing is held.

    Raises:
        InputInvalid: another process holds it; `taken` says what that means.
    """
    with path.open("ab") as file:
        try:
            _lock(file.fileno())
        except BlockingIOError:
            raise InputInvalid(f"{taken}: wait for it, or stop it, then run this again.") from None
        except OSError:  # a network disk without locks
            pass
        _held.add(file)
        try:
            yield
        finally:
            _held.discard(file)


def _let_go() -> None:
    """Close in a forked child what its parent holds: a lock lasts as long as anyone's open file."""
    for file in _held:
        file.close()
    _held.clear()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_let_go)


def _lock(number: int) -> None:
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)


def point_at(link: Path, folder: Path) -> None:
    """Make `link` lead to a folder beside it: a symbolic link, or a file with its name."""
    part = link.with_name(link.name + PART)
    part.unlink(missing_ok=True)
    try:
        part.symlink_to(folder.name, target_is_directory=True)
    except OSError:
        part.write_text(folder.name, encoding="utf-8")
    part.replace(link)


def follow(link: Path) -> Path:
    """Return the folder that `point_at` made `link` lead to, or `link` itself."""
    if link.is_symlink():
        return link.parent / link.readlink()
    if link.is_file():
        return link.parent / link.read_text(encoding="utf-8").strip()
    return link
