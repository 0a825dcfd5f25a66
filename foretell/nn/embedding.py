"""From token ids to vectors."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from foretell.config import Config, Size, Tagged
from foretell.nn.dropout import word_dropout
from foretell.nn.frequency_bands import Bands, BandTables, make_bands
from foretell.nn.vocabulary import Counts, TokenIndexed


class Embedding(TokenIndexed):
    """One vector a token, with dropout of whole words; abstract: subclasses are final."""

    vocabulary: int
    width: int

    @abstractmethod
    def forward(self, tokens: Tensor) -> Tensor:
        """tokens [B, T] int64 -> [B, T, D]"""


class TokenEmbedding(Embedding):
    """A table of vectors. `weight` [V, D] may be shared with an output head."""

    def __init__(self, vocabulary: int, width: int, *, dropout: float = 0.0, init_range: float = 0.1):
        super().__init__()
        self.vocabulary, self.width, self.dropout = vocabulary, width, dropout
        self.table = nn.Embedding(vocabulary, width)
        nn.init.uniform_(self.table.weight, -init_range, init_range)

    @property
    def weight(self) -> Tensor:
        """[V, D]"""
        return self.table.weight

    def token_rows(self) -> dict[str, Sequence[int]]:
        """See `TokenIndexed`."""
        return {"table.weight": range(self.vocabulary)}

    def forward(self, tokens: Tensor) -> Tensor:
        """See `Embedding.forward`."""
        embedded: Tensor = self.table(tokens)
        return word_dropout(embedded, tokens, self.vocabulary, self.dropout, self.training)


class AdaptiveEmbedding(Embedding):
    """Narrower vectors for rarer tokens, each band with a projection to the full width (arXiv:1809.10853).

    Begins with vectors of std 1 / sqrt(d) and Xavier projections. `words` may be shared with an adaptive head.
    """

    def __init__(self, bands: Bands, width: int, *, divide: int = 4, dropout: float = 0.0):
        super().__init__()
        self.vocabulary, self.width, self.dropout = bands.bounds[-1], width, dropout
        self.words = BandTables(bands, width, divide, project_first=True)

    def token_rows(self) -> dict[str, Sequence[int]]:
        """See `TokenIndexed`: they are those of `words`."""
        return {}

    def forward(self, tokens: Tensor) -> Tensor:
        """See `Embedding.forward`."""
        bands = self.words.bands
        places = bands.places(tokens.flatten())  # [B * T]
        positions = bands.divide(places)
        found = []
        for band, (where, table) in enumerate(zip(positions, self.words.rows(), strict=True)):
            narrow = F.embedding(places[where] - bands.bounds[band], table)  # [n, d]
            found.append(F.linear(narrow, self.words.projections[band]))  # [n, D]
        back = torch.cat(positions).argsort()
        embedded = torch.cat(found).index_select(0, back).view(*tokens.shape, self.width)
        return word_dropout(embedded, tokens, self.vocabulary, self.dropout, self.training)


class TableConfig(Config):
    """One vector of full width for each token."""

    kind: Literal["table"] = "table"

    def build(
        self, vocabulary: int, width: int, counts: Counts | None, *, dropout: float = 0.0, init_range: float = 0.1
    ) -> TokenEmbedding:
        """Vectors of `width`, uniform in +- `init_range`."""
        return TokenEmbedding(vocabulary, width, dropout=dropout, init_range=init_range)


class AdaptiveEmbeddingConfig(Config):
    """Narrower vectors for rarer tokens; `head.kind = "adaptive"` with `tied = true` shares them."""

    kind: Literal["adaptive"] = "adaptive"
    cutoffs: Annotated[tuple[Size, ...], Field(max_length=64)] | None = None
    """how many of the most frequent tokens come before each next band; absent: chosen as for the adaptive head"""
    divide: Size = 4
    """by how much each band's vectors are narrower than those of the band before"""

    def build(
        self, vocabulary: int, width: int, counts: Counts | None, *, dropout: float = 0.0, init_range: float = 0.1
    ) -> AdaptiveEmbedding:
        """Vectors of `width`; how they begin does not depend on `init_range`."""
        bands = make_bands(vocabulary, counts, self.cutoffs, width, self.divide)
        return AdaptiveEmbedding(bands, width, divide=self.divide, dropout=dropout)


EmbeddingChoice = Annotated[TableConfig | AdaptiveEmbeddingConfig, Tagged()]
