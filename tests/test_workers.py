"""A function mapped over many items by threads, with a bounded queue."""

import os
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from animl_pipeline.running import workers
from animl_pipeline.running.budget import PixelBudget
from animl_pipeline.running.progress import progress, say


@pytest.mark.parametrize("at_a_time", [1, 2, 7])
@pytest.mark.parametrize("count", [0, 1, 5, 200])
def test_every_item_gives_its_result_once(at_a_time: int, count: int) -> None:
    found = list(workers.map_threads(lambda item: item * item, range(count), workers=at_a_time))
    assert sorted(found) == [item * item for item in range(count)]


def test_items_are_taken_only_a_few_at_a_time() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(1000):
            taken += 1
            yield item

    results = workers.map_threads(lambda item: item, items(), workers=2)
    for done in range(1, 50):
        next(results)
        assert taken <= done + 2 * workers.QUEUED_PER_WORKER * 2
    results.close()  # type: ignore[attr-defined]
    assert taken < 100


def test_no_more_than_the_workers_run_at_once() -> None:
    lock, running, most = threading.Lock(), 0, 0

    def work(_: int) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.002)
        with lock:
            running -= 1

    list(workers.map_threads(work, range(40), workers=3))
    assert 1 <= most <= 3


def test_an_exception_of_the_function_is_raised_and_drops_what_waits() -> None:
    done: list[int] = []

    def work(item: int) -> None:
        if item == 0:
            raise ZeroDivisionError("the first item")
        time.sleep(0.01)
        done.append(item)

    with pytest.raises(ZeroDivisionError, match="the first item"):
        list(workers.map_threads(work, range(1000), workers=2))
    ended = len(done)
    assert ended < 20
    time.sleep(0.05)
    assert len(done) == ended


def test_an_exception_of_the_items_is_raised() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError("the source")

    with pytest.raises(ZeroDivisionError, match="the source"):
        list(workers.map_threads(lambda item: item, items(), workers=2))


def test_a_caller_that_stops_waits_for_the_items_at_work_alone() -> None:
    started: list[int] = []
    ended: list[int] = []

    def work(item: int) -> int:
        started.append(item)
        time.sleep(0.005)
        ended.append(item)
        return item

    results = workers.map_threads(work, range(1000), workers=2)
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert sorted(started) == sorted(ended)
    assert len(started) < 20


def test_a_budget_is_never_overdrawn_and_all_get_their_turn() -> None:
    budget, lock, inside, most, turns = PixelBudget(10), threading.Lock(), 0, 0, 0

    def work(amount: int) -> None:
        nonlocal inside, most, turns
        with budget.taking(amount):
            with lock:
                inside += min(amount, 10)
                most = max(most, inside)
            time.sleep(0.001)
            with lock:
                inside -= min(amount, 10)
                turns += 1

    list(workers.map_threads(work, [1, 4, 9, 10, 25, 3, 0] * 5, workers=6))
    assert (turns, inside) == (35, 0)
    assert most <= 10


def test_pixels_are_given_back_when_the_work_fails() -> None:
    budget = PixelBudget(1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), budget.taking(1):
            raise ZeroDivisionError


def test_a_progress_bar_is_silent_without_a_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with progress(3, title="crop", unit="image") as bar:
        for _ in range(3):
            bar.update()
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


def test_a_line_of_news_goes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    say("epoch 1")
    assert capsys.readouterr().out == "epoch 1\n"


def test_a_progress_bar_is_drawn_on_a_terminal_with_news_above_it() -> None:
    pty = pytest.importorskip("pty")
    screen = bytearray()

    def read(descriptor: int) -> bytes:
        data = os.read(descriptor, 65536)
        screen.extend(data)
        return data

    program = (
        "import time; from animl_pipeline.running import progress as p\n"
        "with p.progress(3000, title='crop', unit='image') as bar:\n"
        "    bar.note('12 MB')\n"
        "    for _ in range(3):\n"
        "        time.sleep(0.11); bar.update(1000)\n"
        "    p.say('epoch 1')\n"
    )
    pty.spawn([sys.executable, "-c", program], read)
    text = screen.decode()
    assert "2,000 of 3,000 images" in text
    assert "12 MB" in text
    assert "left" in text
    assert "epoch 1" in text
