"""Mixture of softmaxes: K distributions from K vectors of a context, with weights that also depend on it.

Yang et al. 2018 (arXiv:1711.03953): p(x) = sum_k pi_k softmax(W z_k) with z_k = tanh(W_k h) and pi = softmax(W_pi h),
so that the rank of log p is not limited by the hidden width. Computed in logarithms throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from foretell.config import Positive, Rate, Size, Width
from foretell.kernels.cross_entropy import CHUNK, linear_cross_entropy
from foretell.nn.dropout import keep_mask
from foretell.nn.embedding import Embedding
from foretell.nn.heads.full import SoftmaxConfig
from foretell.nn.heads.head import Head, shared_weight, softmax_dtype, token_bias, uniform
from foretell.nn.vocabulary import Counts


class MixtureHead(Head):
    """K softmaxes that share their weights [V, E] over vectors z [N, K, E].

    Each component is a full head, so the loss is computed over N K rows, in chunks: N x K x V never exists.
    """

    def __init__(
        self, width: int, weight: Tensor, bias: nn.Parameter | None, *, components: int, dropout: float, chunk: int
    ):
        super().__init__()
        self.weight, self.bias, self.dropout, self.chunk = weight, bias, dropout, chunk
        self.components = components
        self.prior = nn.Linear(width, components, bias=False)
        self.latent = nn.Linear(width, components * weight.shape[1])

    def mixed(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """hidden [..., D] -> log pi [..., K] and z [..., K, E]"""
        prior = self.prior(hidden)
        latent = self.latent(hidden).tanh().unflatten(-1, (self.components, -1))
        if self.training and self.dropout > 0:  # a mask per element: a head does not know the rows of text
            latent = latent * keep_mask(latent, tuple(latent.shape), self.dropout)
        return prior.log_softmax(-1, dtype=softmax_dtype(prior)), latent

    @override
    def nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        log_prior, latent = self.mixed(hidden)
        repeated = targets.repeat_interleave(self.components)  # [N K]
        nll = linear_cross_entropy(latent.flatten(0, 1), self.weight, self.bias, repeated, self.chunk)
        return -(log_prior - nll.view_as(log_prior)).logsumexp(-1)

    @override
    def log_probs(self, hidden: Tensor) -> Tensor:
        """One component at a time."""
        log_prior, latent = self.mixed(hidden)
        total = None
        for part, prior in zip(latent.unbind(-2), log_prior.unbind(-1), strict=True):
            scores = F.linear(part, self.weight, self.bias)
            joint = scores.log_softmax(-1, dtype=softmax_dtype(scores)) + prior[..., None]  # [..., V]
            total = joint if total is None else torch.logaddexp(total, joint)
        assert total is not None
        return total

    @override
    def token_rows(self) -> dict[str, Sequence[int]]:
        tokens = range(len(self.weight))
        return {"weight": tokens} if self.bias is None else {"weight": tokens, "bias": tokens}


class MixtureHeadConfig(SoftmaxConfig):
    """A mixture of softmaxes (arXiv:1711.03953)."""

    kind: Literal["mixture"] = "mixture"
    components: Annotated[int, Field(gt=0, le=4096)] = 15
    """number of softmaxes"""
    latent: Width | None = None
    """width of the vectors z; absent: that of the embedding, or of the model's output if there is no embedding"""
    dropout: Rate = 0.0
    """dropout of the vectors z, per element"""
    tied: bool = False
    """use the embedding's weights; `latent` must then be its width"""
    init_range: Positive | None = None
    """weights start uniform in +- this; absent: 1 / sqrt(latent)"""
    chunk: Size = CHUNK
    """number of scores (positions x components x vocabulary) computed at once in training; up to twice as many may
    be kept"""

    def build(
        self, width: int, vocabulary: int, embedding: Embedding | None, counts: Counts | None = None
    ) -> MixtureHead:
        """Build a head on hidden vectors of `width`; `counts` [vocabulary] are token frequencies."""
        latent = self.latent or (embedding.width if embedding else width)
        if self.tied:
            weight = shared_weight(embedding, latent, "head.latent", "head.latent")
        else:
            weight = uniform(vocabulary, latent, bound=self.init_range or latent**-0.5)
        bias = token_bias(vocabulary, self.bias_start, counts) if self.bias else None
        return MixtureHead(width, weight, bias, components=self.components, dropout=self.dropout, chunk=self.chunk)
