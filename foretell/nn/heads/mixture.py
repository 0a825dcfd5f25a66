"""A mixture of softmaxes: K distributions from K vectors of one context, mixed with weights that depend on it too.

Yang et al. 2018 (arXiv:1711.03953): log p is then no longer of the rank of the hidden vectors, p(x) = sum_k pi_k
softmax(W z_k) with z_k = tanh(W_k h), pi = softmax(W_pi h). Computed in logarithms throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from foretell.config import Positive, Rate, Size, Width
from foretell.kernels.cross_entropy import CHUNK, linear_cross_entropy
from foretell.nn.dropout import keep_mask
from foretell.nn.embedding import Embedding
from foretell.nn.heads.full import SoftmaxConfig
from foretell.nn.heads.head import Head, shared_weight, softmax_dtype, token_bias, uniform
from foretell.nn.vocabulary import Counts


class MixtureHead(Head):
    """K softmaxes that share their weights [V, E] over vectors z [N, K, E].

    A component gives a target the probability that a full head would: so one loss over N K rows, in chunks, and
    N x K x V never exists.
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
        if self.training and self.dropout > 0:  # every element for itself: a head does not know what is one row of text
            latent = latent * keep_mask(latent, tuple(latent.shape), self.dropout)
        return prior.log_softmax(-1, dtype=softmax_dtype(prior)), latent

    def nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """See `Head.nll`."""
        log_prior, latent = self.mixed(hidden)
        each = targets.repeat_interleave(self.components)  # [N K]
        nll = linear_cross_entropy(latent.flatten(0, 1), self.weight, self.bias, each, self.chunk)
        return -(log_prior - nll.view_as(log_prior)).logsumexp(-1)

    def log_probs(self, hidden: Tensor) -> Tensor:
        """See `Head.log_probs`; one component after the other."""
        log_prior, latent = self.mixed(hidden)
        total = None
        for part, prior in zip(latent.unbind(-2), log_prior.unbind(-1), strict=True):
            scores = F.linear(part, self.weight, self.bias)
            joint = scores.log_softmax(-1, dtype=softmax_dtype(scores)) + prior[..., None]  # [..., V]
            total = joint if total is None else torch.logaddexp(total, joint)
        assert total is not None
        return total

    def token_rows(self) -> dict[str, Sequence[int]]:
        """See `TokenIndexed`."""
        tokens = range(len(self.weight))
        return {"weight": tokens} if self.bias is None else {"weight": tokens, "bias": tokens}


class MixtureHeadConfig(SoftmaxConfig):
    """A mixture of softmaxes (arXiv:1711.03953)."""

    kind: Literal["mixture"] = "mixture"
    components: Annotated[int, Field(gt=0, le=4096)] = 15
    """how many softmaxes"""
    latent: Width | None = None
    """width of the vectors they are of; absent: that of the embedding, or of the model's output where there is none"""
    dropout: Rate = 0.0
    """of these vectors, every element for itself"""
    tied: bool = False
    """use the embedding's weights; `latent` must then be its width"""
    init_range: Positive | None = None
    """weights start uniform in +- this; absent: 1 / sqrt(latent)"""
    chunk: Size = CHUNK
    """how many scores (positions x components x vocabulary) are worked on at once in training; twice as many may
    be kept"""

    def build(
        self, width: int, vocabulary: int, embedding: Embedding | None, counts: Counts | None = None
    ) -> MixtureHead:
        """A head on hidden vectors of `width` for `vocabulary` words that occur so often."""
        latent = self.latent or (embedding.width if embedding else width)
        if self.tied:
            weight = shared_weight(embedding, latent, "head.latent", "head.latent")
        else:
            weight = uniform(vocabulary, latent, bound=self.init_range or latent**-0.5)
        bias = token_bias(vocabulary, self.bias_start, counts) if self.bias else None
        return MixtureHead(width, weight, bias, components=self.components, dropout=self.dropout, chunk=self.chunk)
