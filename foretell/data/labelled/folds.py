"""Cross-validation: examples are dealt into parts, and each part is tested on once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

from pydantic import Field, model_validator

from foretell.config import Config, Size
from foretell.data.labelled.datasets import WHOLE
from foretell.data.labelled.examples import Example
from foretell.data.labelled.opening import find_set, hash_of, read_all
from foretell.data.labelled.readers import Reader
from foretell.errors import ConfigError
from foretell.units import counted


class FoldConfig(Config):
    """One part of the examples is the test split, the next the validation split, the others the training split."""

    number: Size
    """number of the test part, from 1"""
    of: int = Field(ge=3, le=1000)
    """number of parts"""

    @model_validator(mode="after")
    def _is_one_of_them(self) -> Self:
        if self.number > self.of:
            raise ValueError(f"there is no part {self.number} of {self.of}; number them from 1")
        return self

    @property
    def held_out(self) -> dict[str, int]:
        """The parts of the test and validation splits, from 0."""
        return {"test": self.number - 1, "valid": self.number % self.of}

    def takes(self, part: int, split: str) -> bool:
        """Whether a part belongs to a split."""
        return self.held_out.get(split) == part if split in self.held_out else part not in self.held_out.values()


def open_fold(
    corpus: str | Mapping[str, str], split: str, fold: FoldConfig, reader: Reader | None, skip_bad: bool
) -> list[Example]:
    """The examples of a split, with those of training and validation dealt into parts.

    A test split of the set's own has no part in this: it stays for the model that is chosen in the end.
    """
    files, reader = find_set(corpus, reader)
    paths = files.get(WHOLE) or [path for name in ("train", "valid") for path in files.get(name, ())]
    examples = read_all(paths, reader, skip_bad)
    if (texts := len({example.main_text for example in examples})) < fold.of:
        raise ConfigError(f"{counted(texts, 'text')} cannot be dealt to {fold.of} folds; take fewer")
    return [
        example for example, part in zip(examples, dealt(examples, fold.of), strict=True) if fold.takes(part, split)
    ]


def dealt(examples: Sequence[Example], parts: int) -> list[int]:
    """The part of each example, from 0; a pure function of the texts. Examples of one text stay together."""
    order = sorted({example.main_text for example in examples}, key=hash_of)
    part_of = {text: place % parts for place, text in enumerate(order)}
    return [part_of[example.main_text] for example in examples]
