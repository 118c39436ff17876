"""What a source of images is: a bucket, a web address or a folder, asked for one key at a time."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from animl_pipeline.sources.patience import Patience

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Answer:
    """What a source says of an object: bytes, md5 ("" where it does not say), and the body."""

    size_bytes: int | None
    md5: str
    chunks: Iterator[bytes] = field(default_factory=lambda: iter(()))


class Source(Protocol):
    """What images are fetched from. All methods may be called from several threads.

    They raise Again, ObjectUnavailable or StorageRefused.
    """

    patience: Patience

    def check(self) -> None:
        """Raise StorageRefused if nothing can be had here."""

    def get_quickly(self, key: str) -> Answer | None:
        """Return an object if it comes by a quicker way; None says nothing of why it does not."""

    def open(self, key: str) -> AbstractContextManager[Answer]:
        """Yield an object and its body."""

    def head(self, key: str) -> Answer:
        """Return what is said of an object, without its body."""

    def close(self) -> None:
        """End what is under way, and give back the connections."""
