"""Signals that end a training politely."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Interruptible(Protocol):
    """Something that looks at this between two steps."""

    interrupted: bool


@contextmanager
def interruptible(trainer: Interruptible) -> Iterator[None]:
    """Ctrl-C, SIGTERM and a closed terminal let the present step finish and save; a second Ctrl-C does not wait."""

    def ask(number: int, frame: FrameType | None) -> None:
        if trainer.interrupted and number == signal.SIGINT:
            raise KeyboardInterrupt
        trainer.interrupted = True

    with ending_signals(ask):
        yield


@contextmanager
def ending_signals(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP go to `handler`, but for those that are ignored, as under nohup.

    Outside the main thread, which alone may say so, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard = [number for number in ENDING if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in heard}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
