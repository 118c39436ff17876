"""A function mapped over many items by threads."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
QUEUED_PER_WORKER = 16
BURST_S = 0.005  # results are taken some at a time: to wake for each costs the workers their turn
GRACE_S = 0.8  # for the items at work when the rest is dropped: Ctrl-C is answered within a second
LOOK_S = 0.5  # a wait without an end would not notice Ctrl-C on Windows


def map_threads(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int,
    abort: Callable[[], None] = lambda: None,
) -> Iterator[Result]:
    """Yield the results as they are ready, in any order.

    At most a few items per worker wait at a time, so memory does not grow with the number of
    items. The first exception of `function`, or of the caller (Ctrl-C), drops what still waits,
    calls `abort`, which may hurry the items at work, waits for them a moment and is raised.
    """
    pool = _Pool(function, workers)
    pool.start()
    todo, is_finished = iter(items), False
    try:
        while pool.feed(todo):
            yield from pool.drain()
        is_finished = True
    finally:
        pool.drop()
        if not is_finished:
            abort()
        pool.stop(within_s=None if is_finished else GRACE_S)


class _Pool(Generic[Item, Result]):
    """Threads, what waits for them, and what they have done."""

    def __init__(self, function: Callable[[Item], Result], workers: int) -> None:
        self._function = function
        self._todo: queue.SimpleQueue[list[Item]] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[tuple[list[Result], BaseException | None]]
        self._done = queue.SimpleQueue()
        self._is_dropped = threading.Event()
        self._under_way = 0
        # As daemons, so that one that hangs in the network cannot keep a stopped command alive.
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(workers)]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def feed(self, items: Iterator[Item]) -> bool:
        """Let as many items wait as may; return whether any is under way."""
        for item in islice(items, len(self._threads) * QUEUED_PER_WORKER - self._under_way):
            self._todo.put([item])
            self._under_way += 1
        return self._under_way > 0

    def drain(self) -> Iterator[Result]:
        """Yield the next result, once there is one, and what comes within a moment of it.

        Raises:
            BaseException: what the function raised.
        """
        burst = []
        with contextlib.suppress(queue.Empty):
            burst.append(self._done.get(timeout=LOOK_S))
            time.sleep(BURST_S)
            while True:
                burst.append(self._done.get_nowait())
        for results, error in burst:
            self._under_way -= 1
            if error:
                raise error
            yield from results

    def drop(self) -> None:
        """Take up no item any more."""
        self._is_dropped.set()
        for _ in self._threads:
            self._todo.put([])

    def stop(self, *, within_s: float | None) -> None:
        """Wait until the threads have ended, but no longer than this; None: as long as it takes."""
        end = time.monotonic() + (within_s or 0.0)
        for thread in self._threads:
            thread.join(None if within_s is None else max(0.0, end - time.monotonic()))

    def _work(self) -> None:
        while waiting := self._todo.get():  # an empty list says that there is no more
            if not self._is_dropped.is_set():
                try:
                    self._done.put(([self._function(waiting[0])], None))
                # All there is, a panic of Rust's too: an item without an answer would be awaited
                # for ever. It is raised where the answer is.
                except BaseException as error:  # noqa: BLE001
                    self._done.put(([], error))
