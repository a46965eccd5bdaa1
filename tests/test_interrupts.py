"""Signals as a flag: steps end, a second signal does not wait, and handlers come back."""

import signal
import threading

import pytest

from spatialavatar.interrupts import Stopped, stops_held


def test_a_signal_waits_for_the_end_of_the_context() -> None:
    done = []
    with pytest.raises(Stopped), stops_held() as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop.asked
        done.append("the step")
    assert done == ["the step"]


def test_a_second_signal_does_not_wait() -> None:
    with pytest.raises(KeyboardInterrupt) as raised, stops_held():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("went on")
    assert not isinstance(raised.value, Stopped)


def test_handlers_come_back_and_other_errors_go_through() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ValueError, match="mine"), stops_held() as stop:
        assert signal.getsignal(signal.SIGINT) is not before
        stop.asked = True
        raise ValueError("mine")
    assert signal.getsignal(signal.SIGINT) is before
    with stops_held():
        pass


def test_what_was_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with stops_held() as stop:
            signal.raise_signal(signal.SIGTERM)
            assert not stop.asked
    finally:
        signal.signal(signal.SIGTERM, before)


def test_outside_the_main_thread_nothing_is_asked() -> None:
    asked = []

    def work() -> None:
        with stops_held() as stop:
            asked.append(stop.asked)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert asked == [False]
