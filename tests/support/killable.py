"""Runs pipeline commands in forked processes that end themselves at their n-th change of a file.

As a script: reads lines of JSON, lists of orders that run side by side; forks for each order (so
that the libraries load once), and answers with a line of JSON. A change is what Python's audit
events tell of: a file opened for writing, renamed, removed, a link or a folder made. The signal
comes right before the change.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

CHANGES = {"os.rename": 0, "os.remove": 0, "os.mkdir": 0, "os.symlink": 1}  # which argument


@dataclass(frozen=True)
class Ended:
    """How a command ended: -9 where it was killed, else its exit code."""

    code: int
    changes: int
    seconds: float
    out: str
    err: str

    @property
    def said(self) -> str:
        return self.out + self.err


class Runner:
    """Speaks with the process that forks."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def run(
        self,
        folder: Path,
        words: list[str],
        *,
        at_change: int = 0,
        number: signal.Signals = signal.SIGKILL,
        after_s: float = 0,
    ) -> Ended:
        """Runs a command in a folder; it gets the signal at a change or after a time, or not."""
        order = {
            "folder": str(folder), "words": words, "at_change": at_change, "signal": int(number),
            "after_s": after_s,
        }  # fmt: skip
        [ended] = self._send([order])
        return ended

    def run_at_once(self, folder: Path, *commands: list[str]) -> list[Ended]:
        """Runs commands in a folder side by side."""
        rest = {"folder": str(folder), "at_change": 0, "signal": 0, "after_s": 0}
        return self._send([{"words": words} | rest for words in commands])

    def _send(self, orders: list[dict[str, Any]]) -> list[Ended]:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(orders) + "\n")
        self.process.stdin.flush()
        return [Ended(**ended) for ended in json.loads(self.process.stdout.readline())]


@contextmanager
def runner(*words: str) -> Iterator[Runner]:
    """Yields what runs commands; one process for all of them. With `detect`, it loads its YOLOs."""
    command = [sys.executable, str(Path(__file__).resolve()), *words]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Runner(process)
        finally:
            assert process.stdin
            process.stdin.close()


def watch(folder: str, at_change: int, number: int, report: int) -> None:
    """Counts this process's changes below the folder; the count so far goes to a pipe."""
    lock, count = threading.Lock(), 0

    def hook(event: str, values: tuple[Any, ...]) -> None:
        nonlocal count
        if event == "open":
            path, writes = values[0], int(values[2] or 0) & (os.O_WRONLY | os.O_RDWR)
        else:
            path, writes = values[CHANGES.get(event, 0)] if event in CHANGES else None, 1
        if not writes or not isinstance(path, str | bytes | os.PathLike):
            return
        if not os.path.abspath(os.fsdecode(path)).startswith(folder + os.sep):  # noqa: PTH100
            return
        with lock:
            count += 1
            os.write(report, b".")
            if count == at_change:
                os.kill(os.getpid(), number)

    sys.addaudithook(hook)


def log_of(order: dict[str, Any], stream: str, pid: int) -> Path:
    return Path(f"{order['folder']}.{pid}.{stream}")


def child(order: dict[str, Any], report: int) -> NoReturn:
    from animl_pipeline import cli

    os.setsid()
    os.chdir(order["folder"])
    for number, stream in ((1, "out"), (2, "err")):
        log = os.open(log_of(order, stream, os.getpid()), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, number)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["pipeline", *order["words"]]
    watch(order["folder"], order["at_change"], order["signal"], report)
    code: Any = 1  # what Python ends with after a traceback
    try:
        cli.main()
        code = 0
    except SystemExit as end:
        code = end.code
    finally:
        if kind := sys.exc_info()[0]:
            sys.excepthook(kind, *sys.exc_info()[1:])
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0)


@dataclass(frozen=True)
class Started:
    """A forked process, and where it tells of its changes."""

    order: dict[str, Any]
    pid: int
    reading: int
    at: float
    timer: threading.Timer


def start(order: dict[str, Any]) -> Started:
    reading, writing = os.pipe()
    at = time.monotonic()
    pid = os.fork()
    if not pid:
        os.close(reading)
        child(order, writing)
    os.close(writing)
    timer = threading.Timer(order["after_s"], os.kill, (pid, order["signal"]))
    if order["after_s"]:
        timer.start()
    return Started(order, pid, reading, at, timer)


def finish(started: Started) -> dict[str, Any]:
    changes = 0
    while got := os.read(started.reading, 4096):
        changes += len(got)
    os.close(started.reading)
    _, status = os.waitpid(started.pid, 0)
    started.timer.cancel()
    ended = {
        "code": os.waitstatus_to_exitcode(status),
        "changes": changes,
        "seconds": time.monotonic() - started.at,
    }
    for stream in ("out", "err"):
        log = log_of(started.order, stream, started.pid)
        ended[stream] = log.read_text(encoding="utf-8", errors="replace")
        log.unlink()
    return ended


def load_yolos() -> None:
    """Loads them in the order of a real run: ultralytics changes what is loaded before it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("animl_pipeline.detection.megadetector", "ultralytics.nn.tasks", "yolov5"):
            importlib.import_module(name)


def main() -> None:
    import torch.utils.tensorboard  # noqa: F401 - loaded once, before any fork

    from animl_pipeline.evaluation import metrics  # noqa: F401
    from animl_pipeline.prediction import filling  # noqa: F401
    from animl_pipeline.report import page  # noqa: F401
    from animl_pipeline.sources import bucket  # noqa: F401
    from animl_pipeline.splitting.partition import solve  # noqa: F401
    from animl_pipeline.stages import crop, download, evaluate, predict, split, train  # noqa: F401
    from animl_pipeline.training import loop  # noqa: F401

    if "detect" in sys.argv:
        load_yolos()
    for line in sys.stdin:
        started = [start(order) for order in json.loads(line)]
        print(json.dumps([finish(one) for one in started]), flush=True)


if __name__ == "__main__":
    main()
