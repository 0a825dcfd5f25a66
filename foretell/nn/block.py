"""A Transformer layer: attention and a feed-forward network, each with a residual connection."""

from __future__ import annotations

from typing import Annotated, Literal

from torch import Tensor, nn

from foretell.config import Config, Positive, Tagged
from foretell.nn.activation import ActivationName, GatedName, function_of
from foretell.nn.attention.attention import SelfAttention
from foretell.nn.attention.kv_cache import LayerCache
from foretell.nn.attention.pattern import AttentionPattern
from foretell.nn.dropout import dropout
from foretell.nn.linear import Linear

NormType = Literal["layer", "rms"]


def norm_of(config: PreNormConfig | PostNormConfig, width: int, *, biases: bool) -> nn.Module:
    """The norm of vectors of `width`; an RMSNorm has no bias."""
    if config.type == "rms":
        return nn.RMSNorm(width, config.epsilon)
    return nn.LayerNorm(width, config.epsilon, bias=biases)


class PreNormConfig(Config):
    """Norm before each sublayer, outside the residual stream: GPT-2, Megatron."""

    kind: Literal["pre"] = "pre"
    type: NormType = "layer"
    """rms: divide by the root mean square, without centring and biases (RMSNorm, arXiv:1910.07467)"""
    epsilon: Positive = 1e-5
    embedding: bool = False
    """also normalise the sum of token, position and segment"""
    final: bool = True
    """also normalise the output of the last layer"""


class PostNormConfig(Config):
    """Norm after each sum: the original Transformer, GPT, BERT."""

    kind: Literal["post"] = "post"
    type: NormType = "layer"
    """rms: divide by the root mean square, without centring and biases (RMSNorm, arXiv:1910.07467)"""
    epsilon: Positive = 1e-5
    embedding: bool = False
    """also normalise the sum of token, position and segment"""
    final: bool = False
    """also normalise the output of the last layer"""


NormChoice = Annotated[PreNormConfig | PostNormConfig, Tagged()]


class FeedForward(nn.Module):
    """out(activation(inner(x))), position by position.

    With a gate, `inner` is twice as wide; its first half, after the activation, multiplies the second.
    """

    def __init__(self, width: int, inner: int, *, activation: ActivationName | GatedName, biases: bool):
        super().__init__()
        self.activate, self.gated = function_of(activation)
        self.inner = Linear(width, 2 * inner if self.gated else inner, bias=biases)
        self.out = Linear(inner, width, bias=biases)

    def forward(self, inputs: Tensor) -> Tensor:
        """inputs [B, T, D] -> [B, T, D]"""
        inner = self.inner(inputs)
        if self.gated:
            gate, value = inner.chunk(2, -1)
            inner = self.activate(gate) * value
        else:
            inner = self.activate(inner)
        outputs: Tensor = self.out(inner)
        return outputs


class Block(nn.Module):
    """Attention and feed-forward network."""

    def __init__(
        self,
        width: int,
        *,
        heads: int,
        key_value_heads: int | None = None,
        head_dim: int | None = None,
        inner: int,
        activation: ActivationName | GatedName,
        norm: PreNormConfig | PostNormConfig,
        biases: bool,
        qk_norm: bool = False,
        attention_dropout: float,
        residual_dropout: float,
    ):
        super().__init__()
        self.norm, self.residual_dropout = norm.kind, residual_dropout
        self.attention_norm = norm_of(norm, width, biases=biases)
        self.attention = SelfAttention(
            width, heads, key_value_heads, head_dim, qk_norm=qk_norm, dropout=attention_dropout, biases=biases
        )
        self.feed_forward_norm = norm_of(norm, width, biases=biases)
        self.feed_forward = FeedForward(width, inner, activation=activation, biases=biases)

    def forward(
        self, x: Tensor, pattern: AttentionPattern, cache: LayerCache | None = None
    ) -> tuple[Tensor, LayerCache]:
        """x [B, T, D] -> [B, T, D], with the keys and values of `SelfAttention.forward`."""
        if self.norm == "pre":
            mixed, cache = self.attention(self.attention_norm(x), pattern, cache)
            x = x + self.drop(mixed)
            return x + self.drop(self.feed_forward(self.feed_forward_norm(x))), cache
        mixed, cache = self.attention(x, pattern, cache)
        x = self.attention_norm(x + self.drop(mixed))
        return self.feed_forward_norm(x + self.drop(self.feed_forward(x))), cache

    def drop(self, branch: Tensor) -> Tensor:
        """Dropout of a branch before it is added to the residual stream."""
        return dropout(branch, self.residual_dropout, self.training, locked=False)
