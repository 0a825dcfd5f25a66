"""Examples of a task as rows of ids with special tokens, in batches of similar lengths.

B examples, n readings of each (the options of a choice, the two orders of a pair), T positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import override

from foretell.config import Size
from foretell.data.batches.batches import Batches, BatchesConfig, BatchKind, Ints
from foretell.data.batches.packing import generator, grouped
from foretell.data.text_files import split_pieces
from foretell.data.tokenizers.specials import Specials
from foretell.data.tokenizers.tokenizer import Tokenizer
from foretell.errors import ConfigError
from foretell.types import IGNORED, Batch, Inputs


class ExamplesConfig(BatchesConfig):
    """Labelled examples of a task, shuffled in each epoch."""

    kind: Literal["examples"] = "examples"
    provides: ClassVar[BatchKind] = "examples"
    batch: Size = 32
    """examples in a batch"""
    tokens: Size | None = None
    """make batches of about this many tokens instead of a number of examples"""
    length: Size = 128
    """largest number of tokens of a row, special tokens included"""
    cut: Literal["end", "beginning"] = "end"
    """the end of a text that is cut if it is too long; of a pair, the longer text is cut"""
    sampling: Literal["all", "balanced"] = "all"
    """all: each example once per epoch; balanced: as many examples of each class, so that those of rare classes repeat
    and those of frequent ones wait for later epochs"""

    @property
    @override
    def balances(self) -> bool:
        return self.sampling == "balanced"

    def arrange(self, rows: Sequence[Row], specials: Specials, seed: int) -> ExampleBatches:
        """The batches of these rows."""
        return ExampleBatches(rows, specials, self, seed)


# --- from texts to ids ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Reading:
    """One sequence a model reads."""

    tokens: Ints
    """[T]"""
    second: int = 0
    """start of the second segment; 0: none"""


@dataclass(frozen=True)
class Row:
    """An example, or one window of it."""

    example: int
    """index of the example"""
    readings: tuple[Reading, ...]
    """its readings, usually one; the same number in all rows of a batch"""
    label: NDArray[Any] | None
    """the target, as the task defines it: [] or [T] or [n], the same shape in all rows"""
    places: Any = None
    """what the task needs to map positions of the row back to the example"""
    weight: NDArray[Any] | None = None
    """factor on the loss of each label, of the shape of `label`; absent: 1"""

    @property
    def length(self) -> int:
        """Positions of the longest reading."""
        return max(len(reading.tokens) for reading in self.readings)


@dataclass(frozen=True)
class Framing:
    """How texts become rows: `begin first end`, or `begin first between second end`.

    The marks are special tokens of the vocabulary: [CLS], [SEP] and [SEP]; <s>, </s></s> and </s> without segments
    (RoBERTa); or GPT's start, delimiter and extract tokens. Without such tokens the boundary is used: after it a
    language model has learned to start a new text.
    """

    tokenizer: Tokenizer
    length: int
    cut: Literal["end", "beginning"] = "end"

    @property
    def marks(self) -> tuple[int, tuple[int, ...], int]:
        """The marks before, between and after the texts."""
        specials = self.tokenizer.specials
        begin = specials.start if specials.begin is None else specials.begin
        found = (begin, specials.separator, specials.extract or specials.separator)
        begin, between, end = (specials.boundary if mark is None else mark for mark in found)
        return begin, (between,) * (2 if self.parts_twice else 1), end

    @property
    def parts_twice(self) -> bool:
        """Whether two separators part the texts, as in RoBERTa."""
        begin = self.tokenizer.specials.begin
        return begin is not None and self.tokenizer.token(begin) == "<s>"

    def around(self, texts: int) -> int:
        """Number of marks around one text or two."""
        return 2 if texts == 1 else 2 + len(self.marks[1])

    def encode(self, texts: Sequence[str]) -> list[Ints]:
        """The ids of each text, without marks."""
        pieces = [split_pieces(text) for text in texts]
        ids, lengths = self.tokenizer.encode_pieces([piece for parts in pieces for piece in parts])
        ends = np.concatenate([[0], np.cumsum(lengths)])[np.cumsum([len(parts) for parts in pieces], dtype=np.int64)]
        return [part.astype(np.int64) for part in np.split(ids, ends[:-1])] if texts else []

    def spans(self, texts: Sequence[str]) -> list[tuple[Ints, Ints]]:
        """The ids of each text [T] and the characters they cover [T, 2], without blanks at the ends."""
        return [self.tokenizer.spans(text) for text in texts]

    @property
    def room(self) -> int:
        """Number of tokens of one text that fit."""
        return self.length - self.around(1)

    def frame(self, *texts: Ints) -> Reading:
        """One text or two with the marks around them, cut to the length."""
        begin, between, end = self.marks
        room = self.length - self.around(len(texts))
        if room < len(texts):
            raise ConfigError(f"data.batches.length = {self.length} leaves no room for texts; make it larger")
        kept = [self.shortened(text, size) for text, size in zip(texts, sizes(texts, room), strict=True)]
        second = [*between, *kept[1]] if len(kept) > 1 else []
        tokens = np.array([begin, *kept[0], *second, end], dtype=np.int64)
        return Reading(tokens, len(kept[0]) + 2 if second and not self.parts_twice else 0)

    def shortened(self, text: Ints, size: int) -> Ints:
        """At most `size` tokens of a text."""
        return text[:size] if self.cut == "end" else text[len(text) - min(size, len(text)) :]


def sizes(texts: Sequence[Ints], room: int) -> list[int]:
    """Number of tokens of each text that fit: the longer text is cut until both have the same length."""
    lengths = [len(text) for text in texts]
    if sum(lengths) <= room or len(lengths) == 1:
        return [min(length, room) for length in lengths]
    first = min(lengths[0], max(room - lengths[1], room - room // 2))
    return [first, min(lengths[1], room - first)]


# --- batches --------------------------------------------------------------------------------------


class ExampleBatches(Batches):
    """Each example once per epoch, in random order; examples of similar length share a batch."""

    def __init__(self, rows: Sequence[Row], specials: Specials, config: ExamplesConfig, seed: int) -> None:
        super().__init__()
        if not rows:
            raise ConfigError("this split has no examples; give it some")
        self.rows, self.specials, self.config, self.seed = rows, specials, config, seed
        self.lengths = np.array([row.length for row in rows])
        self.classes = classes_of(rows) if config.sampling == "balanced" else None
        self.groups = lru_cache(maxsize=2)(self._groups)

    @override
    def size(self, epoch: int) -> int:
        return len(self.groups(epoch))

    def __getitem__(self, k: int) -> Batch:  # type: ignore[override]
        epoch, place, _ = self.locate(k)
        return collate([self.rows[i] for i in self.groups(epoch)[place]], self.specials)

    def _groups(self, epoch: int) -> list[Ints]:
        random = generator(self.seed, epoch, 1)
        drawn = np.arange(len(self.rows)) if self.classes is None else balanced(self.classes, self.seed, epoch)
        if self.config.tokens is not None:
            groups = grouped(self.lengths[drawn], self.config.tokens, random)
        else:
            groups = in_batches(self.lengths[drawn], self.config.batch, random)
        return [drawn[group] for group in groups]


def classes_of(rows: Sequence[Row]) -> Ints:
    """The class of each row [R]."""
    labels = [row.label for row in rows]
    if not all(label is not None and label.ndim == 0 and label.dtype.kind == "i" for label in labels):
        raise ConfigError('data.batches.sampling = "balanced" needs examples of one class each; take "all"')
    return np.array(labels, dtype=np.int64)


def balanced(classes: Ints, seed: int, epoch: int) -> Ints:
    """The rows of an epoch: equally many of each class, together about as many as there are.

    Each class runs through shuffles of its rows, across epochs, so that no row is left out for good: a function of
    (seed, epoch).
    """
    names = np.unique(classes)
    each, drawn = -(-len(classes) // len(names)), []
    for name in names:
        members = np.flatnonzero(classes == name)
        rounds, places = np.divmod(np.arange(epoch * each, (epoch + 1) * each), len(members))
        for number in np.unique(rounds):
            order = np.random.default_rng([seed, int(name), int(number)]).permutation(members)
            drawn.append(order[places[rounds == number]])
    return np.concatenate(drawn)


POOL = 50
"""batches whose rows are sorted by length together: little padding, still random"""


def in_batches(lengths: Ints, batch: int, random: np.random.Generator) -> list[Ints]:
    """Batches of `batch` rows, rows of similar length together, in random order; the last may have fewer."""
    order = random.permutation(len(lengths))
    pools = np.split(order, range(POOL * batch, len(order), POOL * batch))
    order = np.concatenate([pool[np.argsort(lengths[pool], kind="stable")] for pool in pools])
    groups = np.split(order, range(batch, len(order), batch))
    return [groups[i] for i in random.permutation(len(groups))]


def by_length(lengths: Ints, budget: int) -> list[Ints]:
    """Batches of at most `budget` positions, the longest rows first: for one pass over all rows."""
    order = np.argsort(-lengths, kind="stable")
    groups, begin = [], 0
    while begin < len(order):
        end = begin + max(1, budget // int(lengths[order[begin]]))
        groups.append(order[begin:end])
        begin = end
    return groups


def collate(rows: Sequence[Row], specials: Specials) -> Batch:
    """Rows side by side, padded: tokens [B, T], or [B, n, T] with n readings of each."""
    count, ways, width = len(rows), len(rows[0].readings), max(row.length for row in rows)
    tokens = np.full((count, ways, width), specials.padding or 0, dtype=np.int64)
    lengths = np.array([[len(reading.tokens) for reading in row.readings] for row in rows])  # [B, n]
    seconds = np.array([[reading.second for reading in row.readings] for row in rows])  # [B, n]
    for row, into in zip(rows, tokens, strict=True):
        for reading, place in zip(row.readings, into, strict=True):
            place[: len(reading.tokens)] = reading.tokens
    at = np.arange(width)
    segments = (seconds[..., None] > 0) & (at >= seconds[..., None]) & (at < lengths[..., None])
    targets = np.full_like(tokens, IGNORED)
    targets[..., :-1] = np.where(at[1:] < lengths[..., None], tokens[..., 1:], IGNORED)

    def shaped(array: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(array if ways > 1 else array[:, 0])

    ragged = not (lengths == width).all()
    inputs = Inputs(
        tokens=shaped(tokens),
        lengths=shaped(lengths) if ragged else None,
        fresh=torch.ones(count, dtype=torch.bool),
        segments=shaped(segments.astype(np.int64)) if seconds.any() else None,
    )
    labels = None if rows[0].label is None else labels_of(rows, width)
    given = [row.weight for row in rows if row.weight is not None]
    weights = torch.from_numpy(np.stack(given).astype(np.float32)) if given else None
    return Batch(inputs=inputs, targets=shaped(targets), labels=labels, label_weights=weights)


def labels_of(rows: Sequence[Row], width: int) -> torch.Tensor:
    """The label of each row; labels of positions are padded as the row is."""
    labels = [np.asarray(row.label) for row in rows]
    if labels[0].ndim == 0 or len({len(label) for label in labels}) == 1:
        return torch.from_numpy(np.stack(labels))
    padded = np.full((len(rows), width), IGNORED)
    for label, into in zip(labels, padded, strict=True):
        into[: len(label)] = label
    return torch.from_numpy(padded)
