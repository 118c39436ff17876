"""A folder on this computer or a mounted disk as the source of images."""

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from animl_pipeline.errors import InputMissing, ObjectUnavailable
from animl_pipeline.files import names
from animl_pipeline.sources.patience import Patience
from animl_pipeline.sources.source import CHUNK_BYTES, Answer


class Folder:
    """A source whose keys are paths below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.patience = Patience()

    def check(self) -> None:
        """Raise InputMissing if there is no such folder."""
        if not self.root.is_dir():
            # With an @ in it, it may be an address with a password: then it is not repeated.
            name = "" if "@" in str(self.root) else f" {self.root}"
            raise InputMissing(f"The folder{name} of --source is not there: check its name.")

    def get_quickly(self, key: str) -> Answer | None:  # noqa: ARG002 - a bucket has a quicker way
        """Return None: there is one way to a file."""
        return None

    @contextmanager
    def open(self, key: str) -> Iterator[Answer]:
        """Yield a file; the md5 is not known before it is read."""
        path = self._find_file(key)
        try:
            file = path.open("rb")
        except OSError as error:
            raise _explain_error(error) from error
        with file:
            yield Answer(path.stat().st_size, "", _read_chunks(file))

    def head(self, key: str) -> Answer:
        """Return the size of a file."""
        return Answer(self._find_file(key).stat().st_size, "")

    def close(self) -> None:
        """End the copies under way."""
        self.patience.stopped.set()

    def _find_file(self, key: str) -> Path:
        """Return the regular file of a key; a pipe or a device would be read without an end."""
        self.patience.refuse_stopped()
        if reason := names.explain_unsafe(key):
            raise ObjectUnavailable("unsafe", f"the key {reason}")
        path = self.root / key
        try:
            mode = path.stat().st_mode
        except OSError as error:
            raise _explain_error(error) from error
        if not stat.S_ISREG(mode):
            raise ObjectUnavailable("failed", "is not a file")
        return path


def _read_chunks(file: BinaryIO) -> Iterator[bytes]:
    try:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
    except OSError as error:
        raise _explain_error(error) from error


def _explain_error(error: OSError) -> ObjectUnavailable:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return ObjectUnavailable("missing", "no such file in the folder")
    if isinstance(error, PermissionError):
        return ObjectUnavailable("denied", "no permission to read it")
    return ObjectUnavailable("failed", f"cannot be read: {error.strerror or error}")
