"""The interface of batches and their configs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from foretell.config import Config, Size
from foretell.data.tokenizers.specials import Specials
from foretell.errors import ConfigError
from foretell.types import Batch

Ints = NDArray[np.int64]
BatchKind = str
"""next tokens: running text, each token with its successor; rows: packed text, with targets from the objective;
examples: labelled examples of a task"""


class Text(Protocol):
    """The parts of a split that batches use."""

    @property
    def tokens(self) -> NDArray[np.unsignedinteger]:
        """[N] the token ids, memory-mapped"""

    @property
    def documents(self) -> Ints:
        """[number of documents + 1] where each document starts, and the end"""

    @property
    def lines(self) -> Ints:
        """[number of lines + 1] where each line starts, and the end"""


@dataclass(frozen=True)
class Accounting:
    """How the tokens of a text are used in one epoch."""

    text: int
    """all tokens, boundaries included"""
    kept: int
    """tokens in a row, counted once"""
    boundaries: int
    """boundaries replaced by the end of a row"""
    dropped: int
    """tokens in no row"""
    repeated: int
    """tokens in a further row, counted each time"""
    special: int
    """tokens around the texts of rows"""
    padded: int
    """padding after the ends of rows"""
    rows: int

    @property
    def padding(self) -> float:
        """Fraction of positions that are padding."""
        return self.padded / (self.kept + self.repeated + self.special + self.padded)

    def __str__(self) -> str:
        return (
            f"{self.rows:,} rows: {self.kept:,} of {self.text:,} tokens kept, {self.dropped:,} dropped, "
            f"{self.repeated:,} repeated, {self.boundaries:,} ends of documents; "
            f"{self.special:,} special, {self.padded:,} padded ({self.padding:.1%})"
        )


class Batches(Sequence[Batch]):
    """Batches of endless epochs, by random access; `len` is the number in the first epoch; abstract."""

    def __init__(self) -> None:
        self._ends: list[int] = []  # one past the last batch of each known epoch

    @abstractmethod
    def size(self, epoch: int) -> int:
        """Number of batches in an epoch."""

    def __len__(self) -> int:
        return self.size(0)

    def part(self, share: float) -> Sequence[Batch]:
        """A share of the batches of the first epoch, evenly spaced; at least one."""
        return Part(self, spread(len(self), share))

    def accounting(self, epoch: int = 0) -> Accounting | None:
        """How the tokens are used in an epoch; None if each is used once."""
        return None

    def locate(self, k: int) -> tuple[int, int, int]:
        """(epoch, index within it, its number of batches) of batch k."""
        while not self._ends or self._ends[-1] <= k:
            begin = self._ends[-1] if self._ends else 0
            self._ends.append(begin + self.size(len(self._ends)))
        epoch = int(np.searchsorted(self._ends, k, side="right"))
        begin = self._ends[epoch - 1] if epoch else 0
        return epoch, k - begin, self._ends[epoch] - begin


@dataclass(frozen=True)
class Part(Sequence[Batch]):
    """A subset of batches."""

    batches: Sequence[Batch]
    numbers: Sequence[int]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, k: int) -> Batch:  # type: ignore[override]
        return self.batches[self.numbers[k]]


def spread(number: int, share: float) -> list[int]:
    """Indices of a share of `number` items, evenly spaced; at least one."""
    count = max(1, int(share * number))
    return [i * number // count for i in range(count)]


class BatchesConfig(Config):
    """Base of the settings of batches."""

    provides: ClassVar[BatchKind] = "next tokens"
    """compare `ObjectiveConfig.requires`"""
    continues: ClassVar[bool] = False
    """whether a batch continues the previous one, with its state"""
    resets: ClassVar[Literal["", "documents", "lines"]] = ""
    """where the state is reset, other than at the beginning of the text"""

    batch: Size
    """number of rows side by side"""
    length: Size
    """largest number of tokens or time steps of a row"""

    @property
    def balances(self) -> bool:
        """Whether classes are drawn equally often."""
        return False

    @property
    def separates_documents(self) -> bool:
        """Whether a token sees its own document alone, in rows that hold several."""
        return False

    @property
    def pair_kinds(self) -> int:
        """Number of kinds of pairs that rows are labelled with; 0: rows have no labels."""
        return 0


class TextBatchesConfig(BatchesConfig):
    """Base of the settings of batches that are cut from a text; abstract."""

    def for_evaluation(self, batch: int | None) -> Self:
        """The settings of one pass over a text for measuring it, `batch` rows at a time if given."""
        return self.model_copy(update={"batch": batch or self.batch})

    def one_text(self) -> TextBatchesConfig:
        """These batches with one text per row, for pseudo-perplexity; a `ConfigError` if there are none."""
        raise ConfigError(
            f'data.batches.kind = "{self.kind_name()}" has no rows of single texts; override `one_text` in its config'
        )

    @abstractmethod
    def build(self, text: Text, specials: Specials, seed: int) -> Batches:
        """The batches of one split."""


class RowBatches(Batches):
    """Batches of packed rows without targets, which the objective provides; abstract."""

    length: int
    """maximum number of tokens per row"""

    @abstractmethod
    def number(self) -> int:
        """Number of rows of the first layout."""

    @abstractmethod
    def rows(self, k: int) -> tuple[int, Ints]:
        """The layout of batch k and the numbers of its rows in it [B], which seed random choices."""

    @abstractmethod
    def pick(self, rows: Ints) -> Batch:
        """The batch of these rows [B] of the first layout."""
