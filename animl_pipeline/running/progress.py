"""What a run says: progress on a terminal, plain lines where there is none, all of it in a log."""

import logging
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from animl_pipeline.running import processes

DRAWN_EVERY_S = 0.1
LINE_EVERY_S = 60  # where there is no terminal, as on a cluster
FORMAT_OF_LOG = "%(asctime)s %(levelname)s %(message)s"

logger = logging.getLogger(__name__)

_is_quiet = False
_bars: list["Bar"] = []  # those on the terminal now
_handlers: list[logging.Handler] = []
_log = logging.getLogger("animl_pipeline.said")  # what is printed anyway, for the log file alone
_log.propagate = False
_log.addHandler(logging.NullHandler())
_log.setLevel(logging.INFO)


def set_up(*, is_quiet: bool, is_verbose: bool, log_file: Path | None) -> None:
    """Decide what is said from now on, and where else it is kept.

    Raises:
        OSError: the log file cannot be written.
    """
    global _is_quiet
    _is_quiet = is_quiet or processes.get_rank() > 0  # the first process says it for all
    root = logging.getLogger()
    for handler in _handlers:
        root.removeHandler(handler)
        _log.removeHandler(handler)
        handler.close()
    _handlers.clear()
    if not root.handlers:
        console = logging.StreamHandler()
        console.setLevel(logging.INFO if is_verbose else logging.WARNING)
        if processes.get_rank():
            console.setLevel(logging.ERROR)
        _handlers.append(console)
    if log_file:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        file = logging.FileHandler(log_file, encoding="utf-8")
        file.setFormatter(logging.Formatter(FORMAT_OF_LOG))
        _log.addHandler(file)
        _handlers.append(file)
    for handler in _handlers:
        root.addHandler(handler)
    tells = is_verbose or log_file is not None
    logging.getLogger("animl_pipeline").setLevel(logging.INFO if tells else logging.NOTSET)
    for name in ("botocore", "urllib3"):  # they tell of what we tell, with tracebacks
        logging.getLogger(name).setLevel(logging.CRITICAL)


def say(line: str) -> None:
    """Print a line of news on stdout, above a bar of progress if there is one."""
    _log.info(line)
    if _is_quiet:
        return
    for bar in _bars:
        bar.pause()
    print(line, flush=True)  # noqa: T201 - this is where it is done
    for bar in _bars:
        bar.go_on()


def mention(line: str) -> None:
    """Say on stderr what is about to be done, where a person watches or asked for more words."""
    if _is_quiet or not sys.stderr.isatty():
        logger.info(line)
        return
    _log.info(line)
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def complain(line: str) -> None:
    """Print on stderr what is wrong."""
    _log.error(line)
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def format_seconds(seconds: float) -> str:
    """Return a time as hours, minutes and seconds.

    >>> format_seconds(65), format_seconds(3700)
    ('01:05', '1:01:40')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"


class Bar:
    """How far a long work is: a bar on a terminal, else a line each minute; both on stderr."""

    def __init__(self, total: int, *, title: str, unit: str, done: int) -> None:
        """Begin with `done` of `total` items."""
        self._total, self._title, self._unit = total, title, unit
        self._first = self._done = done
        self._start = self._shown = time.monotonic()
        self._note = ""
        self._drawn: Any = None
        self._task: Any = None
        if not _is_quiet and sys.stderr.isatty():
            self._drawn = _draw(title)
            self._task = self._drawn.add_task(
                "", total=total, completed=done, **self._make_fields()
            )
            self._drawn.start()
            _bars.append(self)

    def update(self, count: int = 1) -> None:
        """Count items that are done."""
        self._done += count
        now = time.monotonic()
        if now - self._shown >= (DRAWN_EVERY_S if self._drawn else LINE_EVERY_S):
            self._shown = now
            self._show()

    def note(self, text: str) -> None:
        """Set what stands beside the count."""
        self._note = text

    def pause(self) -> None:
        """Leave the terminal to a line."""
        self._drawn.stop()

    def go_on(self) -> None:
        """Draw again below it."""
        self._drawn.start()

    def close(self) -> None:
        """Remove the bar."""
        if self in _bars:
            _bars.remove(self)
            self._drawn.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _make_fields(self) -> dict[str, str]:
        count = f"{self._done:,} of {self._total:,} {self._unit}s"
        return {"count": count, "left": self._estimate_left(), "note": self._note}

    def _estimate_left(self) -> str:
        """Return how long the rest takes at the speed so far."""
        done, seconds = self._done - self._first, time.monotonic() - self._start
        if not done or self._done >= self._total:
            return ""
        return f"{format_seconds(seconds / done * (self._total - self._done))} left"

    def _show(self) -> None:
        if self._drawn:
            self._drawn.update(self._task, completed=self._done, **self._make_fields())
            self._drawn.refresh()
        elif not _is_quiet:
            words = [word for word in self._make_fields().values() if word]
            print(f"{self._title}: {', '.join(words)}", file=sys.stderr, flush=True)  # noqa: T201


def progress(total: int, *, title: str, unit: str, done: int = 0) -> Bar:
    """Return a bar of progress; of several processes only the first one shows it."""
    return Bar(total, title=title, unit=unit, done=done)


def _draw(title: str) -> Any:
    # Not at the top: rich takes a tenth of a second to load, and only a terminal needs it.
    from rich import console, progress

    # No thread of its own: the readers of crops are forked from this process.
    words = ("{task.fields[count]}", "{task.fields[left]}", "{task.fields[note]}")
    return progress.Progress(
        progress.TextColumn(f"{title}:", markup=False),
        progress.BarColumn(bar_width=30),
        *(progress.TextColumn(word, markup=False) for word in words),
        console=console.Console(stderr=True),
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
