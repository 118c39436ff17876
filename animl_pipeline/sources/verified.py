"""Fetch one object of a source; a file is in place only after its size and md5 were checked."""

import contextlib
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from animl_pipeline.errors import ObjectUnavailable
from animl_pipeline.files import whole
from animl_pipeline.sources.patience import Again, ask_patiently
from animl_pipeline.sources.source import Answer, Source

NOTE_OTHER_MD5 = "md5 is the source's, not the one in the image id"
IMAGE_BYTES_MAX = 1 << 32  # no image is larger; a body without an end would fill the disk


@dataclass(frozen=True)
class Fetched:
    """What arrived: bytes, md5 of them, the file's time, and a note if the source contradicts."""

    size_bytes: int
    md5: str
    mtime_ns: int
    note: str = ""


def fetch_verified(
    source: Source, key: str, target: Path, *, md5: str, arrived: Callable[[Fetched], None]
) -> Fetched:
    """Write an object to `target`, whole or not at all, after its size and md5 were checked.

    `arrived` is called once, when the checked bytes are about to take their place.

    The md5 of the body is to be the given one (of the COCO file; "" if it has none) or the one the
    source names, where it does. A body that has neither is fetched again, then it is `corrupt`.

    Raises:
        ObjectUnavailable: this one object is missing, denied, corrupt, unsafe or failed.
        StorageRefused: no object can be had: credentials, bucket, region, network.
    """

    def ask() -> Fetched:
        with source.open(key) as answer:
            return _keep(answer, source, target, md5, arrived)

    answer = source.get_quickly(key)
    if answer:
        with contextlib.suppress(Again):
            return _keep(answer, source, target, md5, arrived)
    return ask_patiently(source.patience, ask)


def is_same(source: Source, key: str, *, size_bytes: int, md5: str, by_size: bool = True) -> bool:
    """Return whether the object of the source has this size and md5.

    Where the source does not name an md5, size alone decides if `by_size`, and else it does not
    match.

    Raises:
        ObjectUnavailable, StorageRefused: as for `fetch_verified`.
    """
    answer = ask_patiently(source.patience, lambda: source.head(key))
    same_md5 = answer.md5 == md5 if answer.md5 else by_size
    return answer.size_bytes == size_bytes and same_md5


def ask_size(source: Source, key: str) -> int:
    """Return the size of an object, 0 where the source does not say.

    Raises:
        ObjectUnavailable, StorageRefused: as for `fetch_verified`.
    """
    return ask_patiently(source.patience, lambda: source.head(key)).size_bytes or 0


def _keep(
    answer: Answer, source: Source, target: Path, md5: str, arrived: Callable[[Fetched], None]
) -> Fetched:
    """Write the body of an answer if it is what it should be."""
    hashed, size = hashlib.md5(usedforsecurity=False), 0
    _refuse_huge(answer.size_bytes or 0)
    with whole.whole(target) as part:
        with part.open("wb") as file:
            for chunk in answer.chunks:
                size += len(chunk)
                _refuse_huge(size)
                file.write(chunk)
                hashed.update(chunk)
            file.flush()
            mtime_ns = os.fstat(file.fileno()).st_mtime_ns
        body_md5 = hashed.hexdigest()
        if answer.size_bytes is not None and size != answer.size_bytes:
            raise Again(f"{size:,} bytes arrived of {answer.size_bytes:,}", state="corrupt")
        known = {value for value in (md5, answer.md5) if value}
        if known and body_md5 not in known:
            expected = " or ".join(sorted(known))
            raise Again(f"md5 of the body is {body_md5}, expected is {expected}", state="corrupt")
        source.patience.refuse_stopped()
        note = NOTE_OTHER_MD5 if md5 and body_md5 != md5 else ""
        fetched = Fetched(size, body_md5, mtime_ns, note)
        arrived(fetched)
    return fetched


def _refuse_huge(size: int) -> None:
    if size > IMAGE_BYTES_MAX:
        raise ObjectUnavailable("failed", f"is larger than {IMAGE_BYTES_MAX >> 30} GB")
