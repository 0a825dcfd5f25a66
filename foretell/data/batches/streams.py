"""Batches of running text, as a pure function of (seed, step).

One idea serves truncated back-propagation through time, paragraph- and sentence-level models and evaluation: a *lane*
is a span of tokens read from left to right with carried state. Lanes are processed in groups of B rows; a group is
cut into windows of T steps. `streams` has one group whose B lanes are the columns of the whole text; `documents` and
`lines` have a lane each, of similar length within a group, and start every lane from a fresh state. `crops` cut the
text at another offset in each epoch, into lanes of one window.

Every token is a target exactly once: the input before a lane's first token is the token before it in the text, or
the boundary token where the state starts afresh; for tokenizers with an `opening`, that in place of boundaries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import override

from foretell.config import Config, Count, NonNegative, Share, Size
from foretell.data.batches.batches import Batches, Ints, Part, Text, TextBatchesConfig
from foretell.data.tokenizers.specials import Specials
from foretell.errors import ConfigError
from foretell.types import IGNORED, Batch, Inputs, Opening

RESETS = 1 << 62
"""keeps the random numbers of resets apart from those of epochs"""


class StreamsConfig(TextBatchesConfig):
    """The text as parallel columns with carried state: truncated back-propagation through time."""

    kind: Literal["streams"] = "streams"
    continues: ClassVar[bool] = True
    batch: Size = 20
    """columns"""
    length: Size = 70
    """time steps of a window"""
    jitter: NonNegative = 0.0
    """standard deviation of random window lengths (AWD-LSTM: 5); 0: fixed length"""
    halved: Share = 0.05
    """probability of drawing a random window around half the length"""
    shortest: Size = 5
    """shortest random window"""
    beyond: Count = 20
    """longest random window: `length` plus this"""
    reset: Share = 0.0
    """probability that a column starts a training window from the initial state, as a text does that is measured (the
    state reset probability of lamb, the code of Melis et al. 2018)"""

    def build(self, text: Text, specials: Specials, seed: int) -> Windows:
        """The batches of one split."""
        lanes = columns(len(text.tokens), self.batch, text, specials.boundary)
        return Windows(text, lanes, self, seed, reset=self.reset, opening=specials.opening)

    def cuts(self, steps: int, random: np.random.Generator) -> list[tuple[int, float]]:
        """Window lengths that cover `steps` time steps, each with its factor on the learning rate.

        Random lengths follow AWD-LSTM (arXiv:1708.02182, section 5): around `length`, or half of it with probability
        `halved`; the factor is drawn length / `length`, taken before the end of the text cuts the last window short.
        """
        result = []
        while steps > 0:
            drawn = self.length
            if self.jitter > 0:
                middle = self.length / 2 if random.random() < self.halved else self.length
                drawn = max(self.shortest, int(random.normal(middle, self.jitter)))
                drawn = min(drawn, self.length + self.beyond)
            result.append((min(drawn, steps), drawn / self.length))
            steps -= drawn
        return result


class _UnitsConfig(TextBatchesConfig):
    continues: ClassVar[bool] = True
    batch: Size = 32
    """documents or lines side by side"""
    length: Size = 128
    """time steps of a window; longer units continue in the next one, with carried state"""

    def cuts(self, steps: int, random: np.random.Generator) -> list[tuple[int, float]]:
        """Windows of `length` over the longest unit of a group."""
        return [(min(self.length, steps - begin), 1.0) for begin in range(0, steps, self.length)]


class DocumentsConfig(_UnitsConfig):
    """Every document from a fresh state, documents of similar length side by side."""

    kind: Literal["documents"] = "documents"
    resets: ClassVar[Literal["", "documents", "lines"]] = "documents"

    def build(self, text: Text, specials: Specials, seed: int) -> Windows:
        """The batches of one split."""
        lanes = units(text.documents, specials.boundary)
        return Windows(text, lanes, self, seed, shuffled=True, opening=specials.opening)


class LinesConfig(_UnitsConfig):
    """Every line from a fresh state: a sentence- or paragraph-level model."""

    kind: Literal["lines"] = "lines"
    resets: ClassVar[Literal["", "documents", "lines"]] = "lines"

    def build(self, text: Text, specials: Specials, seed: int) -> Windows:
        """The batches of one split."""
        lanes = units(text.lines, specials.boundary)
        return Windows(text, lanes, self, seed, shuffled=True, opening=specials.opening)


class CropsConfig(TextBatchesConfig):
    """Windows from all over the text, each from a fresh state: how models with a bounded context are trained.

    An epoch cuts the text after a random offset and reads the windows in random order, so that every token is a
    target once; crops drawn with replacement, as is usual, miss a third of the text in the same time.
    """

    kind: Literal["crops"] = "crops"
    batch: Size = 12
    """windows side by side"""
    length: Size = 128
    """tokens of a window"""

    def build(self, text: Text, specials: Specials, seed: int) -> Windows:
        """The batches of one split."""
        size = len(text.tokens)

        def cut(random: np.random.Generator) -> Lanes:
            offset = int(random.integers(self.length))
            cuts = np.arange(offset, size, self.length)
            return stretches(np.unique(np.concatenate([[0], cuts, [size]])), text, specials.boundary)

        return Windows(text, cut, self, seed, shuffled=True, opening=specials.opening)

    def cuts(self, steps: int, random: np.random.Generator) -> list[tuple[int, float]]:
        """One window."""
        return [(steps, 1.0)]


class OverlappingConfig(Config):
    """One pass over a text for a model that sees `length` tokens at most, in independent windows.

    Every window but the first starts with `overlap` tokens of the previous one, which are not targets: the least
    context of a target. Every token is a target exactly once.
    """

    batch: Size = 32
    length: Size
    overlap: Count

    def build(self, text: Text, specials: Specials, seed: int) -> Windows:
        """The windows of one split."""
        size, fresh = len(text.tokens), self.length - self.overlap
        begin = np.arange(0, max(size - self.overlap, 1), fresh, dtype=np.int64)
        lanes = stretches(np.append(begin, size), text, specials.boundary)
        scored = np.where(begin > 0, begin + self.overlap, 0)
        lanes = replace(lanes, end=np.minimum(begin + self.length, size), scored=scored)
        return Windows(text, lanes, self, seed, opening=specials.opening)

    def cuts(self, steps: int, random: np.random.Generator) -> list[tuple[int, float]]:
        """One window."""
        return [(steps, 1.0)]


@dataclass(frozen=True)
class Lanes:
    """Spans of a text, each read from left to right."""

    start: Ints
    """[L] index of each lane's first token"""
    end: Ints
    """[L] one past its last token"""
    before: Ints
    """[L] the input in front of its first token"""
    scored: Ints | None = None
    """[L] index of its first target; absent: its first token"""

    def targets(self, lanes: Ints, at: Ints) -> NDArray[np.bool_]:
        """[B, T] which of the tokens `at` [B, T] of some lanes are targets."""
        inside = at < self.end[lanes, None]
        return inside if self.scored is None else inside & (at >= self.scored[lanes, None])


def columns(tokens: int, count: int, text: Text, boundary: int) -> Lanes:
    """A text of `tokens` tokens as `count` lanes of equal length; the last may be shorter, nothing is dropped."""
    height = max(-(-tokens // count), 1)
    return stretches(np.append(np.arange(0, tokens, height), tokens), text, boundary)


def stretches(offsets: Ints, text: Text, boundary: int) -> Lanes:
    """A lane between any two neighbouring offsets, after the token before it; the first after a boundary."""
    start, end = offsets[:-1].astype(np.int64), offsets[1:].astype(np.int64)
    before = np.full(len(start), boundary, dtype=np.int64)
    before[1:] = text.tokens[start[1:] - 1]
    return Lanes(start, end, before)


def units(offsets: Ints, boundary: int) -> Lanes:
    """A lane between any two neighbouring offsets, after a boundary; empty ones are left out."""
    start, end = np.asarray(offsets[:-1]), np.asarray(offsets[1:])
    filled = end > start
    return Lanes(start[filled], end[filled], np.full(int(filled.sum()), boundary, dtype=np.int64))


@dataclass(frozen=True)
class Epoch:
    """The windows of one pass over the text."""

    lanes: Lanes
    groups: list[Ints]
    """the lanes of each group"""
    group: Ints
    """[K] which group a window belongs to"""
    begin: Ints
    """[K] where it starts within its lanes"""
    steps: Ints
    """[K] how long it is"""
    rate: NDArray[np.float64]
    """[K] its factor on the learning rate"""


class Cutter(Protocol):
    """The settings that `Windows` reads."""

    @property
    def batch(self) -> int:
        """rows"""

    def cuts(self, steps: int, random: np.random.Generator) -> list[tuple[int, float]]:
        """window lengths and factors on the learning rate that cover `steps` time steps"""


class Windows(Batches):
    """Batches of running text, each token with the one before it.

    `lanes` are the same in every epoch, or a function of its random generator.
    """

    def __init__(
        self,
        text: Text,
        lanes: Lanes | Callable[[np.random.Generator], Lanes],
        config: Cutter,
        seed: int = 0,
        *,
        shuffled: bool = False,
        reset: float = 0.0,
        opening: Opening | None = None,
    ) -> None:
        if len(text.tokens) == 0:
            raise ConfigError("this split has no tokens; give it some text")
        super().__init__()
        self.text, self.lanes, self.config, self.seed, self.shuffled = text, lanes, config, seed, shuffled
        self.reset, self.opening = reset, opening
        self.epoch = lru_cache(maxsize=2)(self._epoch)

    def behind_boundaries(self, boundary: int) -> Windows:
        """Windows whose lanes start after a boundary instead of the token before them."""
        assert isinstance(self.lanes, Lanes)
        alone = replace(self.lanes, before=np.full_like(self.lanes.before, boundary))
        return Windows(self.text, alone, self.config, self.seed, shuffled=self.shuffled, opening=self.opening)

    @override
    def size(self, epoch: int) -> int:
        return len(self.epoch(epoch).steps)

    def __getitem__(self, k: int) -> Batch:  # type: ignore[override]
        number, place, _ = self.locate(k)
        epoch = self.epoch(number)
        rows, begin = epoch.groups[epoch.group[place]], int(epoch.begin[place])
        batch = self._batch(epoch.lanes, rows, begin, int(epoch.steps[place]), float(epoch.rate[place]))
        return self._with_resets(batch, k) if self.reset and begin else batch

    def _with_resets(self, batch: Batch, k: int) -> Batch:
        """Some rows from the initial state; a pure function of (seed, k)."""
        random = np.random.Generator(np.random.Philox(key=[self.seed, RESETS + k]))
        fresh = torch.from_numpy(random.random(len(batch.targets)) < self.reset)
        return replace(batch, inputs=replace(batch.inputs, fresh=fresh)) if fresh.any() else batch

    @override
    def part(self, share: float) -> Sequence[Batch]:
        """As `Batches.part`; where windows continue each other, the first ones, which all columns have."""
        if not self.epoch(0).begin.any():
            return super().part(share)
        return Part(self, range(max(1, int(share * len(self)))))

    def target_positions(self, k: int) -> Ints:
        """[B, T] index in the text of each target of window k; -1 where there is none."""
        number, place, _ = self.locate(k)
        epoch = self.epoch(number)
        rows = epoch.groups[epoch.group[place]]
        at = epoch.lanes.start[rows, None] + int(epoch.begin[place]) + np.arange(epoch.steps[place])
        return np.where(epoch.lanes.targets(rows, at), at, -1)

    def _batch(self, lanes: Lanes, rows: Ints, begin: int, steps: int, rate: float) -> Batch:
        at = lanes.start[rows, None] + begin + np.arange(steps)  # [B, T] index of each target
        real = at < lanes.end[rows, None]
        last = len(self.text.tokens) - 1
        targets = self.text.tokens[np.minimum(at, last)].astype(np.int64)
        tokens = self.text.tokens[np.clip(at - 1, 0, last)].astype(np.int64)
        fresh = None
        if begin == 0:
            tokens[:, 0] = lanes.before[rows]
            fresh = torch.ones(len(rows), dtype=torch.bool)
        targets[~lanes.targets(rows, at)] = IGNORED
        lengths = None
        if not real.all():
            tokens[~real] = 0
            lengths = torch.from_numpy(real.sum(1))
        inputs = Inputs(tokens=torch.from_numpy(tokens), lengths=lengths, fresh=fresh).opened(self.opening)
        return Batch(inputs=inputs, targets=torch.from_numpy(targets), lr_factor=rate)

    def _epoch(self, number: int) -> Epoch:
        random = np.random.Generator(np.random.Philox(key=[self.seed, number]))
        lanes = self.lanes if isinstance(self.lanes, Lanes) else self.lanes(random)
        groups = self._groups(lanes, random)
        group, begin, steps, rates = [], [], [], []
        for i, rows in enumerate(groups):
            at = 0
            longest = int((lanes.end[rows] - lanes.start[rows]).max())
            for length, rate in self.config.cuts(longest, random):
                group.append(i)
                begin.append(at)
                steps.append(length)
                rates.append(rate)
                at += length
        return Epoch(lanes, groups, np.array(group), np.array(begin), np.array(steps), np.array(rates))

    def _groups(self, lanes: Lanes, random: np.random.Generator) -> list[Ints]:
        """Lanes in groups of `batch`: in order, or shuffled with lanes of similar length together."""
        count, batch = len(lanes.start), self.config.batch
        if not self.shuffled:
            return [np.arange(i, min(i + batch, count)) for i in range(0, count, batch)]
        order = random.permutation(count)
        length = (lanes.end - lanes.start)[order]
        pool = np.arange(count) // (64 * batch)  # sort within pools of 64 groups: little padding, still random
        order = order[np.lexsort((length, pool))]
        groups = [order[i : i + batch] for i in range(0, count, batch)]
        return [groups[i] for i in random.permutation(len(groups))]
