"""Ctrl-C, `kill` and a closed terminal, for work that must not be torn in the middle of a step."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

STOP_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
"""By name, because no system has all of them."""


class Stopped(KeyboardInterrupt):
    """A stop was asked for, and the step that was under way has ended since."""


@dataclass
class Stop:
    """Whether somebody asked for a stop."""

    asked: bool = False


@contextlib.contextmanager
def stops_held() -> Iterator[Stop]:
    """Turn the signals that end a program into a flag, so that steps end and states are saved whole.

    Look at `asked` between steps. A second signal raises KeyboardInterrupt at once, wherever the program stands.
    Signals that were ignored before (by `nohup`, or for a job in the background) stay ignored. Outside the main thread,
    where handlers cannot be set, nothing is ever asked.

    Raises:
        Stopped: At the end of the context, where a stop was asked for and nothing else was raised.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, frame: Any) -> None:
        if stop.asked:
            raise KeyboardInterrupt
        stop.asked = True

    before: dict[int, Any] = {}
    try:
        for name in STOP_SIGNALS:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, ask)
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if stop.asked:
        raise Stopped
