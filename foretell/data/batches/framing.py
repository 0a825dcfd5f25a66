"""Examples of a task as a model reads them: rows of ids with special tokens around texts, in batches of like lengths.

B examples, n readings of each (the options of a choice, the two orders of a pair), T places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from foretell.config import Size
from foretell.data.batches.batches import Batches, BatchesConfig, BatchKind, Ints
from foretell.data.batches.packing import generator, grouped
from foretell.data.text_files import split_pieces
from foretell.data.tokenizers.tokenizer import Specials, Tokenizer
from foretell.errors import ConfigError
from foretell.types import IGNORED, Batch, Inputs


class ExamplesConfig(BatchesConfig):
    """Labelled examples for a task, in another order in each epoch."""

    kind: Literal["examples"] = "examples"
    provides: ClassVar[BatchKind] = "examples"
    batch: Size = 32
    """examples in a batch"""
    tokens: Size | None = None
    """make batches of about so many tokens instead, however many examples that is"""
    length: Size = 128
    """tokens that are read at once, special ones included"""
    cut: Literal["end", "beginning"] = "end"
    """what is left out of a text that is too long for a task that reads it at once; of a pair, the longer text loses"""

    def arrange(self, rows: Sequence[Row], specials: Specials, seed: int) -> ExampleBatches:
        """The batches of these rows."""
        return ExampleBatches(rows, specials, self, seed)


# --- from texts to ids ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Reading:
    """What is read at once."""

    tokens: Ints
    """[T]"""
    second: int = 0
    """where a second segment begins; 0: there is none"""


@dataclass(frozen=True)
class Row:
    """An example as it is read, or one window of it."""

    example: int
    """its number"""
    readings: tuple[Reading, ...]
    """ways to read it, usually one; as many in all rows of a batch"""
    label: NDArray[Any] | None
    """what is to be predicted, as its task understands it: [] or [T] or [n], all rows alike"""
    places: Any = None
    """what a task knows of the places of a row, to understand its own predictions"""

    @property
    def length(self) -> int:
        """Places of the longest reading."""
        return max(len(reading.tokens) for reading in self.readings)


@dataclass(frozen=True)
class Framing:
    """How texts become rows: `begin first end`, or `begin first between second end`.

    The marks are those that the vocabulary has for it: [CLS], [SEP] and [SEP]; <s>, </s></s> and </s>, where texts are
    no segments (RoBERTa); or GPT's start, delimiter and extract tokens. Where it has none, the boundary stands in,
    which a language model has learnt to begin anew behind.
    """

    tokenizer: Tokenizer
    length: int
    cut: Literal["end", "beginning"] = "end"

    @property
    def marks(self) -> tuple[int, tuple[int, ...], int]:
        """Begin, between, end."""
        specials = self.tokenizer.specials
        found = (specials.begin, specials.separator, specials.extract or specials.separator)
        begin, between, end = (specials.boundary if mark is None else mark for mark in found)
        return begin, (between,) * (2 if self.parts_twice else 1), end

    @property
    def parts_twice(self) -> bool:
        """Whether the vocabulary is one of RoBERTa's kind."""
        begin = self.tokenizer.specials.begin
        return begin is not None and self.tokenizer.token(begin) == "<s>"

    def around(self, texts: int) -> int:
        """How many marks there are around one text or two."""
        return 2 if texts == 1 else 2 + len(self.marks[1])

    def encode(self, texts: Sequence[str]) -> list[Ints]:
        """The ids of each text, without marks."""
        pieces = [split_pieces(text) for text in texts]
        ids, lengths = self.tokenizer.encode_pieces([piece for parts in pieces for piece in parts])
        ends = np.concatenate([[0], np.cumsum(lengths)])[np.cumsum([len(parts) for parts in pieces], dtype=np.int64)]
        return [part.astype(np.int64) for part in np.split(ids, ends[:-1])] if texts else []

    def spans(self, texts: Sequence[str]) -> list[tuple[Ints, Ints]]:
        """The ids of each text [T] and the characters that they stand for [T, 2], without blanks around them."""
        return [self.tokenizer.spans(text) for text in texts]

    @property
    def room(self) -> int:
        """For how many tokens of one text there is room."""
        return self.length - self.around(1)

    def frame(self, *texts: Ints) -> Reading:
        """One text, or two, with the marks around them, cut to the length."""
        begin, between, end = self.marks
        room = self.length - self.around(len(texts))
        if room < len(texts):
            raise ConfigError(f"data.batches.length = {self.length} leaves no room for texts; make it larger")
        kept = [self.shortened(text, size) for text, size in zip(texts, sizes(texts, room), strict=True)]
        second = [*between, *kept[1]] if len(kept) > 1 else []
        tokens = np.array([begin, *kept[0], *second, end], dtype=np.int64)
        return Reading(tokens, len(kept[0]) + 2 if second and not self.parts_twice else 0)

    def shortened(self, text: Ints, size: int) -> Ints:
        """At most so many tokens of a text."""
        return text[:size] if self.cut == "end" else text[len(text) - min(size, len(text)) :]


def sizes(texts: Sequence[Ints], room: int) -> list[int]:
    """How many tokens of each text there is room for: the longest one loses, until both are as long."""
    lengths = [len(text) for text in texts]
    if sum(lengths) <= room or len(lengths) == 1:
        return [min(length, room) for length in lengths]
    first = min(lengths[0], max(room - lengths[1], room - room // 2))
    return [first, min(lengths[1], room - first)]


# --- batches --------------------------------------------------------------------------------------


class ExampleBatches(Batches):
    """Each example once an epoch; those of like lengths share a batch, in random order."""

    def __init__(self, rows: Sequence[Row], specials: Specials, config: ExamplesConfig, seed: int) -> None:
        super().__init__()
        if not rows:
            raise ConfigError("there are no examples to learn from; give this split some")
        self.rows, self.specials, self.config, self.seed = rows, specials, config, seed
        self.lengths = np.array([row.length for row in rows])
        self.groups = lru_cache(maxsize=2)(self._groups)

    def size(self, epoch: int) -> int:
        """See `Batches.size`."""
        return len(self.groups(epoch))

    def __getitem__(self, k: int) -> Batch:  # type: ignore[override]
        epoch, place, _ = self.locate(k)
        return collate([self.rows[i] for i in self.groups(epoch)[place]], self.specials)

    def _groups(self, epoch: int) -> list[Ints]:
        random = generator(self.seed, epoch, 1)
        if self.config.tokens is not None:
            return grouped(self.lengths, self.config.tokens, random)
        return in_batches(self.lengths, self.config.batch, random)


POOL = 50
"""batches whose rows are sorted by length together: little padding, still random"""


def in_batches(lengths: Ints, batch: int, random: np.random.Generator) -> list[Ints]:
    """Rows in batches of so many, those of similar length together, in random order; the last may have fewer."""
    order = random.permutation(len(lengths))
    pools = np.split(order, range(POOL * batch, len(order), POOL * batch))
    order = np.concatenate([pool[np.argsort(lengths[pool], kind="stable")] for pool in pools])
    groups = np.split(order, range(batch, len(order), batch))
    return [groups[i] for i in random.permutation(len(groups))]


def by_length(lengths: Ints, budget: int) -> list[Ints]:
    """Rows in batches of at most `budget` places, the longest first: for reading everything once."""
    order = np.argsort(-lengths, kind="stable")
    groups, begin = [], 0
    while begin < len(order):
        end = begin + max(1, budget // int(lengths[order[begin]]))
        groups.append(order[begin:end])
        begin = end
    return groups


def collate(rows: Sequence[Row], specials: Specials) -> Batch:
    """Rows side by side, padded: tokens [B, T], or [B, n, T] where each is read in n ways."""
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
    return Batch(inputs=inputs, targets=shaped(targets), labels=labels)


def labels_of(rows: Sequence[Row], width: int) -> torch.Tensor:
    """What is to be predicted of each row; where there is a label for each place, padded as the row is."""
    labels = [np.asarray(row.label) for row in rows]
    if labels[0].ndim == 0 or len({len(label) for label in labels}) == 1:
        return torch.from_numpy(np.stack(labels))
    padded = np.full((len(rows), width), IGNORED)
    for label, into in zip(labels, padded, strict=True):
        into[: len(label)] = label
    return torch.from_numpy(padded)
