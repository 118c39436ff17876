"""How long a source is asked again, by all threads together, while its trouble may pass."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from animl_pipeline.errors import ObjectUnavailable, StorageRefused
from animl_pipeline.running.progress import say

TRIES = 8  # of a request while the source is busy or the connection breaks
TRIES_OF_A_BODY = 4  # that arrived altered
BACKOFF_S = (0.2, 20.0)  # the longest wait before the second try, doubled till it is the last
RETRY_AFTER_S_MAX = 60.0  # a server may ask for more; it gets this
START_S = 3.0  # how long a source that was never reached is tried
OUTAGE_S = 300.0  # how long one that was is tried: a connection in the field comes back
Result = TypeVar("Result")


class Again(Exception):
    """Trouble that may pass; `state` is the ledger's word should it not.

    `reached` is whether the source was: an attempt that never got there does not count.
    """

    def __init__(
        self, reason: str, *, state: str = "failed", reached: bool = True, wait_s: float = 0.0
    ) -> None:
        super().__init__(reason)
        self.state, self.reached, self.wait_s = state, reached, wait_s


class Patience:
    """How long one source is asked again, by all threads together."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self._reached = False
        self._out_since: float | None = None

    def note_reached(self) -> None:
        """Note that the source has answered, whatever it said."""
        self._reached, self._out_since = True, None

    def note_unreached(self, trouble: Again) -> None:
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
                f"Cannot reach the images: {trouble}. Check the network, --bucket, "
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


def ask_patiently(patience: Patience, ask: Callable[[], Result]) -> Result:
    """Return what is asked for, asking again as long as that makes sense."""
    tries: Counter[str] = Counter()  # by what it would end as
    while True:
        try:
            return ask()
        except Again as trouble:
            tries[trouble.state] += trouble.reached
            if not trouble.reached:
                patience.note_unreached(trouble)
            most = TRIES_OF_A_BODY if trouble.state == "corrupt" else TRIES
            if tries[trouble.state] >= most:
                raise ObjectUnavailable(trouble.state, str(trouble)) from trouble
            patience.wait(tries.total(), trouble.wait_s)
