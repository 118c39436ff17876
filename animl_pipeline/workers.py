"""Map a function of one item over many, with a progress bar and a bounded queue."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import Never, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")
QUEUED_PER_WORKER = 4


def map_threads(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int
) -> Iterator[Result]:
    """Yield the results as they are ready, in any order.

    At most a few items per worker wait at a time, so memory does not grow with the number of
    items. The first exception of `function`, or of the caller (Ctrl-C), drops what still waits
    and is raised once the items at work have ended.
    """
    source = iter(items)
    with ThreadPoolExecutor(max_workers=workers) as pool:
        waiting: set[Future[Result]] = set()
        try:
            while True:
                room = workers * QUEUED_PER_WORKER - len(waiting)
                waiting.update(pool.submit(function, item) for item in islice(source, room))
                if not waiting:
                    return
                ready, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in ready:
                    yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def progress(total: int, *, title: str, unit: str) -> "tqdm[Never]":
    """Return a progress bar on stderr that is silent where there is no terminal to draw on."""
    return tqdm(total=total, desc=title, unit=unit, disable=None, dynamic_ncols=True, leave=False)


def say(line: str) -> None:
    """Print a line of news, above a progress bar if there is one."""
    tqdm.write(line)
