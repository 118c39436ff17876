"""Which module reads a file of labels, chosen by how its content begins.

To add a format, write a module with the functions of `Reader` and name it in READERS.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from animl_pipeline.catalogue.records import Catalogue, Image, Refused, Size
from animl_pipeline.formats import coco

HEAD_BYTES = 4096


class Reader(Protocol):
    """A module that reads one format of labels."""

    def is_written_in(self, head: bytes) -> bool:
        """Return whether a file that begins so is of this format."""

    def read(
        self,
        path: Path,
        *,
        key_field: str | None = None,
        read_size: Callable[[str], Size | None] | None = None,
    ) -> Catalogue:
        """Return the images and annotations; `read_size` asks the image for its size (px)."""

    def read_images(
        self, path: Path, *, key_field: str | None = None
    ) -> tuple[list[Image], list[Refused], str]:
        """Return the images alone, what is none, and the field of their keys."""


READERS: tuple[Reader, ...] = (coco,)


def read(path: Path, *, read_size: Callable[[str], Size | None] | None = None) -> Catalogue:
    """Return the catalogue of a file of labels, in whatever of the formats.

    Raises:
        InputMissing, InputInvalid: with what is wrong and what to do about it.
    """
    return _find_reader(path).read(path, read_size=read_size)


def read_images(
    path: Path, *, key_field: str | None = None
) -> tuple[list[Image], list[Refused], str]:
    """Return the images of a file of labels, what is none, and the field of their keys."""
    return _find_reader(path).read_images(path, key_field=key_field)


def _find_reader(path: Path) -> Reader:
    """Return the reader of a file; COCO's, which says what is wrong, where none knows it."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return coco
    return next((reader for reader in READERS if reader.is_written_in(head)), coco)
