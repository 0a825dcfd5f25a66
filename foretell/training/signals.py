"""Signals that stop training after a checkpoint."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Interruptible(Protocol):
    """Checks `interrupted` between two steps."""

    interrupted: bool


@contextmanager
def interruptible(trainer: Interruptible) -> Iterator[None]:
    """Let the current step finish and save on Ctrl-C, SIGTERM or a closed terminal; a second Ctrl-C does not wait."""

    def request(number: int, frame: FrameType | None) -> None:
        if trainer.interrupted and number == signal.SIGINT:
            raise KeyboardInterrupt
        trainer.interrupted = True

    with ending_signals(request):
        yield


@contextmanager
def ending_signals(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Send Ctrl-C, SIGTERM and SIGHUP to `handler`, except those that are ignored, as under nohup.

    Does nothing outside the main thread, the only one that may set handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handled = [number for number in ENDING if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in handled}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
