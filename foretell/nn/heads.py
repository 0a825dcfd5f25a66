"""Output heads: from hidden vectors to probabilities of words.

A head has two faces that agree with each other, and no third ("logits" would shut out adaptive and hierarchical ones):

    nll(hidden [N, D], targets [N]) -> [N]            training, without holding N x V beyond a chunk
    log_probs(hidden [..., D]) -> [..., V]            scoring and generation; sums to one
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foretell.config import Config, ConfigError, Tagged
from foretell.kernels.cross_entropy import CHUNK, linear_cross_entropy
from foretell.nn.embedding import TokenEmbedding
from foretell.nn.vocabulary import TokenIndexed


class Head(TokenIndexed):
    """From hidden vectors to probabilities; abstract: subclasses are final."""

    @abstractmethod
    def nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """hidden [N, D], targets [N] int64 -> negative log-probability of each target in nats [N]."""

    @abstractmethod
    def log_probs(self, hidden: Tensor) -> Tensor:
        """hidden [..., D] -> log-probabilities of all words [..., V], in fp32 at least."""


class FullHead(Head):
    """Softmax over the whole vocabulary; with `tied` weights those of the embedding (arXiv:1608.05859)."""

    def __init__(self, weight: Tensor, *, bias: bool, chunk: int):
        super().__init__()
        self.weight = weight
        self.bias = nn.Parameter(torch.zeros(len(weight))) if bias else None
        self.chunk = chunk

    def nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """See `Head.nll`."""
        return linear_cross_entropy(hidden, self.weight, self.bias, targets, self.chunk)

    def log_probs(self, hidden: Tensor) -> Tensor:
        """See `Head.log_probs`."""
        scores = F.linear(hidden, self.weight, self.bias)
        return scores.log_softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32))

    def token_rows(self) -> dict[str, range]:
        """See `TokenIndexed`."""
        tokens = range(len(self.weight))
        return {"weight": tokens} if self.bias is None else {"weight": tokens, "bias": tokens}


class FullHeadConfig(Config):
    """Softmax over the whole vocabulary."""

    kind: Literal["full"] = "full"
    tied: bool = False
    """use the embedding's weights; the model's output must then be as wide as its embedding"""
    bias: bool = True
    init_range: float | None = None
    """weights start uniform in +- this; absent: 1 / sqrt(width)"""
    chunk: int = CHUNK
    """how many scores (positions x vocabulary) may exist at once in training"""

    def build(self, width: int, vocabulary: int, embedding: TokenEmbedding | None) -> FullHead:
        """A head on hidden vectors of `width` for `vocabulary` words."""
        if self.tied:
            if embedding is None or embedding.width != width:
                there = f"is {embedding.width}" if embedding else "does not exist"
                raise ConfigError(
                    f"head.tied = true needs an embedding as wide as the model's output, {width}, but it {there}; "
                    "set model.output to the embedding's width, or head.tied = false"
                )
            return FullHead(embedding.weight, bias=self.bias, chunk=self.chunk)
        weight = nn.Parameter(torch.empty(vocabulary, width))
        bound = width**-0.5 if self.init_range is None else self.init_range
        nn.init.uniform_(weight, -bound, bound)
        return FullHead(weight, bias=self.bias, chunk=self.chunk)


HeadChoice = Annotated[FullHeadConfig, Tagged()]
