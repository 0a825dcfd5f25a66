"""Softmax over the whole vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn
from typing_extensions import override

from foretell.config import Config, Positive, Size
from foretell.kernels.cross_entropy import CHUNK, linear_cross_entropy
from foretell.kernels.matmul import linear
from foretell.nn.activation import ACTIVATIONS, ActivationName
from foretell.nn.embedding import Embedding
from foretell.nn.heads.head import BiasStart, Head, shared_weight, softmax_dtype, token_bias, uniform
from foretell.nn.initializers import NormalConfig
from foretell.nn.vocabulary import Counts


class Transform(nn.Module):
    """norm(activation(dense(hidden))), applied before the output weights, as in BERT (arXiv:1810.04805, their code)."""

    def __init__(self, width: int, output: int, config: TransformConfig):
        super().__init__()
        self.dense = nn.Linear(width, output)
        self.norm = nn.LayerNorm(output, config.epsilon)
        self.activate = ACTIVATIONS[config.activation]
        config.initial.fill(self.dense.weight)
        nn.init.zeros_(self.dense.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """hidden [..., D] -> [..., E]"""
        transformed: Tensor = self.norm(self.activate(self.dense(hidden)))
        return transformed


class TransformConfig(Config):
    """A dense layer to the width of the token vectors, an activation and a layer norm (BERT, RoBERTa, ALBERT)."""

    activation: ActivationName = "gelu"
    epsilon: Positive = 1e-5
    """epsilon of the layer norm"""
    initial: NormalConfig = NormalConfig()


class FullHead(Head):
    """Softmax over the whole vocabulary; tied weights are those of the embedding (arXiv:1608.05859)."""

    def __init__(
        self,
        weight: Tensor,
        bias: nn.Parameter | None = None,
        *,
        chunk: int = CHUNK,
        transform: Transform | None = None,
    ):
        super().__init__()
        self.weight, self.bias, self.chunk, self.transform = weight, bias, chunk, transform

    @override
    def nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        return linear_cross_entropy(self.transformed(hidden), self.weight, self.bias, targets, self.chunk)

    @override
    def log_probs(self, hidden: Tensor) -> Tensor:
        scores = linear(self.transformed(hidden), self.weight, self.bias)
        return scores.log_softmax(-1, dtype=softmax_dtype(scores))

    def transformed(self, hidden: Tensor) -> Tensor:
        """hidden [..., D] -> vectors [..., E] to multiply with the token vectors"""
        return hidden if self.transform is None else self.transform(hidden)

    @override
    def token_rows(self) -> dict[str, Sequence[int]]:
        tokens = range(len(self.weight))
        return {"weight": tokens} if self.bias is None else {"weight": tokens, "bias": tokens}


class SoftmaxConfig(Config):
    """Base of heads with a weight vector per token."""

    tied: bool = False
    """use the embedding's weights; the model's output must then be as wide as its embedding"""
    bias: bool = True
    bias_start: BiasStart = "zero"
    """"unigram": start at the logarithm of each token's share in the training split, which then need not be learned"""
    init_range: Positive | None = None
    """weights start uniform in +- this; absent: 1 / sqrt(width)"""
    chunk: Size = CHUNK
    """number of scores (positions x vocabulary) computed at once in training; up to twice as many may be kept"""

    def full(self, width: int, vocabulary: int, embedding: Embedding | None, counts: Counts | None) -> FullHead:
        """Build a full softmax on hidden vectors of `width`; `counts` [vocabulary] are token frequencies."""
        if self.tied:
            weight = shared_weight(embedding, width, "model.output", "the model's output")
        else:
            weight = uniform(vocabulary, width, bound=self.init_range or width**-0.5)
        bias = token_bias(vocabulary, self.bias_start, counts) if self.bias else None
        return FullHead(weight, bias, chunk=self.chunk)


class FullHeadConfig(SoftmaxConfig):
    """Softmax over the whole vocabulary."""

    kind: Literal["full"] = "full"
    transform: TransformConfig | None = None
    """layers applied to hidden vectors first; absent: none; `{}`: with all defaults"""

    def build(self, width: int, vocabulary: int, embedding: Embedding | None, counts: Counts | None = None) -> FullHead:
        """Build a head on hidden vectors of `width`; `counts` [vocabulary] are token frequencies."""
        if self.transform is None:
            return self.full(width, vocabulary, embedding, counts)
        output = embedding.width if embedding else width
        head = self.full(output, vocabulary, embedding, counts)
        head.transform = Transform(width, output, self.transform)
        return head
