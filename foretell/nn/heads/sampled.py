"""Softmax over the whole vocabulary with a training loss estimated from sampled tokens; evaluation is exact."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from typing_extensions import override

from foretell.config import Size
from foretell.kernels.sampled_cross_entropy import sampled_cross_entropy
from foretell.nn.embedding import Embedding
from foretell.nn.frequency_bands import ByFrequency
from foretell.nn.heads.full import FullHead, SoftmaxConfig
from foretell.nn.heads.head import Head
from foretell.nn.vocabulary import Counts

ProposalName = Literal["log-uniform", "unigram"]


class Proposal(ByFrequency):
    """Draws tokens, by Zipf's law over their ranks or by their frequency in the training split."""

    log_q: Tensor
    """[V] log-probability of each rank"""
    below: Tensor
    """[V] cumulative probability of the ranks"""

    def __init__(self, vocabulary: int, counts: Counts | None, kind: ProposalName):
        super().__init__(vocabulary, counts)
        q = torch.as_tensor(self.shares)
        if kind == "log-uniform":  # P(rank) = log((rank + 2) / (rank + 1)) / log(V + 1)
            q = torch.log1p(1 / torch.arange(1, vocabulary + 1, dtype=torch.float64)) / math.log(vocabulary + 1)
        self.register_buffer("log_q", q.log(), persistent=False)
        self.register_buffer("below", q.cumsum(0), persistent=False)

    def draw(self, number: int) -> tuple[Tensor, Tensor]:
        """Distinct tokens among `number` draws, in rising order, and the log of how many tokens each stands for.

        Uses torch's generator, so that a repeated step draws the same tokens.
        """
        uniform = torch.rand(number, dtype=torch.float64, device=self.log_q.device)
        ranks = torch.searchsorted(self.below, uniform).clamp_(max=len(self.log_q) - 1)
        tokens, times = (ranks if self.sorted else self.order[ranks]).unique(return_counts=True)
        return tokens, times.log() - math.log(number) - self.log_q[self.ranks(tokens)]


class SampledHead(Head):
    """A full head whose loss is estimated in training mode."""

    def __init__(self, full: FullHead, proposal: Proposal, *, samples: int):
        super().__init__()
        self.full, self.proposal, self.samples = full, proposal, samples

    @override
    def nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """An estimate in training mode."""
        if not self.training:
            return self.full.nll(hidden, targets)
        tokens, log_stands_for = self.proposal.draw(self.samples)
        full = self.full
        return sampled_cross_entropy(hidden, full.weight, full.bias, targets, tokens, log_stands_for, full.chunk)

    @override
    def log_probs(self, hidden: Tensor) -> Tensor:
        return self.full.log_probs(hidden)

    @override
    def token_rows(self) -> dict[str, Sequence[int]]:
        """None of its own: `full` has them."""
        return {}


class SampledHeadConfig(SoftmaxConfig):
    """Softmax over the whole vocabulary with a training loss estimated from sampled tokens (arXiv:1412.2007)."""

    kind: Literal["sampled"] = "sampled"
    samples: Size = 8192
    """tokens drawn per step, shared by all positions"""
    proposal: ProposalName = "log-uniform"
    """distribution of the samples: Zipf's law over ranks, or the frequencies in the training split"""

    def build(
        self, width: int, vocabulary: int, embedding: Embedding | None, counts: Counts | None = None
    ) -> SampledHead:
        """Build a head on hidden vectors of `width`; `counts` [vocabulary] are token frequencies."""
        full = self.full(width, vocabulary, embedding, counts)
        return SampledHead(full, Proposal(vocabulary, counts, self.proposal), samples=self.samples)
