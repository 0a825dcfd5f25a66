"""Guess hidden tokens from those on both sides, and what a pair of texts is to each other.

Devlin et al. 2019 (BERT, arXiv:1810.04805), with what RoBERTa (arXiv:1907.11692), ALBERT (arXiv:1909.11942) and
others made of it: the masks are a matter of `masking`, rows and pairs one of `data.batches`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foretell.config import NonNegative, Positive
from foretell.data.batches.batches import Batches, BatchKind, RowBatches
from foretell.data.batches.masking import Masked, MaskingChoice, TokenMaskingConfig
from foretell.data.tokenizers.tokenizer import Tokenizer
from foretell.models.backbone import Backbone
from foretell.models.model_spec import ModelSpec
from foretell.nn.flops import macs_per_token
from foretell.nn.heads import Head
from foretell.objectives.objective import MeasuredBy, Objective, ObjectiveConfig
from foretell.types import IGNORED, Batch, State, Step, Term


class MaskedConfig(ObjectiveConfig):
    """Guess hidden tokens from those on both sides; where rows are labelled pairs, also what kind of pair each is."""

    kind: Literal["masked"] = "masked"
    requires: ClassVar[BatchKind] = "rows"
    measured_by: ClassVar[MeasuredBy] = "terms"
    token_loss: ClassVar[str] = "masked_loss"
    masking: MaskingChoice = TokenMaskingConfig()
    """which tokens are hidden, and how"""
    pair_weight: NonNegative = 1.0
    """of the loss of pairs beside that of tokens"""
    initial_deviation: Positive = 0.02
    """standard deviation of the weights that judge pairs at the start"""

    def build(self, spec: ModelSpec) -> MaskedLM:
        """The objective with its model."""
        return MaskedLM(self, *spec.build(), pair_kinds=spec.pair_kinds)

    def batches(self, source: Batches, tokenizer: Tokenizer, seed: int) -> Batches:
        """The rows with tokens hidden."""
        return Masked(cast(RowBatches, source), self.masking, tokenizer, seed)


class MaskedLM(Objective):
    """Sum of -log p(hidden token); term "masked". With labelled pairs also -log p(label); term "pair".

    In evaluation `metrics` holds how many of each were guessed right.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"bidirectional"})

    def __init__(self, config: MaskedConfig, backbone: Backbone, head: Head, *, pair_kinds: int = 0):
        super().__init__(backbone, head)
        self.pair_weight, self.rate = config.pair_weight, config.masking.rate
        self.pooler = self.pair = None
        if pair_kinds:
            self.pooler = nn.Linear(backbone.dim, backbone.dim)
            self.pair = nn.Linear(backbone.dim, pair_kinds)
            for layer in (self.pooler, self.pair):
                nn.init.normal_(layer.weight, std=config.initial_deviation)
                nn.init.zeros_(layer.bias)

    def macs_per_token(self, length: int) -> float:
        """See `Objective.macs_per_token`: the head is asked for hidden tokens, pairs are judged once a row."""
        once = macs_per_token(self.pooler) + macs_per_token(self.pair)
        return self.backbone.macs_per_token(length) + self.rate * macs_per_token(self.head) + once / length

    def uniform_loss(self) -> float:
        """See `Objective.uniform_loss`."""
        kinds = 1 if self.pair is None else self.pair.out_features
        return super().uniform_loss() + self.pair_weight * math.log(kinds)

    def forward(self, batch: Batch, state: State) -> Step:
        """See `Objective.forward`."""
        hidden = self.backbone(batch.inputs, None)
        loss, right = masked_loss(self.head, *gather_targets(hidden.dropped, batch), training=self.training)
        terms, metrics = {"masked": Term(loss)}, {} if self.training else {"masked": right}
        if self.pair is not None and self.pooler is not None and batch.labels is not None:
            scores = self.pair(self.pooler(hidden.dropped[:, 0]).tanh())  # [B, kinds of pairs]
            loss = F.cross_entropy(scores, batch.labels, ignore_index=IGNORED, reduction="sum")
            terms["pair"] = Term(loss, self.pair_weight)
            if not self.training:
                metrics["pair"] = (scores.argmax(-1) == batch.labels).sum()
        return Step(terms=terms, metrics=metrics)

    def counts(self, batch: Batch) -> Mapping[str, int]:
        """See `Objective.counts`."""
        counts = {"masked": int((batch.targets != IGNORED).sum())}
        if self.pair is not None and batch.labels is not None:
            counts["pair"] = int((batch.labels != IGNORED).sum())
        return counts


def gather_targets(vectors: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Vectors [B, T, D] -> those at the places of targets [N, D], and the targets [N], -100 where there is none.

    On a processor N is the number of targets. Elsewhere asking for that would wait for the device, so a few places
    of rows with fewer targets than others are taken along; without `Batch.target_positions` all are.
    """
    targets = batch.targets
    if targets.device.type == "cpu":
        chosen = targets != IGNORED  # [B, T]
        return vectors[chosen], targets[chosen]
    if batch.target_positions is None:
        return vectors.flatten(0, 1), targets.flatten()
    places = batch.target_positions.clamp(min=0)  # [B, P]
    found = targets.gather(1, places).masked_fill(batch.target_positions < 0, IGNORED)
    rows = torch.arange(len(places), device=places.device)[:, None] * targets.shape[1]
    return vectors.flatten(0, 1).index_select(0, (places + rows).flatten()), found.flatten()


def masked_loss(head: Head, vectors: Tensor, targets: Tensor, *, training: bool) -> tuple[Tensor, Tensor]:
    """vectors [N, D], targets [N], -100 for none -> the sum of -log p(target) [], how many are the first guess [].

    In training nobody asks for the second, which takes all probabilities: it is 0.
    """
    valid = targets != IGNORED
    nll = head.nll(vectors, targets.masked_fill(~valid, 0))  # [N]
    if training:
        return (nll * valid).sum(), nll.new_zeros(())
    return (nll * valid).sum(), ((head.log_probs(vectors).argmax(-1) == targets) & valid).sum()
