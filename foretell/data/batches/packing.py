"""Packed rows of text for bidirectional models: BERT, RoBERTa, ALBERT, ELECTRA.

A *row* is one or two passages with special tokens, `[CLS] first [SEP]` or `[CLS] first [SEP] second [SEP]`. The kinds
of packing have the names of RoBERTa (Liu et al. 2019, arXiv:1907.11692, section 4.2). The lines of a corpus are its
sentences.

A *layout* lists the tokens of each row of an epoch. It is a pure function of (seed, copy); the copy is the number of
the epoch, or repeats after `copies` epochs. Rows of similar length share a batch, and batches have about the same
number of tokens, which keeps padding low. `Accounting` counts everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import override

from foretell.config import Share, Size
from foretell.data.batches.batches import Accounting, BatchKind, Ints, RowBatches, Text, TextBatchesConfig
from foretell.data.batches.layouts import Layout, Pairs, Plan, Running, surroundings, units
from foretell.data.tokenizers.specials import Specials
from foretell.errors import ConfigError
from foretell.types import IGNORED, Batch, Inputs

POOL = 64
"""batches whose rows are sorted by length together: little padding, still random"""


# --- settings -------------------------------------------------------------------------------------


class RowsConfig(TextBatchesConfig):
    """Base of the settings of packed rows."""

    provides: ClassVar[BatchKind] = "rows"
    batch: Size = 32
    """rows of full length in a batch; of shorter rows it holds more, about `batch` x `length` tokens"""
    length: Size = 128
    """largest number of tokens of a row, special tokens included"""
    copies: Size | None = None
    """number of epochs with their own layouts and masks, which then repeat (static masking: BERT used ten copies of
    its text); absent: every epoch has its own"""
    paired: ClassVar[bool] = False
    """whether rows hold two texts"""

    @property
    def separates_documents(self) -> bool:
        """Whether a token sees its own document alone."""
        return False

    @override
    def for_evaluation(self, batch: int | None) -> Self:
        return super().for_evaluation(batch).model_copy(update={"copies": 1})

    @override
    def one_text(self) -> RowsConfig:
        return self


class FullConfig(RowsConfig):
    """Consecutive lines until a row is full, across documents; the boundary between documents stays."""

    kind: Literal["full"] = "full"
    ends: Literal["line", "anywhere"] = "line"
    """where rows end; a line longer than a row is always cut"""
    documents: Literal["joined", "apart"] = "joined"
    """apart: a token sees its own document alone, and positions count from the first token of it in the row"""

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
    """Consecutive lines of one document: a row ends with its document and may be shorter."""

    kind: Literal["doc"] = "doc"
    ends: Literal["line", "anywhere"] = "line"
    """where rows end; a line longer than a row is always cut"""

    def build(self, text: Text, specials: Specials, seed: int) -> Passages:
        """The batches of one split."""
        room = self.length - surroundings(specials)
        cuts = np.union1d(text.documents, text.lines if self.ends == "line" else [])
        return Passages(
            text, specials, self, Running(units(text, cuts, room, specials.boundary), room, apart=True), seed
        )


class PairsConfig(RowsConfig):
    """Base of the settings of rows with two texts."""

    paired: ClassVar[bool] = True
    pairs: Literal["none", "nsp", "sop"] = "nsp"
    """the label of a row. nsp: the second text follows the first (0) or is from another document (1); sop: the two
    texts are in order (0) or swapped (1); both labels are equally frequent"""
    alone: Literal["unlabelled", "random"] = "unlabelled"
    """what to do with a passage of one line, which cannot be divided. unlabelled: a row of one text without a label;
    random: a second text from another document, with label 1, as published for nsp and sop"""

    @property
    @override
    def pair_kinds(self) -> int:
        return 0 if self.pairs == "none" else 2

    @override
    def one_text(self) -> RowsConfig:
        return DocConfig(batch=self.batch, length=self.length)

    def plan(self, text: Text, specials: Specials, **settings: Any) -> Pairs:
        """The plan of rows. Raises `ConfigError` for a single document, or a vocabulary without a separator."""
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
    """Two texts of one or more lines that fill a row together (BERT)."""

    kind: Literal["segment-pair"] = "segment-pair"
    short: Share = 0.1
    """share of passages made for a shorter row of random length"""
    fill: Literal["within", "beyond"] = "within"
    """within: take lines as long as they fit; beyond: take lines until the row is full and drop the excess, as
    published"""

    def build(self, text: Text, specials: Specials, seed: int) -> Passages:
        """The batches of one split."""
        plan = self.plan(text, specials, short=self.short, beyond=self.fill == "beyond")
        return Passages(text, specials, self, plan, seed)


class SentencePairConfig(PairsConfig):
    """Two lines: short rows, many to a batch."""

    kind: Literal["sentence-pair"] = "sentence-pair"

    def build(self, text: Text, specials: Specials, seed: int) -> Passages:
        """The batches of one split."""
        return Passages(text, specials, self, self.plan(text, specials, lines=2), seed)


# --- batches --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Epoch:
    """The batches of one epoch."""

    layout: Layout
    lengths: Ints
    """[R] tokens of each row, special tokens included"""
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

    @override
    def size(self, epoch: int) -> int:
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

    @override
    def accounting(self, epoch: int = 0) -> Accounting:
        groups = self.epoch(epoch).groups
        layout, lengths = self.epoch(epoch).layout, self.epoch(epoch).lengths
        own = int(np.diff(layout.first).sum() + np.diff(layout.second).sum())
        kept, boundaries = covered(np.concatenate([layout.first, layout.second])), self._bare_boundaries(layout)
        return Accounting(
            text=len(self.text.tokens),
            kept=kept,
            boundaries=boundaries,
            dropped=len(self.text.tokens) - kept - boundaries,
            repeated=own - kept,
            special=int(lengths.sum()) - own,
            padded=sum(int(lengths[rows].max()) * len(rows) for rows in groups) - int(lengths.sum()),
            rows=len(lengths),
        )

    def _bare_boundaries(self, layout: Layout) -> int:
        """Number of documents whose final boundary is in no row."""
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
        between = opening + end - begin  # [B, 1] the position after the first text
        second = between + (specials.separator is not None)
        in_first, in_second = (t >= opening) & (t < between), (t >= second) & (t < second + stop - other)  # [B, T]
        at = np.where(in_first, begin + t - opening, np.where(in_second, other + t - second, 0))
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
            segments=torch.from_numpy(((t >= second) & real).astype(np.int64)) if self.paired else None,
        )
        return Batch(
            inputs=inputs,
            targets=torch.full(tokens.shape, IGNORED),
            labels=torch.from_numpy(layout.label[rows]) if labelled else None,
        )


def generator(seed: int, number: int, purpose: int) -> np.random.Generator:
    """The random generator of a layout (purpose 0) or of the order of an epoch (1)."""
    return np.random.Generator(np.random.Philox(key=[seed, 2 * number + purpose]))


def grouped(lengths: Ints, budget: int, random: np.random.Generator) -> list[Ints]:
    """Batches of at most `budget` positions, rows of similar length together, in random order."""
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
    """Number of positions covered by at least one of the spans [R, 2]."""
    begin, end = spans[np.argsort(spans[:, 0], kind="stable")].T
    before = np.maximum.accumulate(np.concatenate([[0], end[:-1]]))
    fresh: NDArray[np.int64] = np.maximum(end - np.maximum(begin, before), 0)
    return int(fresh.sum())
