import os
import signal
import threading

import pytest

from animl_pipeline.errors import Stopped
from animl_pipeline.running import stopping


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_noted_and_nothing_is_interrupted(
    number: int, capfd: pytest.CaptureFixture[str]
) -> None:
    with stopping.noted() as stop:
        assert not stop.signal
        send(number)
        assert stop.signal == number
    assert "Once more stops at once" in capfd.readouterr().err


def test_the_second_ctrl_c_interrupts() -> None:
    with stopping.noted() as stop:
        send(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt) as caught:
            send(signal.SIGINT)
    assert stop.signal
    assert not isinstance(caught.value, Stopped)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_where_nothing_is_half_done_it_is_heeded_at_once(number: int) -> None:
    with stopping.noted() as stop, pytest.raises(Stopped) as caught, stop.heeded_at_once():
        send(number)
    assert caught.value.exit_code == 128 + number


def test_what_was_noted_before_is_heeded_on_entering() -> None:
    entered = False
    with stopping.noted() as stop:
        send(signal.SIGTERM)
        with pytest.raises(Stopped), stop.heeded_at_once():
            entered = True
    assert not entered


def test_afterwards_signals_do_what_they_did_before() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with stopping.noted():
        send(signal.SIGTERM)
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


def test_outside_the_main_thread_nothing_is_noted() -> None:
    noted = []

    def work() -> None:
        with stopping.noted() as stop:
            noted.append(stop.signal)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert noted == [0]
