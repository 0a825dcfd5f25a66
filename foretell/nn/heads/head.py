"""Output heads: from hidden vectors to probabilities of words.

A head has two faces that agree with each other, and no third ("logits" would shut out adaptive and hierarchical ones):

    nll(hidden [N, D], targets [N]) -> [N]            training, without holding N x V beyond a chunk
    log_probs(hidden [..., D]) -> [..., V]            scoring and generation; sums to one
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from foretell.errors import ConfigError
from foretell.nn.embedding import Embedding, TokenEmbedding
from foretell.nn.vocabulary import Counts, TokenIndexed, shares

BiasStart = Literal["zero", "unigram"]


class Head(TokenIndexed):
    """From hidden vectors to probabilities; abstract: subclasses are final."""

    @abstractmethod
    def nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """hidden [N, D], targets [N] int64 -> negative log-probability of each target in nats [N]."""

    @abstractmethod
    def log_probs(self, hidden: Tensor) -> Tensor:
        """hidden [..., D] -> log-probabilities of all words [..., V], in fp32 at least."""


class NoHead(Head):
    """Where a model gives no token a probability."""

    def nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """See `Head.nll`."""
        return self.log_probs(hidden)

    def log_probs(self, hidden: Tensor) -> Tensor:
        """See `Head.log_probs`."""
        raise ConfigError("this model gives no token a probability; name another run")

    def token_rows(self) -> dict[str, Sequence[int]]:
        """See `TokenIndexed`."""
        return {}


def softmax_dtype(scores: Tensor) -> torch.dtype:
    """The type that probabilities are computed in: fp32 at least."""
    return torch.promote_types(scores.dtype, torch.float32)


def uniform(*shape: int, bound: float) -> nn.Parameter:
    """Weights that begin uniform in +- bound."""
    return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))


def token_bias(vocabulary: int, start: BiasStart, counts: Counts | None) -> nn.Parameter:
    """[V] zeros, or the logarithm of each token's share in the training split."""
    if start == "zero":
        return nn.Parameter(torch.zeros(vocabulary))
    return nn.Parameter(torch.as_tensor(np.log(shares(counts, vocabulary)).astype(np.float32)))


def shared_weight(embedding: Embedding | None, width: int, setting: str, what: str) -> Tensor:
    """The embedding's weights [V, width]; a `ConfigError` where it has none of that width."""
    if embedding is not None and not isinstance(embedding, TokenEmbedding):
        raise ConfigError(
            'head.tied = true: of word vectors of kind "adaptive" only a head of kind "adaptive" can use the weights; '
            'set head.kind = "adaptive", or head.tied = false'
        )
    if embedding is None or embedding.width != width:
        there = f"is {embedding.width}" if embedding else "does not exist"
        raise ConfigError(
            f"head.tied = true needs an embedding as wide as {what}, {width}, but it {there}; "
            f"set {setting} to the embedding's width, a head.transform, or head.tied = false"
        )
    return embedding.weight
