"""Embeddings: token ids -> vectors."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from foretell.config import Config, Size, Tagged
from foretell.nn.dropout import word_dropout
from foretell.nn.frequency_bands import Bands, BandTables, make_bands
from foretell.nn.vocabulary import Counts, TokenIndexed


class Embedding(TokenIndexed):
    """A vector per token, with dropout of whole tokens; abstract: subclasses are final."""

    vocabulary: int
    width: int

    @abstractmethod
    def forward(self, tokens: Tensor) -> Tensor:
        """tokens [B, T] int64 -> [B, T, D]"""


class TokenEmbedding(Embedding):
    """A table of vectors; `weight` [V, D] may be shared with an output head."""

    def __init__(self, vocabulary: int, width: int, *, dropout: float = 0.0, init_range: float = 0.1):
        super().__init__()
        self.vocabulary, self.width, self.dropout = vocabulary, width, dropout
        self.table = nn.Embedding(vocabulary, width)
        nn.init.uniform_(self.table.weight, -init_range, init_range)

    @property
    def weight(self) -> Tensor:
        """[V, D]"""
        return self.table.weight

    @override
    def token_rows(self) -> dict[str, Sequence[int]]:
        return {"table.weight": range(self.vocabulary)}

    @override
    def forward(self, tokens: Tensor) -> Tensor:
        embedded: Tensor = self.table(tokens)
        return word_dropout(embedded, tokens, self.vocabulary, self.dropout, self.training)


class AdaptiveEmbedding(Embedding):
    """Narrower vectors for rarer tokens, with a projection to the full width per band (arXiv:1809.10853).

    Vectors start with std 1 / sqrt(d), projections with Xavier's. `words` may be shared with an adaptive head.
    """

    def __init__(self, bands: Bands, width: int, *, divide: int = 4, dropout: float = 0.0):
        super().__init__()
        self.vocabulary, self.width, self.dropout = bands.bounds[-1], width, dropout
        self.words = BandTables(bands, width, divide, project_first=True)

    @override
    def token_rows(self) -> dict[str, Sequence[int]]:
        """None of its own: `words` has them."""
        return {}

    @override
    def forward(self, tokens: Tensor) -> Tensor:
        bands = self.words.bands
        ranks = bands.ranks(tokens.flatten())  # [B * T]
        members = bands.divide(ranks)
        vectors = []
        for band, (indices, table) in enumerate(zip(members, self.words.rows(), strict=True)):
            narrow = F.embedding(ranks[indices] - bands.bounds[band], table)  # [n, d]
            vectors.append(F.linear(narrow, self.words.projections[band]))  # [n, D]
        back = torch.cat(members).argsort()
        embedded = torch.cat(vectors).index_select(0, back).view(*tokens.shape, self.width)
        return word_dropout(embedded, tokens, self.vocabulary, self.dropout, self.training)


class TableConfig(Config):
    """A vector of full width per token."""

    kind: Literal["table"] = "table"

    def build(
        self, vocabulary: int, width: int, counts: Counts | None, *, dropout: float = 0.0, init_range: float = 0.1
    ) -> TokenEmbedding:
        """Build vectors of `width`, uniform in +- `init_range`."""
        return TokenEmbedding(vocabulary, width, dropout=dropout, init_range=init_range)


class AdaptiveEmbeddingConfig(Config):
    """Narrower vectors for rarer tokens; `head.kind = "adaptive"` with `tied = true` shares them."""

    kind: Literal["adaptive"] = "adaptive"
    cutoffs: Annotated[tuple[Size, ...], Field(max_length=64)] | None = None
    """ranks at which the next band starts; absent: chosen as for the adaptive head"""
    divide: Size = 4
    """factor by which vectors get narrower from band to band"""

    def build(
        self, vocabulary: int, width: int, counts: Counts | None, *, dropout: float = 0.0, init_range: float = 0.1
    ) -> AdaptiveEmbedding:
        """Build vectors of `width`; their start does not depend on `init_range`."""
        bands = make_bands(vocabulary, counts, self.cutoffs, width, self.divide)
        return AdaptiveEmbedding(bands, width, divide=self.divide, dropout=dropout)


EmbeddingChoice = Annotated[TableConfig | AdaptiveEmbeddingConfig, Tagged()]
