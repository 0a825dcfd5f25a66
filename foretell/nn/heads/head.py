"""Output heads: hidden vectors -> probabilities of tokens.

A head has two consistent methods; a third, "logits", would rule out adaptive and hierarchical heads:

    nll(hidden [N, D], targets [N]) -> [N]            training; N x V exists for a chunk at a time
    log_probs(hidden [..., D]) -> [..., V]            scoring and generation; probabilities sum to one
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import override

from foretell.errors import ConfigError
from foretell.nn.embedding import Embedding, TokenEmbedding
from foretell.nn.vocabulary import Counts, TokenIndexed, shares

BiasStart = Literal["zero", "unigram"]


class Head(TokenIndexed):
    """Hidden vectors -> probabilities; abstract: subclasses are final."""

    @abstractmethod
    def nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """hidden [N, D], targets [N] int64 -> negative log-probability of each target in nats [N]."""

    @abstractmethod
    def log_probs(self, hidden: Tensor) -> Tensor:
        """hidden [..., D] -> log-probabilities of all tokens [..., V], in fp32 at least."""


class NoHead(Head):
    """The head of a model that does not predict tokens."""

    @override
    def nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        return self.log_probs(hidden)

    @override
    def log_probs(self, hidden: Tensor) -> Tensor:
        raise ConfigError("this model gives no token a probability; name another run")

    @override
    def token_rows(self) -> dict[str, Sequence[int]]:
        return {}


def softmax_dtype(scores: Tensor) -> torch.dtype:
    """The dtype to compute probabilities in: fp32 at least."""
    return torch.promote_types(scores.dtype, torch.float32)


def uniform(*shape: int, bound: float) -> nn.Parameter:
    """Weights that start uniform in +- bound."""
    return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))


def token_bias(vocabulary: int, start: BiasStart, counts: Counts | None) -> nn.Parameter:
    """Bias [V] of zeros, or of the logarithm of each token's share in the training split."""
    if start == "zero":
        return nn.Parameter(torch.zeros(vocabulary))
    return nn.Parameter(torch.as_tensor(np.log(shares(counts, vocabulary)).astype(np.float32)))


def shared_weight(embedding: Embedding | None, width: int, setting: str, what: str) -> Tensor:
    """The embedding's weights [V, width]; raises `ConfigError` if it has no table of that width."""
    if embedding is not None and not isinstance(embedding, TokenEmbedding):
        raise ConfigError(
            'head.tied = true: only a head of kind "adaptive" can use the weights of an embedding of kind "adaptive"; '
            'set head.kind = "adaptive", or head.tied = false'
        )
    if embedding is None or embedding.width != width:
        actual = f"is {embedding.width}" if embedding else "does not exist"
        raise ConfigError(
            f"head.tied = true needs an embedding as wide as {what}, {width}, but it {actual}; "
            f"set {setting} to the embedding's width, a head.transform, or head.tied = false"
        )
    return embedding.weight
