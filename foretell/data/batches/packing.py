"""Rows of text for models that read from both sides: BERT, RoBERTa, ALBERT, ELECTRA.

A *row* is one or two passages with special tokens around them, `[CLS] first [SEP]` or `[CLS] first [SEP] second [SEP]`.
How text is packed into rows goes by the names of RoBERTa (Liu et al. 2019, arXiv:1907.11692, section 4.2). The lines of
a corpus are its sentences: whoever wants sentences writes one a line.

A *layout* says which tokens each row of an epoch holds; it is a pure function of (seed, copy), where the copy is the
epoch, or repeats after some of them. Rows of similar length share a batch, and all batches hold about as many tokens,
not as many rows, so that little is padded. All is counted: see `Accounting`.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property, lru_cache
from random import Random
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import override

from foretell.config import Share, Size
from foretell.data.batches.batches import Accounting, BatchKind, Ints, RowBatches, Text, TextBatchesConfig
from foretell.data.tokenizers.tokenizer import Specials
from foretell.errors import ConfigError
from foretell.types import IGNORED, Batch, Inputs

POOL = 64
"""batches whose rows are sorted by length together: little padding, still random"""


# --- what a recipe says ---------------------------------------------------------------------------


class RowsConfig(TextBatchesConfig):
    """What all ways to pack rows have in common."""

    provides: ClassVar[BatchKind] = "rows"
    batch: Size = 32
    """rows of full length in a batch; where they are shorter it holds more: about `batch` x `length` tokens"""
    length: Size = 128
    """tokens of a row at most, special ones included"""
    copies: Size | None = None
    """so many epochs with layouts and masks of their own, which are then repeated (static masks, as BERT's ten copies
    of its text); absent: every epoch has its own"""
    paired: ClassVar[bool] = False
    """whether rows hold two texts"""

    @property
    def separates_documents(self) -> bool:
        """Whether a token sees its own document alone."""
        return False

    def one_text(self) -> RowsConfig:
        """How the text is packed with one text a row."""
        return self


class FullConfig(RowsConfig):
    """Whole lines one after the other until a row is full, across documents, between which their boundary stays."""

    kind: Literal["full"] = "full"
    ends: Literal["line", "anywhere"] = "line"
    """where rows end; a line that is longer than a row is cut in any case"""
    documents: Literal["joined", "apart"] = "joined"
    """apart: a token sees its own document alone, and places count from that one's first token in the row"""

    @property
    @override
    def separates_documents(self) -> bool:
        return self.documents == "apart"

    def build(self, text: Text, specials: Specials, seed: int) -> Passages:
        """The batches of one split."""
        room = self.length - surroundings(specials)
        cuts = text.lines if self.ends == "line" else np.array([0, len(text.tokens)])
        return Passages(text, specials, self, Running(units(text, cuts, room, specials.boundary), room), seed)


class DocConfig(RowsConfig):
    """The same within documents: rows end with their document, so that there are shorter ones."""

    kind: Literal["doc"] = "doc"
    ends: Literal["line", "anywhere"] = "line"
    """where rows end; a line that is longer than a row is cut in any case"""

    def build(self, text: Text, specials: Specials, seed: int) -> Passages:
        """The batches of one split."""
        room = self.length - surroundings(specials)
        cuts = np.union1d(text.documents, text.lines if self.ends == "line" else [])
        return Passages(
            text, specials, self, Running(units(text, cuts, room, specials.boundary), room, apart=True), seed
        )


class PairsConfig(RowsConfig):
    """What rows of two texts have in common."""

    paired: ClassVar[bool] = True
    pairs: Literal["none", "nsp", "sop"] = "nsp"
    """what a row is labelled with. nsp: whether the second text follows the first (0) or is from another document (1);
    sop: whether the two, which follow each other, are in order (0) or swapped (1); each as often as the other"""
    alone: Literal["unlabelled", "random"] = "unlabelled"
    """a passage of one line cannot be divided. unlabelled: it is a row of one text without a label; random: the second
    text is from another document, with label 1, as published for nsp and sop"""

    @property
    @override
    def pair_kinds(self) -> int:
        return 0 if self.pairs == "none" else 2

    @override
    def one_text(self) -> RowsConfig:
        return DocConfig(batch=self.batch, length=self.length)

    def plan(self, text: Text, specials: Specials, **settings: Any) -> Pairs:
        """How rows are made; a `ConfigError` where a text has no other documents, or the vocabulary no separator."""
        if specials.separator is None or specials.begin is None:
            raise ConfigError(
                f'data.batches.kind = "{type(self).kind_name()}" needs tokens around two texts; '
                'set data.tokenizer.specials = "bert"'
            )
        room = self.length - surroundings(specials, 2)
        cut = units(text, np.union1d(text.documents, text.lines), max(room // 2, 1), specials.boundary)
        if (self.pairs == "nsp" or self.alone == "random") and cut.last[0] == len(cut.start):
            raise ConfigError(
                "second texts are drawn from other documents, and this split has only one; "
                'set data.batches.pairs = "sop" or "none"'
            )
        alone = self.alone == "random" and self.pairs != "none"
        return Pairs(cut, room, self.pairs, alone, **settings)


class SegmentPairConfig(PairsConfig):
    """Two texts of one line or more, which fill a row together (BERT)."""

    kind: Literal["segment-pair"] = "segment-pair"
    short: Share = 0.1
    """how many passages are made for a shorter row, of random length"""
    fill: Literal["within", "beyond"] = "within"
    """within: lines are taken as long as they fit; beyond: until a row is full, and what is too much is dropped, as
    published"""

    def build(self, text: Text, specials: Specials, seed: int) -> Passages:
        """The batches of one split."""
        plan = self.plan(text, specials, short=self.short, beyond=self.fill == "beyond")
        return Passages(text, specials, self, plan, seed)


class SentencePairConfig(PairsConfig):
    """Two lines, so that rows are short and a batch has many."""

    kind: Literal["sentence-pair"] = "sentence-pair"

    def build(self, text: Text, specials: Specials, seed: int) -> Passages:
        """The batches of one split."""
        return Passages(text, specials, self, self.plan(text, specials, lines=2), seed)


def surroundings(specials: Specials, texts: int = 1) -> int:
    """How many special tokens there are in a row."""
    return (specials.begin is not None) + texts * (specials.separator is not None)


# --- where text is cut ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Units:
    """Stretches of text that rows are made of, in order, none of them empty."""

    start: Ints
    """[U] index of each unit's first token"""
    end: Ints
    """[U] one past its last token"""
    last: Ints
    """[U] one past the last unit of its document"""


def units(text: Text, cuts: Ints, longest: int, boundary: int) -> Units:
    """The text between neighbouring cuts, in parts of `longest` tokens where it is longer.

    The boundary at the end of a document is in no unit: whoever joins the units of two documents has it between them.
    """
    if len(text.tokens) == 0:
        raise ConfigError("this split has no tokens; give it some text")
    if longest < 1:
        raise ConfigError(f"data.batches.length leaves room for {longest} tokens beside special ones; make it larger")
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


# --- which tokens a row holds ---------------------------------------------------------------------


@dataclass(frozen=True)
class Layout:
    """The rows of an epoch; a row without second text has an empty one."""

    first: Ints
    """[R, 2] begin and end of the first text"""
    second: Ints
    """[R, 2] the same of the second"""
    label: Ints
    """[R] which kind of pair it is, -100 for none"""

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
    """Units one after the other as long as they fit into a row."""

    units: Units
    room: int
    apart: bool = False
    """whether a row ends with its document"""

    def layout(self, random: np.random.Generator) -> Layout:
        """The same every time."""
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


NOTHING = (0, 0, IGNORED)
"""no second text, no label"""


@dataclass(frozen=True)
class Pairs:
    """Passages of a document, each divided into two texts, or its first part with one from another document.

    Devlin et al. 2019, with the code they published: what a random second text takes the place of comes again.
    """

    units: Units
    room: int
    pairs: str
    alone: bool
    """whether a passage of one unit gets a random second text"""
    short: float = 0.0
    beyond: bool = False
    lines: int | None = None
    """units of a passage at most"""

    def layout(self, random: np.random.Generator) -> Layout:
        """One pass over the text."""
        draw = Random(int(random.integers(1 << 62)))  # much faster for single numbers
        rows, unit = [], 0
        while unit < len(self.units.start):
            row, unit = self.row(unit, draw)
            rows.append(row)
        parts = np.array(rows, dtype=np.int64)  # [R, 5]
        return self.trimmed(self.spans(parts[:, :2]), self.spans(parts[:, 2:4]), parts[:, 4], random)

    def row(self, unit: int, draw: Random) -> tuple[tuple[int, int, int, int, int], int]:
        """The row that begins with a unit: begin and end of its texts, in units, and its label; and the next unit."""
        target = 2 + int(draw.random() * (self.room - 1)) if draw.random() < self.short else self.room
        stop = self.passage(unit, target)
        if stop - unit == 1:
            return (unit, stop, *(self.elsewhere(unit, stop, target, draw) if self.alone else NOTHING)), stop
        middle = unit + 1 + int(draw.random() * (stop - unit - 1))  # each text has a unit at least
        if self.pairs == "nsp" and draw.random() < 0.5:
            return (unit, middle, *self.elsewhere(unit, middle, target, draw)), middle
        if self.pairs == "sop" and draw.random() < 0.5:
            return (middle, stop, unit, middle, 1), stop
        return (unit, middle, middle, stop, IGNORED if self.pairs == "none" else 0), stop

    def passage(self, unit: int, target: int) -> int:
        """One past the last unit of a passage that begins with a unit: as many as fit, and one at least."""
        last, start, ends = int(self.units.last[unit]), int(self.units.start[unit]), self.units.end.data
        if self.lines is not None:
            return min(unit + self.lines, last)
        stop = bisect_right(ends, start + target, unit, last)
        if self.beyond and stop < last and (stop == unit or ends[stop - 1] < start + target):
            stop += 1
        return max(stop, unit + 1)

    def elsewhere(self, unit: int, stop: int, target: int, draw: Random) -> tuple[int, int, int]:
        """Units of another document for a row whose first text is known, from a random one of them on; the label."""
        begins = self.documents
        other = int(draw.random() * (len(begins) - 1))
        begin = begins[other + (other >= bisect_right(begins, unit) - 1)]
        start = begin + int(draw.random() * (int(self.units.last[begin]) - begin))
        left = target - int(self.units.end[stop - 1] - self.units.start[unit])
        return start, self.passage(start, left) if self.lines is None else start + 1, 1

    @cached_property
    def documents(self) -> list[int]:
        """The first unit of each document."""
        found: list[int] = np.concatenate([[0], np.unique(self.units.last)[:-1]]).tolist()
        return found

    def spans(self, parts: Ints) -> Ints:
        """Units [R, 2] -> tokens [R, 2]"""
        begin, stop = parts.T
        spans = np.stack([self.units.start[begin], self.units.end[stop - 1]], axis=1)
        spans[stop == begin] = 0
        return spans

    def trimmed(self, first: Ints, second: Ints, label: Ints, random: np.random.Generator) -> Layout:
        """The rows without what does not fit, token by token at the front or the back by chance.

        As published it is always the longer text that loses one. Where passages fit, only random second texts can be
        too long, and these alone are trimmed, as the first ones occur nowhere else.
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


@dataclass(frozen=True)
class Epoch:
    """The batches of one epoch."""

    layout: Layout
    lengths: Ints
    """[R] of the rows, special tokens included"""
    groups: list[Ints]
    """the rows of each batch"""


class Passages(RowBatches):
    """Batches of rows without targets."""

    def __init__(self, text: Text, specials: Specials, config: RowsConfig, plan: Plan, seed: int) -> None:
        super().__init__()
        self.text, self.specials, self.config, self.plan, self.seed = text, specials, config, plan, seed
        self.length, self.paired, self.apart = config.length, config.paired, config.separates_documents
        self.layout = lru_cache(maxsize=2)(self._layout)
        self.epoch = lru_cache(maxsize=2)(self._epoch)

    def size(self, epoch: int) -> int:
        """See `Batches.size`."""
        return len(self.epoch(epoch).groups)

    def __getitem__(self, k: int) -> Batch:  # type: ignore[override]
        number, place, _ = self.locate(k)
        epoch = self.epoch(number)
        rows = epoch.groups[place]
        return self._batch(epoch.layout, rows, epoch.lengths[rows])

    @override
    def number(self) -> int:
        return len(self.layout(0).label)

    @override
    def rows(self, k: int) -> tuple[int, Ints]:
        number, place, _ = self.locate(k)
        return self.copy(number), self.epoch(number).groups[place]

    @override
    def pick(self, rows: Ints) -> Batch:
        epoch = self.epoch(0)
        return self._batch(epoch.layout, rows, epoch.lengths[rows])

    def copy(self, epoch: int) -> int:
        """The number of an epoch's layout."""
        return epoch if self.config.copies is None else epoch % self.config.copies

    def accounting(self, epoch: int = 0) -> Accounting:
        """See `Batches.accounting`."""
        found = self.epoch(epoch)
        layout, lengths = found.layout, found.lengths
        own = int(np.diff(layout.first).sum() + np.diff(layout.second).sum())
        kept, boundaries = covered(np.concatenate([layout.first, layout.second])), self._bare_boundaries(layout)
        return Accounting(
            text=len(self.text.tokens),
            kept=kept,
            boundaries=boundaries,
            dropped=len(self.text.tokens) - kept - boundaries,
            repeated=own - kept,
            special=int(lengths.sum()) - own,
            padded=sum(int(lengths[rows].max()) * len(rows) for rows in found.groups) - int(lengths.sum()),
            rows=len(lengths),
        )

    def _bare_boundaries(self, layout: Layout) -> int:
        """How many documents end with a boundary that is in no row."""
        ends = np.unique(self.text.documents[1:])
        ends = ends[ends > 0]
        ends = ends[self.text.tokens[ends - 1] == self.specials.boundary] - 1
        spans = np.concatenate([layout.first, layout.second])
        begins, stops = np.sort(spans[:, 0]), np.sort(spans[:, 1])
        inside = np.searchsorted(begins, ends, side="right") > np.searchsorted(stops, ends, side="right")
        return int((~inside).sum())

    def _layout(self, copy: int) -> Layout:
        return self.plan.layout(generator(self.seed, copy, 0))

    def _epoch(self, number: int) -> Epoch:
        layout = self.layout(self.copy(number))
        lengths = layout.lengths(self.specials)
        budget = self.config.batch * self.config.length
        return Epoch(layout, lengths, grouped(lengths, budget, generator(self.seed, number, 1)))

    def _batch(self, layout: Layout, rows: Ints, lengths: Ints) -> Batch:
        specials = self.specials
        (begin, end), (other, stop) = layout.first[rows].T[..., None], layout.second[rows].T[..., None]  # each [B, 1]
        t = np.arange(int(lengths.max()))  # [T]
        opening = int(specials.begin is not None)
        between = opening + end - begin  # [B, 1] the place behind the first text
        behind = between + (specials.separator is not None)
        in_first, in_second = (t >= opening) & (t < between), (t >= behind) & (t < behind + stop - other)  # [B, T]
        at = np.where(in_first, begin + t - opening, np.where(in_second, other + t - behind, 0))
        tokens = self.text.tokens[at].astype(np.int64)
        real = t < lengths[:, None]
        if specials.separator is not None:
            tokens[real & ~in_first & ~in_second] = specials.separator
        if specials.begin is not None:
            tokens[:, 0] = specials.begin
        tokens[~real] = specials.padding or 0
        labelled = self.config.pair_kinds > 0
        documents = None
        if self.apart:  # special tokens around a row belong to its first and its last document
            document = np.searchsorted(self.text.documents, np.clip(begin + t - opening, begin, end - 1), side="right")
            documents = torch.from_numpy(document - document[:, :1])
        inputs = Inputs(
            tokens=torch.from_numpy(tokens),
            documents=documents,
            lengths=None if real.all() else torch.from_numpy(lengths),
            fresh=torch.ones(len(rows), dtype=torch.bool),
            segments=torch.from_numpy(((t >= behind) & real).astype(np.int64)) if self.paired else None,
        )
        return Batch(
            inputs=inputs,
            targets=torch.full(tokens.shape, IGNORED),
            labels=torch.from_numpy(layout.label[rows]) if labelled else None,
        )


def generator(seed: int, number: int, purpose: int) -> np.random.Generator:
    """Random numbers for a layout (purpose 0) or the order of an epoch (1)."""
    return np.random.Generator(np.random.Philox(key=[seed, 2 * number + purpose]))


def grouped(lengths: Ints, budget: int, random: np.random.Generator) -> list[Ints]:
    """Rows in batches of at most `budget` places, those of similar length together, in random order."""
    order = random.permutation(len(lengths))
    pool = np.cumsum(lengths[order]) // (POOL * budget)
    order = order[np.lexsort((-lengths[order], pool))]
    longest_first, pools = lengths[order].tolist(), np.sort(pool)
    groups, begin = [], 0
    while begin < len(order):
        stop = int(np.searchsorted(pools, pools[begin], side="right"))
        end = min(begin + max(1, budget // longest_first[begin]), stop)
        groups.append(order[begin:end])
        begin = end
    return [groups[i] for i in random.permutation(len(groups))]


def covered(spans: Ints) -> int:
    """How many places are in one of the spans [R, 2] at least."""
    begin, end = spans[np.argsort(spans[:, 0], kind="stable")].T
    before = np.maximum.accumulate(np.concatenate([[0], end[:-1]]))
    fresh: NDArray[np.int64] = np.maximum(end - np.maximum(begin, before), 0)
    return int(fresh.sum())
