"""Where pictures come from (a bucket, a web address, a folder), and fetching them verified.

A source is in one of the modules here, and is asked through what this one has.
"""

import contextlib
import hashlib
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from animl_pipeline.errors import ObjectUnavailable, StorageRefused
from animl_pipeline.files import whole
from animl_pipeline.running.progress import say

NOTE_OTHER_MD5 = "md5 is the source's, not the one in the image id"
CHUNK_BYTES = 1 << 20
PICTURE_BYTES_MAX = 1 << 32  # no picture is larger; a body without an end would fill the disk
TRIES = 8  # of a request that found the source busy or the connection broken
TRIES_OF_A_BODY = 4  # that arrived altered
BACKOFF_S = (0.2, 20.0)  # the longest wait before the second try, doubled till it is the last
RETRY_AFTER_S_MAX = 60.0  # a server may ask for more; it gets this
START_S = 3.0  # how long a source that was never reached is tried
OUTAGE_S = 300.0  # how long one that was is tried: a connection in the field comes back
Result = TypeVar("Result")


@dataclass(frozen=True)
class Answer:
    """What a source says of an object: bytes, md5 ("" where it does not say), and the body."""

    size_bytes: int | None
    md5: str
    chunks: Iterator[bytes] = field(default_factory=lambda: iter(()))


class Source(Protocol):
    """What pictures are fetched from. All methods may be called from several threads.

    They raise Again, ObjectUnavailable or StorageRefused.
    """

    patience: "Patience"

    def check(self) -> None:
        """Raise StorageRefused if nothing can be had here."""

    def quickly(self, key: str) -> Answer | None:
        """Return an object if it comes by a quicker way; None says nothing of why it does not."""

    def open(self, key: str) -> AbstractContextManager[Answer]:
        """Yield an object and its body."""

    def head(self, key: str) -> Answer:
        """Return what is said of an object, without its body."""

    def close(self) -> None:
        """End what is under way, and give back the connections."""


class Again(Exception):
    """Trouble that may pass; `state` is the ledger's word should it not.

    `reached` is whether the source was: an attempt that never got there does not count.
    """

    def __init__(
        self, reason: str, *, state: str = "failed", reached: bool = True, wait_s: float = 0.0
    ) -> None:
        super().__init__(reason)
        self.state, self.reached, self.wait_s = state, reached, wait_s


@dataclass(frozen=True)
class Fetched:
    """What arrived: bytes, md5 of them, the file's time, and a note if the source contradicts."""

    size_bytes: int
    md5: str
    mtime_ns: int
    note: str = ""


class Patience:
    """How long one source is asked again, by all threads together."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self._reached = False
        self._out_since: float | None = None

    def reached(self) -> None:
        """Note that the source has answered, whatever it said."""
        self._reached, self._out_since = True, None

    def out(self, trouble: Again) -> None:
        """Note that the source could not be reached.

        Raises:
            StorageRefused: that has been so for too long.
        """
        now = time.monotonic()
        if self._out_since is None:
            self._out_since = now
            if self._reached:
                say(f"No connection ({trouble}); trying for {OUTAGE_S / 60:g} minutes.")
        elif now - self._out_since > (OUTAGE_S if self._reached else START_S):
            raise StorageRefused(
                f"Cannot reach the pictures: {trouble}. Check the network, --bucket, "
                "--endpoint-url and --source, then run this again; it goes on where it stopped."
            )

    def wait(self, tries: int, at_least_s: float) -> None:
        """Wait before another try: exponential back-off with full jitter.

        Raises:
            ObjectUnavailable: the source was closed meanwhile.
        """
        first, last = BACKOFF_S
        jittered_s = random.uniform(0, min(last, first * 2**tries))
        seconds = max(jittered_s, min(at_least_s, RETRY_AFTER_S_MAX))
        self.stopped.wait(seconds)
        self.refuse_stopped()

    def refuse_stopped(self) -> None:
        """Raise ObjectUnavailable if the source was closed."""
        if self.stopped.is_set():
            raise ObjectUnavailable("failed", "the run was stopped")


def fetch(
    source: Source, key: str, target: Path, *, md5: str, arrived: Callable[[Fetched], None]
) -> Fetched:
    """Write an object to `target`, whole or not at all, after its size and md5 were checked.

    `arrived` is called once, when the checked bytes are about to take their place.

    The md5 of the body is to be the given one (of the export; "" if it has none) or the one the
    source names, where it does. A body that has neither is fetched again, then it is `corrupt`.

    Raises:
        ObjectUnavailable: this one object is missing, denied, corrupt, unsafe or failed.
        StorageRefused: no object can be had: credentials, bucket, region, network.
    """

    def ask() -> Fetched:
        with source.open(key) as answer:
            return _keep(answer, source, target, md5, arrived)

    answer = source.quickly(key)
    if answer:
        with contextlib.suppress(Again):
            return _keep(answer, source, target, md5, arrived)
    return _patiently(source.patience, ask)


def matches(source: Source, key: str, *, size_bytes: int, md5: str, by_size: bool = True) -> bool:
    """Return whether the object of the source has this size and md5.

    Where the source does not name an md5, size alone decides if `by_size`, and else it does not
    match.

    Raises:
        ObjectUnavailable, StorageRefused: as for `fetch`.
    """
    said = _patiently(source.patience, lambda: source.head(key))
    same_md5 = said.md5 == md5 if said.md5 else by_size
    return said.size_bytes == size_bytes and same_md5


def size_bytes(source: Source, key: str) -> int:
    """Return the size of an object, 0 where the source does not say.

    Raises:
        ObjectUnavailable, StorageRefused: as for `fetch`.
    """
    return _patiently(source.patience, lambda: source.head(key)).size_bytes or 0


def _patiently(patience: Patience, ask: Callable[[], Result]) -> Result:
    """Return what is asked for, asking again as long as that makes sense."""
    tries: Counter[str] = Counter()  # by what it would end as
    while True:
        try:
            return ask()
        except Again as trouble:
            tries[trouble.state] += trouble.reached
            if not trouble.reached:
                patience.out(trouble)
            most = TRIES_OF_A_BODY if trouble.state == "corrupt" else TRIES
            if tries[trouble.state] >= most:
                raise ObjectUnavailable(trouble.state, str(trouble)) from trouble
            patience.wait(tries.total(), trouble.wait_s)


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
        found = hashed.hexdigest()
        if answer.size_bytes is not None and size != answer.size_bytes:
            raise Again(f"{size:,} bytes arrived of {answer.size_bytes:,}", state="corrupt")
        known = {value for value in (md5, answer.md5) if value}
        if known and found not in known:
            expected = " or ".join(sorted(known))
            raise Again(f"md5 of the body is {found}, expected is {expected}", state="corrupt")
        source.patience.refuse_stopped()
        note = NOTE_OTHER_MD5 if md5 and found != md5 else ""
        fetched = Fetched(size, found, mtime_ns, note)
        arrived(fetched)
    return fetched


def _refuse_huge(size: int) -> None:
    if size > PICTURE_BYTES_MAX:
        raise ObjectUnavailable("failed", f"is larger than {PICTURE_BYTES_MAX >> 30} GB")
