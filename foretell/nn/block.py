"""One layer of a Transformer: attention, then a feed-forward network, each beside a residual connection."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from foretell.nn.attention import Cache, Placement, SelfAttention
from foretell.nn.dropout import dropout

ActivationName = Literal["gelu", "gelu_tanh", "relu"]
ACTIVATIONS: dict[ActivationName, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,  # arXiv:1606.08415, exact
    "gelu_tanh": partial(F.gelu, approximate="tanh"),  # as in GPT, GPT-2 and BERT
    "relu": F.relu,
}
NormPlace = Literal["pre", "post"]


class FeedForward(nn.Module):
    """outward(activation(inward(x))), each token for itself."""

    def __init__(self, width: int, inner: int, *, activation: ActivationName, biases: bool):
        super().__init__()
        self.inward = nn.Linear(width, inner, bias=biases)
        self.outward = nn.Linear(inner, width, bias=biases)
        self.activation = activation

    def forward(self, inputs: Tensor) -> Tensor:
        """inputs [B, T, D] -> [B, T, D]"""
        outputs: Tensor = self.outward(ACTIVATIONS[self.activation](self.inward(inputs)))
        return outputs


class Block(nn.Module):
    """Attention and feed-forward network.

    Layer norm stands before each of the two and leaves the residual stream alone ("pre": GPT-2), or after each sum
    ("post": the original Transformer, GPT, BERT).
    """

    def __init__(
        self,
        width: int,
        *,
        heads: int,
        inner: int,
        activation: ActivationName,
        norm: NormPlace,
        norm_epsilon: float,
        biases: bool,
        attention_dropout: float,
        residual_dropout: float,
    ):
        super().__init__()
        self.norm, self.residual_dropout = norm, residual_dropout
        self.attention_norm = nn.LayerNorm(width, norm_epsilon, bias=biases)
        self.attention = SelfAttention(width, heads, dropout=attention_dropout, biases=biases)
        self.feed_forward_norm = nn.LayerNorm(width, norm_epsilon, bias=biases)
        self.feed_forward = FeedForward(width, inner, activation=activation, biases=biases)

    def forward(
        self, x: Tensor, cache: Cache | None = None, placement: Placement | None = None
    ) -> tuple[Tensor, Cache]:
        """x [B, T, D] -> [B, T, D] and the cache of `SelfAttention.forward`."""
        if self.norm == "pre":
            mixed, cache = self.attention(self.attention_norm(x), cache, placement)
            x = x + self.drop(mixed)
            return x + self.drop(self.feed_forward(self.feed_forward_norm(x))), cache
        mixed, cache = self.attention(x, cache, placement)
        x = self.attention_norm(x + self.drop(mixed))
        return self.feed_forward_norm(x + self.drop(self.feed_forward(x))), cache

    def drop(self, branch: Tensor) -> Tensor:
        """Dropout of what is added to the residual stream."""
        return dropout(branch, self.residual_dropout, self.training, locked=False)
