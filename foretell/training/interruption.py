"""Signals that end a training politely."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol


class Interruptible(Protocol):
    """Something that looks at this between two steps."""

    interrupted: bool


@contextmanager
def interruptible(trainer: Interruptible) -> Iterator[None]:
    """Ctrl-C and SIGTERM let the present step finish and save; a second Ctrl-C does not wait."""

    def ask(number: int, frame: FrameType | None) -> None:
        if trainer.interrupted:
            raise KeyboardInterrupt
        trainer.interrupted = True

    with ending_signals(ask):
        yield


@contextmanager
def ending_signals(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Ctrl-C and SIGTERM go to `handler`; outside the main thread, which alone may say so, nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
