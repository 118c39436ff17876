"""Ctrl-C and SIGTERM: noted when they come, answered when nothing is half done."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from animl_pipeline.errors import Stopped
from animl_pipeline.running import processes

STDERR = 2
NOTICE = b"\nStopping after this step, and saving. Once more stops at once, without.\n"


class Stop:
    """Whether somebody has asked to stop."""

    def __init__(self) -> None:
        self.signal = 0
        self._heeded_at_once = False

    @contextmanager
    def heeded_at_once(self) -> Iterator[None]:
        """Raise Stopped in the midst of the block, which may be left at any point."""
        self._heeded_at_once = True
        try:
            if self.signal:
                raise Stopped(self.signal)
            yield
        finally:
            self._heeded_at_once = False

    def note(self, number: int, _: FrameType | None) -> None:
        """Note a signal; a second one of its kind does what it always does."""
        self.signal = number
        usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, usual)
        if self._heeded_at_once:
            raise Stopped(number)
        if not processes.get_rank():
            os.write(STDERR, NOTICE)  # print may have been interrupted, and cannot be entered twice


@contextmanager
def noted() -> Iterator[Stop]:
    """Yield a Stop that notes Ctrl-C and SIGTERM during the block.

    Python gives signals to the main thread alone: in another nothing is noted.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {
        number: signal.signal(number, stop.note) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ignore_signals(_: int = 0) -> None:
    """Leave Ctrl-C and SIGTERM to the process that started this one: it ends this one in time."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
