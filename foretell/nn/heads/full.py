"""The softmax over the whole vocabulary, its loss exact or, in training, estimated from samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from foretell.config import Config, Positive, Size
from foretell.kernels.cross_entropy import CHUNK, linear_cross_entropy
from foretell.kernels.matmul import linear
from foretell.nn.activation import ACTIVATIONS, ActivationName
from foretell.nn.embedding import Embedding
from foretell.nn.heads.head import BiasStart, Head, shared_weight, softmax_dtype, token_bias, uniform
from foretell.nn.initializers import NormalConfig
from foretell.nn.vocabulary import Counts


class Transform(nn.Module):
    """norm(activation(dense(hidden))), as BERT has it before its output weights (arXiv:1810.04805, their code)."""

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
    """A dense layer to the width of the word vectors, an activation and a layer norm (BERT, RoBERTa, ALBERT)."""

    activation: ActivationName = "gelu"
    epsilon: Positive = 1e-5
    """of the layer norm"""
    initial: NormalConfig = NormalConfig()


class FullHead(Head):
    """Softmax over the whole vocabulary; with `tied` weights those of the embedding (arXiv:1608.05859)."""

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

    def nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """See `Head.nll`."""
        return linear_cross_entropy(self.transformed(hidden), self.weight, self.bias, targets, self.chunk)

    def log_probs(self, hidden: Tensor) -> Tensor:
        """See `Head.log_probs`."""
        scores = linear(self.transformed(hidden), self.weight, self.bias)
        return scores.log_softmax(-1, dtype=softmax_dtype(scores))

    def transformed(self, hidden: Tensor) -> Tensor:
        """hidden [..., D] -> what the word vectors are multiplied by [..., E]"""
        return hidden if self.transform is None else self.transform(hidden)

    def token_rows(self) -> dict[str, Sequence[int]]:
        """See `TokenIndexed`."""
        tokens = range(len(self.weight))
        return {"weight": tokens} if self.bias is None else {"weight": tokens, "bias": tokens}


class SoftmaxConfig(Config):
    """What the heads have in common whose weights are one vector for each token."""

    tied: bool = False
    """use the embedding's weights; the model's output must then be as wide as its embedding"""
    bias: bool = True
    bias_start: BiasStart = "zero"
    """"unigram": at the logarithm of each token's share in the training split, which then need not be learnt"""
    init_range: Positive | None = None
    """weights start uniform in +- this; absent: 1 / sqrt(width)"""
    chunk: Size = CHUNK
    """how many scores (positions x vocabulary) are worked on at once in training; twice as many may be kept"""

    def full(self, width: int, vocabulary: int, embedding: Embedding | None, counts: Counts | None) -> FullHead:
        """A full softmax on hidden vectors of `width` for `vocabulary` words that occur so often."""
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
    """what is done to hidden vectors first, absent: nothing; `{}` for all its defaults"""

    def build(self, width: int, vocabulary: int, embedding: Embedding | None, counts: Counts | None = None) -> FullHead:
        """A head on hidden vectors of `width` for `vocabulary` words that occur so often."""
        if self.transform is None:
            return self.full(width, vocabulary, embedding, counts)
        output = embedding.width if embedding else width
        head = self.full(output, vocabulary, embedding, counts)
        head.transform = Transform(width, output, self.transform)
        return head
