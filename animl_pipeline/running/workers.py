"""A function mapped over many items by threads."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

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
    todo: queue.SimpleQueue[list[Item]] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[list[Result], BaseException | None]] = queue.SimpleQueue()
    dropped = threading.Event()

    def work() -> None:
        while one := todo.get():  # an empty list says that there is no more
            if not dropped.is_set():
                try:
                    done.put(([function(one[0])], None))
                # All there is, a panic of Rust's too: an item without an answer would be awaited
                # for ever. It is raised where the answer is.
                except BaseException as error:  # noqa: BLE001
                    done.put(([], error))

    # As daemons, so that one that hangs in the network cannot keep a stopped command alive.
    threads = [threading.Thread(target=work, daemon=True) for _ in range(workers)]
    for thread in threads:
        thread.start()
    source, under_way, finished = iter(items), 0, False
    try:
        while True:
            for item in islice(source, workers * QUEUED_PER_WORKER - under_way):
                todo.put([item])
                under_way += 1
            if not under_way:
                finished = True
                return
            for results, error in _burst(done):
                under_way -= 1
                if error:
                    raise error
                yield from results
    finally:
        dropped.set()
        for _ in threads:
            todo.put([])
        if not finished:
            abort()
        end = time.monotonic() + GRACE_S
        for thread in threads:
            thread.join(None if finished else max(0.0, end - time.monotonic()))


def _burst(done: "queue.SimpleQueue[Result]") -> Iterator[Result]:
    """Yield the next result, once there is one, and what comes within a moment of it."""
    with contextlib.suppress(queue.Empty):
        yield done.get(timeout=LOOK_S)
        time.sleep(BURST_S)
        while True:
            yield done.get_nowait()


class Room:
    """So much of a thing, as pixels in memory, that threads share: who finds too little waits."""

    def __init__(self, size: int) -> None:
        self._size = self._free = size
        self._changed = threading.Condition()

    @contextmanager
    def taking(self, amount: int) -> Iterator[None]:
        """Hold so much of it, or all where it is not as large as that."""
        amount = min(amount, self._size)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= amount)
            self._free -= amount
        try:
            yield
        finally:
            with self._changed:
                self._free += amount
                self._changed.notify_all()
