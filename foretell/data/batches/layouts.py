"""Layouts: which tokens each row of an epoch holds."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Protocol

import numpy as np

from foretell.data.batches.batches import Ints, Text
from foretell.data.tokenizers.specials import Specials
from foretell.errors import ConfigError
from foretell.types import IGNORED

NOTHING = (0, 0, IGNORED)
"""no second text, no label"""


def surroundings(specials: Specials, texts: int = 1) -> int:
    """Number of special tokens in a row."""
    return (specials.begin is not None) + texts * (specials.separator is not None)


@dataclass(frozen=True)
class Units:
    """Spans of text that rows are made of, in order, none empty."""

    start: Ints
    """[U] index of each unit's first token"""
    end: Ints
    """[U] one past its last token"""
    last: Ints
    """[U] one past the last unit of its document"""


def units(text: Text, cuts: Ints, longest: int, boundary: int) -> Units:
    """The text between neighbouring cuts, in parts of at most `longest` tokens.

    The boundary at the end of a document belongs to no unit; it lies between the units of two documents.
    """
    if len(text.tokens) == 0:
        raise ConfigError("this split has no tokens; give it some text")
    if longest < 1:
        raise ConfigError(f"data.batches.length leaves room for {longest} tokens besides special ones; make it larger")
    edges = np.unique(cuts).astype(np.int64)
    start, end = edges[:-1], edges[1:]
    parts = -(-(end - start) // longest)
    first = np.repeat(np.cumsum(parts) - parts, parts)
    start = np.repeat(start, parts) + (np.arange(len(first)) - first) * longest
    end = np.minimum(start + longest, np.repeat(end, parts))
    start = start + (np.isin(start + 1, text.documents) & (text.tokens[start] == boundary))
    end = end - (np.isin(end, text.documents) & (text.tokens[end - 1] == boundary) & (end > start))
    start, end = start[end > start], end[end > start]
    if len(start) == 0:
        raise ConfigError("this split has no tokens but boundaries; give it some text")
    document = np.searchsorted(text.documents, start, side="right")
    return Units(start, end, np.searchsorted(document, document, side="right"))


@dataclass(frozen=True)
class Layout:
    """The rows of an epoch; without a second text its span is empty."""

    first: Ints
    """[R, 2] start and end of the first text"""
    second: Ints
    """[R, 2] start and end of the second text"""
    label: Ints
    """[R] kind of the pair; -100 marks no pair"""

    def lengths(self, specials: Specials) -> Ints:
        """[R] tokens of each row, special ones included."""
        first, second = np.diff(self.first)[:, 0], np.diff(self.second)[:, 0]
        around = np.where(second > 0, surroundings(specials, 2), surroundings(specials))
        length: Ints = first + second + around
        return length


class Plan(Protocol):
    """Makes layouts."""

    def layout(self, random: np.random.Generator) -> Layout:
        """The rows of one epoch."""


@dataclass(frozen=True)
class Running:
    """Consecutive units, as many as fit into a row."""

    units: Units
    room: int
    apart: bool = False
    """whether a row ends with its document"""

    def layout(self, random: np.random.Generator) -> Layout:
        """The rows, the same for every generator."""
        start, end = self.units.start, self.units.end
        reach = np.searchsorted(end, start + self.room, side="right")  # the first unit that does not fit
        if self.apart:
            reach = np.minimum(reach, self.units.last)
        following = reach.tolist()
        begins, unit = [], 0
        while unit < len(following):
            begins.append(unit)
            unit = following[unit]
        rows = np.stack([start[begins], end[reach[begins] - 1]], axis=1)
        return Layout(rows, np.zeros_like(rows), np.full(len(rows), IGNORED))


@dataclass(frozen=True)
class Pairs:
    """Passages of a document divided into two texts, or their first part with a text from another document.

    As in the code of Devlin et al. 2019, the text that a random second text replaces is used again.
    """

    units: Units
    room: int
    pairs: str
    alone: bool
    """whether a passage of one unit gets a random second text"""
    short: float = 0.0
    beyond: bool = False
    lines: int | None = None
    """largest number of units of a passage"""

    def layout(self, random: np.random.Generator) -> Layout:
        """One pass over the text."""
        draw = Random(int(random.integers(1 << 62)))  # much faster than numpy for single numbers
        rows, unit = [], 0
        while unit < len(self.units.start):
            row, unit = self.row(unit, draw)
            rows.append(row)
        parts = np.array(rows, dtype=np.int64)  # [R, 5]
        return self.trimmed(self.spans(parts[:, :2]), self.spans(parts[:, 2:4]), parts[:, 4], random)

    def row(self, unit: int, draw: Random) -> tuple[tuple[int, int, int, int, int], int]:
        """The row that starts at a unit (start and end of both texts, in units, and the label), and the next unit."""
        target = 2 + int(draw.random() * (self.room - 1)) if draw.random() < self.short else self.room
        stop = self.passage(unit, target)
        if stop - unit == 1:
            return (unit, stop, *(self.elsewhere(unit, stop, target, draw) if self.alone else NOTHING)), stop
        middle = unit + 1 + int(draw.random() * (stop - unit - 1))  # each text has at least one unit
        if self.pairs == "nsp" and draw.random() < 0.5:
            return (unit, middle, *self.elsewhere(unit, middle, target, draw)), middle
        if self.pairs == "sop" and draw.random() < 0.5:
            return (middle, stop, unit, middle, 1), stop
        return (unit, middle, middle, stop, IGNORED if self.pairs == "none" else 0), stop

    def passage(self, unit: int, target: int) -> int:
        """One past the last unit of a passage that starts at a unit: as many as fit, at least one."""
        last, start, ends = int(self.units.last[unit]), int(self.units.start[unit]), self.units.end.data
        if self.lines is not None:
            return min(unit + self.lines, last)
        stop = bisect_right(ends, start + target, unit, last)
        if self.beyond and stop < last and (stop == unit or ends[stop - 1] < start + target):
            stop += 1
        return max(stop, unit + 1)

    def elsewhere(self, unit: int, stop: int, target: int, draw: Random) -> tuple[int, int, int]:
        """Units of another document as the second text, from a random one on, and the label."""
        begins = self.documents
        other = int(draw.random() * (len(begins) - 1))
        begin = begins[other + (other >= bisect_right(begins, unit) - 1)]
        start = begin + int(draw.random() * (int(self.units.last[begin]) - begin))
        left = target - int(self.units.end[stop - 1] - self.units.start[unit])
        return start, self.passage(start, left) if self.lines is None else start + 1, 1

    @cached_property
    def documents(self) -> list[int]:
        """The first unit of each document."""
        first: list[int] = np.concatenate([[0], np.unique(self.units.last)[:-1]]).tolist()
        return first

    def spans(self, parts: Ints) -> Ints:
        """Units [R, 2] -> tokens [R, 2]"""
        begin, stop = parts.T
        spans = np.stack([self.units.start[begin], self.units.end[stop - 1]], axis=1)
        spans[stop == begin] = 0
        return spans

    def trimmed(self, first: Ints, second: Ints, label: Ints, random: np.random.Generator) -> Layout:
        """The rows cut to the room, token by token at a random end.

        As published, the longer text loses a token. Where passages fit, only random second texts can be too long, and
        they alone are cut: the first texts occur nowhere else.
        """
        one, other = np.diff(first)[:, 0], np.diff(second)[:, 0]
        excess = np.maximum(one + other - self.room, 0)
        off_first = np.zeros_like(excess)
        if self.beyond:
            level = np.minimum(excess, abs(one - other))  # until both are as long
            off_first = np.where(one > other, level, 0) + (excess - level) // 2
        off_second = excess - off_first
        for spans, off in ((first, off_first), (second, off_second)):
            front = random.binomial(off, 0.5)
            spans[:, 0] += front
            spans[:, 1] -= off - front
        return Layout(first, second, label)
