"""Progress on stderr: a live bar on a terminal and in a notebook, a line every ten seconds elsewhere."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text
from typing_extensions import override

from foretell import units
from foretell.errors import printable
from foretell.evaluate.measures import measure_of, term_losses, terms_of

BETWEEN_LINES = 10.0
"""seconds from line to line where there is no bar"""
REFRESHES = 2
"""how often a bar is drawn in a second; a thread of rich does it, so it moves within a long step too"""
GLANCE = 0.1
"""seconds before progress on the same part is shown again"""
BRIEF = 0.5
"""seconds from the beginning of a part in which it has no rate"""
NARROWEST_BAR = 8
LONGEST_NAME = 24


class Activity:
    """Progress of one thing that takes time.

    Call it with the share done, from 0 to 1. With a limit in seconds the share follows the clock, between calls too.
    """

    def __init__(self, monitor: Monitor, name: str, done: float = 0.0, limit: float | None = None):
        self.monitor, self.name = monitor, printable(name)
        self.done: float | None = done or None
        self.first, self.limit = done, limit
        self.facts: tuple[str, ...] = ()
        """rate, loss and the like, the most important first: a narrow terminal drops the last"""
        self.start = self.part_start = self.moved = self.printed = time.monotonic()
        self.part_size = 0

    def __call__(self, done: float | None = None, facts: Sequence[str] | None = None) -> None:
        """Show the share done and the facts; None keeps the last ones."""
        self.done = self.done if done is None else done
        self.facts = self.facts if facts is None else tuple(facts)
        self.moved = time.monotonic()
        if self.moved - self.printed > BETWEEN_LINES and not self.monitor.live:
            self.printed = self.moved
            self.monitor.say(f"{self.name}: {', '.join(self.parts())}")

    def count(self, number: float, unit: str = "texts") -> None:
        """Show a number of things done, out of an unknown total."""
        rate = number / max(time.monotonic() - self.start, 1e-9)
        self(None, (f"{number:,.0f} {unit}", f"{rate:,.0f} {unit}/s"))

    def prepared(self, part: str, size: int, tokens: int, total: int | None = None) -> None:
        """Show how many bytes of a part have been read, of how many if that is known, and how many tokens they are.

        `tokens` is 0 where nothing is tokenized.
        """
        share = min(1.0, size / total) if total else None
        if self.facts[:1] == (part,) and time.monotonic() - self.moved < GLANCE and size != total:
            return
        if self.facts[:1] != (part,):
            self.part_start, self.part_size, self.first = time.monotonic(), size, share or 0.0
        lasted = time.monotonic() - self.part_start
        speed = (f"{units.size((size - self.part_size) / lasted)}/s",) if lasted > BRIEF else ()
        written = (f"{units.count(tokens)} tokens",) if tokens else ()
        self.done = share
        self(None, (part, units.size(size), *speed, *written))

    def share(self) -> float | None:
        """How much is done now, from 0 to 1; None while nothing is known."""
        if self.limit is None:
            return self.done
        return min(1.0, self.first + (time.monotonic() - self.start) / self.limit)

    def left(self) -> float:
        """Expected seconds until the end, counted down between calls; NaN while nothing is known."""
        if self.limit is not None:
            return max(0.0, (1 - self.first) * self.limit - (time.monotonic() - self.start))
        if self.done is None or self.done <= self.first:
            return math.nan
        pace = (self.moved - self.part_start) / (self.done - self.first)
        return max(0.0, pace * (1 - self.done) - (time.monotonic() - self.moved))

    def parts(self) -> list[str]:
        """Share, time and facts, the most important first."""
        done, left = self.share(), self.left()
        time_text = clock(time.monotonic() - self.start) if math.isnan(left) else f"{clock(left)} left"
        return [*([] if done is None else [f"{min(done, 1.0):.0%}"]), time_text, *self.facts]

    def line(self, width: int) -> str:
        """The first parts that fit in `width` columns; at least two."""
        shown = ""
        for number, part in enumerate(self.parts()):
            longer = f"{shown}  {part}" if shown else part
            if number >= 2 and len(longer) > width:
                break
            shown = longer
        return shown


class Facts(ProgressColumn):
    """The column of share, time and facts."""

    @override
    def render(self, task: Task) -> Text:
        return Text(task.fields["activity"].line(task.fields["room"]), no_wrap=True)


class LiveBars(Progress):
    """Bars that ask their activities for the share done each time they are drawn."""

    @override
    def get_renderables(self) -> Iterator[Any]:
        names = max((len(task.description) for task in self.tasks), default=0)
        for task in self.tasks:
            task.fields["room"] = self.console.width - names - NARROWEST_BAR - 2
            done = task.fields["activity"].share()
            task.completed, task.total = done or 0.0, None if done is None else 1.0
        yield from super().get_renderables()


class Monitor:
    """Shows what is being done; with `quiet`, nothing."""

    bars: LiveBars | None = None
    """those on the terminal now: a process has one terminal, whichever monitors it has"""

    silent = False
    """true where all monitors of the process are quiet"""

    def __init__(self, *, quiet: bool = False):
        quiet = quiet or Monitor.silent
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        # FORCE_COLOR makes rich take a file for a terminal
        terminal = sys.stderr.isatty() and not self.console.is_dumb_terminal
        notebook = self.console.is_jupyter and find_spec("ipywidgets") is not None
        self.live = (terminal or notebook) and not quiet

    @contextlib.contextmanager
    def activity(self, name: str, done: float = 0.0, limit: float | None = None) -> Iterator[Activity]:
        """Show an activity while the block runs: a bar of its own, below those of the activities around it.

        `done`: share done before, as after a resume. `limit`: all the seconds that it may take.
        """
        activity = Activity(self, name, done, limit)
        if not self.live:
            yield activity
            return
        outer = Monitor.bars
        bars = outer or LiveBars(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None, table_column=Column(ratio=1)),
            Facts(),
            console=self.console,
            transient=True,
            expand=True,
            refresh_per_second=REFRESHES,
        )
        shown = activity.name if len(activity.name) <= LONGEST_NAME else f"…{activity.name[1 - LONGEST_NAME :]}"
        task = bars.add_task(shown, total=None, activity=activity)
        try:
            if outer is None:
                Monitor.bars = bars
                with contextlib.suppress(OSError):
                    bars.start()
            yield activity
        finally:
            bars.remove_task(task)
            if outer is None:
                Monitor.bars = None
                with contextlib.suppress(OSError):  # a closed terminal does not stop training
                    bars.stop()

    def say(self, text: str) -> None:
        """Print a line, above the bars."""
        console = self.console if Monitor.bars is None or self.console.quiet else Monitor.bars.console
        with contextlib.suppress(OSError):
            console.print(printable(text, keep="\n"), markup=False, emoji=False, soft_wrap=not self.live)


def described(record: Mapping[str, Any]) -> list[str]:
    """Facts of a training record, the most important first."""
    bits = record["bits_per_byte"]
    return [
        f"loss {record['loss']:.3f}" if bits is None else f"{bits:.3f} bits/byte",
        f"{record['tokens_per_second']:,.0f} tokens/s",
        f"step {record['step']:,}",
        f"epoch {record['epoch']:.2f}",
        *([] if bits is None else [f"loss {record['loss']:.3f}"]),
    ]


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
