"""From token ids to vectors."""

from __future__ import annotations

from torch import Tensor, nn

from foretell.nn.dropout import word_dropout
from foretell.nn.vocabulary import TokenIndexed


class TokenEmbedding(TokenIndexed):
    """One vector a token, with dropout of whole words. `weight` [V, D] may be shared with an output head."""

    def __init__(self, vocabulary: int, width: int, *, dropout: float = 0.0, init_range: float = 0.1):
        super().__init__()
        self.vocabulary, self.width, self.dropout = vocabulary, width, dropout
        self.table = nn.Embedding(vocabulary, width)
        nn.init.uniform_(self.table.weight, -init_range, init_range)

    @property
    def weight(self) -> Tensor:
        """[V, D]"""
        return self.table.weight

    def token_rows(self) -> dict[str, range]:
        """See `TokenIndexed`."""
        return {"table.weight": range(self.vocabulary)}

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens [B, T] int64 -> [B, T, D]"""
        embedded: Tensor = self.table(tokens)
        return word_dropout(embedded, tokens, self.vocabulary, self.dropout, self.training)
