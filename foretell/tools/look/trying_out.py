"""Short measurements on a sample of a text: an n-gram model."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from foretell.data.text.corpus import Corpus
from foretell.data.text_files import Piece
from foretell.tools.compressors import joined

if TYPE_CHECKING:
    from foretell.models.ngram import NGramConfig

COUNTED = 1 << 20
"""bytes of training text"""
HELD_OUT = 100_000
"""bytes of other text that is measured on"""


@dataclass(frozen=True)
class Sample:
    """The beginning of the training split and of another one."""

    train: list[Piece]
    held_out: list[Piece]

    @classmethod
    def of(cls, corpus: Corpus) -> Sample:
        """A sample of a corpus."""
        other = "valid" if "valid" in corpus.splits else corpus.splits[-1]
        return cls(list(beginning(corpus, "train", COUNTED)), list(beginning(corpus, other, HELD_OUT)))

    @property
    def counted(self) -> bytes:
        """The training text."""
        return joined(self.train)

    @property
    def measured(self) -> bytes:
        """The text that is measured on."""
        return joined(self.held_out)


def beginning(corpus: Corpus, split: str, size: int) -> Iterator[Piece]:
    """The first pieces of a split, up to about `size` bytes."""
    left = size
    for piece in corpus.pieces(split):
        yield piece
        left -= len(piece.text.encode())
        if left <= 0:
            return


@dataclass(frozen=True)
class Counted:
    """An n-gram model of the sample."""

    bits_per_byte: float
    """of the held-out text"""
    bytes_per_token: float
    tokens_per_second: float
    """of counting"""


def counted(sample: Sample, recipe: str, vocabulary: int) -> Counted:
    """Count an n-gram recipe over subwords on a sample, as `train` would on all of the text."""
    from foretell.recipe.loading import load_recipe

    loaded = load_recipe(recipe, {"data.tokenizer": {"kind": "bpe", "size": vocabulary}})
    tokenizer = loaded.data.tokenizer.train(piece.text for piece in sample.train)
    model = cast("NGramConfig", loaded.model)

    def encoded(pieces: list[Piece]) -> list[int]:
        ids: list[int] = []
        for piece in pieces:
            ids += tokenizer.encode(piece.text)
            ids += [tokenizer.boundary] * piece.ends_document
        alone = pieces[-1].ends_document and not any(piece.ends_document for piece in pieces[:-1])
        return ids[:-1] if alone else ids  # a lone document of a store has no boundary after it

    train, measured = encoded(sample.train), encoded(sample.held_out)
    begin = time.perf_counter()
    fitted = model.fit(np.array(train, dtype=np.uint32), np.zeros(0, np.int64), tokenizer.boundary, tokenizer.size)
    seconds = time.perf_counter() - begin
    text = np.array([[tokenizer.boundary] * (model.order - 1) + [tokenizer.boundary, *measured[:-1]]])
    logp, _ = fitted.logp(text, np.array([measured]))
    bits = -float(logp.sum()) / float(np.log(2))
    return Counted(bits / len(sample.measured), len(sample.counted) / len(train), len(train) / seconds)
