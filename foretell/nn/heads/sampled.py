"""Softmax over the whole vocabulary whose training loss is estimated from sampled words; evaluation is exact."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from foretell.config import Size
from foretell.kernels.sampled_cross_entropy import sampled_cross_entropy
from foretell.nn.embedding import Embedding
from foretell.nn.frequency_bands import ByFrequency
from foretell.nn.heads.full import FullHead, SoftmaxConfig
from foretell.nn.heads.head import Head
from foretell.nn.vocabulary import Counts

ProposalName = Literal["log-uniform", "unigram"]


class Proposal(ByFrequency):
    """Draws words: by Zipf's law over their ranks, or as often as they occur in the training split."""

    log_q: Tensor
    """[V] logarithm of the probability of each place"""
    below: Tensor
    """[V] the probability of all places up to each"""

    def __init__(self, vocabulary: int, counts: Counts | None, kind: ProposalName):
        super().__init__(vocabulary, counts)
        q = torch.as_tensor(self.shares)
        if kind == "log-uniform":  # P(place) = log((place + 2) / (place + 1)) / log(V + 1)
            q = torch.log1p(1 / torch.arange(1, vocabulary + 1, dtype=torch.float64)) / math.log(vocabulary + 1)
        self.register_buffer("log_q", q.log(), persistent=False)
        self.register_buffer("below", q.cumsum(0), persistent=False)

    def draw(self, number: int) -> tuple[Tensor, Tensor]:
        """The different words among so many draws, in rising order, and the logarithm of how many each stands for.

        From torch's generator, so that a step draws the same again when it is repeated.
        """
        uniform = torch.rand(number, dtype=torch.float64, device=self.log_q.device)
        places = torch.searchsorted(self.below, uniform).clamp_(max=len(self.log_q) - 1)
        words, times = (places if self.sorted else self.order[places]).unique(return_counts=True)
        return words, times.log() - math.log(number) - self.log_q[self.places(words)]


class SampledHead(Head):
    """A full head, but for its loss in training mode."""

    def __init__(self, full: FullHead, proposal: Proposal, *, samples: int):
        super().__init__()
        self.full, self.proposal, self.samples = full, proposal, samples

    def nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """See `Head.nll`; in training an estimate of it."""
        if not self.training:
            return self.full.nll(hidden, targets)
        words, log_stands_for = self.proposal.draw(self.samples)
        full = self.full
        return sampled_cross_entropy(hidden, full.weight, full.bias, targets, words, log_stands_for, full.chunk)

    def log_probs(self, hidden: Tensor) -> Tensor:
        """See `Head.log_probs`."""
        return self.full.log_probs(hidden)

    def token_rows(self) -> dict[str, Sequence[int]]:
        """See `TokenIndexed`: they are those of `full`."""
        return {}


class SampledHeadConfig(SoftmaxConfig):
    """Softmax over the whole vocabulary, its training loss estimated from sampled words (arXiv:1412.2007)."""

    kind: Literal["sampled"] = "sampled"
    samples: Size = 8192
    """words drawn at each step, for all positions together"""
    proposal: ProposalName = "log-uniform"
    """how they are drawn: by rank, as Zipf's law has it, or as often as they occur in the training split"""

    def build(
        self, width: int, vocabulary: int, embedding: Embedding | None, counts: Counts | None = None
    ) -> SampledHead:
        """A head on hidden vectors of `width` for `vocabulary` words that occur so often."""
        full = self.full(width, vocabulary, embedding, counts)
        return SampledHead(full, Proposal(vocabulary, counts, self.proposal), samples=self.samples)
