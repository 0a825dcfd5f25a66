"""Progress on stderr: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from foretell.errors import printable
from foretell.evaluate.measures import measure_of, term_losses, terms_of


class Monitor:
    """Shows the progress of training; with `quiet`, nothing."""

    def __init__(self, *, quiet: bool = False):
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self.live = self.console.is_terminal and not quiet
        self.bar: Progress | None = None
        self.task: TaskID | None = None
        self.printed = time.monotonic()

    def start(self, name: str) -> None:
        """Start the bar of a stage."""
        if not self.live:
            return
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.fields[text]}"))
        self.bar = Progress(*columns, console=self.console, transient=True)
        self.task = self.bar.add_task(printable(name), total=1.0, text="")
        self.bar.start()

    def step(self, record: Mapping[str, Any], fraction: float) -> None:
        """Show a training record; without a terminal, at most one every ten seconds."""
        text = describe(record, fraction)
        if self.bar is not None and self.task is not None:
            with contextlib.suppress(OSError):
                self.bar.update(self.task, completed=fraction, text=text)
        elif time.monotonic() - self.printed > 10:
            self.printed = time.monotonic()
            self.say(f"{fraction:5.1%}  {text}")

    def say(self, text: str) -> None:
        """Print a line."""
        with contextlib.suppress(OSError):  # a closed terminal does not stop training
            self.console.print(printable(text, keep="\n"), markup=False, emoji=False, soft_wrap=True)

    def stop(self) -> None:
        """Remove the bar."""
        with contextlib.suppress(OSError):
            if self.bar is not None:
                self.bar.stop()
                self.bar = None
            sys.stderr.flush()


def reporting(say: Callable[[str], None], name: str, seconds: float = 10.0) -> Callable[[float], None]:
    """A callback that takes the fraction done, and reports it every few seconds with the time left."""
    return throttled(
        say,
        lambda fraction, passed: f"{name}: {fraction:.0%}, {clock(passed / fraction * (1 - fraction))} left",
        seconds,
    )


def counting(say: Callable[[str], None], what: str, seconds: float = 10.0) -> Callable[[float], None]:
    """A callback that takes the number of items done, and reports it every few seconds with their rate."""
    return throttled(say, lambda number, passed: f"{number:,} {what}, {number / passed:,.0f} a second", seconds)


def throttled(
    say: Callable[[str], None], text: Callable[[float, float], str], seconds: float
) -> Callable[[float], None]:
    """A callback that reports `text(done, seconds passed)` at most once every `seconds`."""
    start = last = time.monotonic()

    def on_progress(done: float) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > seconds and done > 0:
            last = now
            say(text(done, now - start))

    return on_progress


def describe(record: Mapping[str, Any], fraction: float) -> str:
    """A training record in one line."""
    seconds = record["seconds"]
    left = seconds / fraction - seconds if 0 < fraction <= 1 else math.nan
    parts = [
        f"step {record['step']}",
        f"epoch {record['epoch']:.2f}",
        f"loss {record['loss']:.3f}",
        *([] if record["bits_per_byte"] is None else [f"{record['bits_per_byte']:.3f} bits/byte"]),
        f"{record['tokens_per_second']:,.0f} tokens/s",
    ]
    if not math.isnan(left):
        parts.append(f"{clock(left)} left")
    return "  ".join(parts)


def validated(measured: Mapping[str, Any]) -> str:
    """The result of a validation in one line."""
    if "metric" in measured:
        shown = [measure_of(key) for key in (measured["metric"], *term_losses(measured))]
        return "validation " + "  ".join(f"{measure.label} {measured[measure.key]:.4f}" for measure in shown)
    if measured["loss"] is None:
        return "validation " + "  ".join(term_text(term, measured) for term in terms_of(measured))
    return (
        f"validation loss {measured['loss']:.4f}  perplexity {measured['perplexity']:.2f}"
        f"  {measured['bits_per_byte']:.4f} bits/byte"
    )


def term_text(term: str, measured: Mapping[str, Any]) -> str:
    """Loss, accuracy and, if measured, recall of a term."""
    recall = f"  recall {measured[f'{term}_recall']:.1%}" if f"{term}_recall" in measured else ""
    return f"{term} loss {measured[f'{term}_loss']:.4f}  accuracy {measured[f'{term}_accuracy']:.1%}{recall}"


def clock(seconds: float) -> str:
    """Hours, minutes and seconds, as short as possible."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
