"""Masked language modelling, with sentence-pair classification where rows are labelled pairs.

Devlin et al. 2019 (BERT, arXiv:1810.04805), with the variants of RoBERTa (arXiv:1907.11692), ALBERT (arXiv:1909.11942)
and others: `masking` chooses the masks, `data.batches` the rows and pairs. B rows, T positions, P targets of a row,
N targets of a batch, D width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

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
    """Predict masked tokens from both sides, and the kind of pair where rows are labelled pairs."""

    kind: Literal["masked"] = "masked"
    requires: ClassVar[BatchKind] = "rows"
    measured_by: ClassVar[MeasuredBy] = "terms"
    token_loss: ClassVar[str] = "masked_loss"
    masking: MaskingChoice = TokenMaskingConfig()
    """which tokens are masked, and how"""
    pair_weight: NonNegative = 1.0
    """weight of the pair loss; the token loss has 1"""
    initial_std: Positive = 0.02
    """standard deviation of the initial weights of the pair classifier"""

    @property
    @override
    def no_likelihood(self) -> str:
        return "is a masked model"

    @override
    def build(self, spec: ModelSpec) -> MaskedLM:
        return MaskedLM(self, *spec.build(), pair_kinds=spec.pair_kinds)

    @override
    def batches(self, source: Batches, tokenizer: Tokenizer, seed: int) -> Batches:
        """The rows with masked tokens."""
        return Masked(cast(RowBatches, source), self.masking, tokenizer, seed)


class MaskedLM(Objective):
    """Sum of -log p(masked token), term "masked"; with labelled pairs also -log p(label), term "pair".

    In evaluation `metrics` counts the correct predictions of each.
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
                nn.init.normal_(layer.weight, std=config.initial_std)
                nn.init.zeros_(layer.bias)

    @override
    def macs_per_token(self, length: int) -> float:
        """The head runs on masked tokens, the pair classifier once per row."""
        per_row = macs_per_token(self.pooler) + macs_per_token(self.pair)
        return self.backbone.macs_per_token(length) + self.rate * macs_per_token(self.head) + per_row / length

    @override
    def uniform_loss(self) -> float:
        kinds = 1 if self.pair is None else self.pair.out_features
        return super().uniform_loss() + self.pair_weight * math.log(kinds)

    @override
    def forward(self, batch: Batch, state: State) -> Step:
        hidden = self.backbone(batch.inputs, None)
        loss, correct = masked_loss(self.head, *gather_targets(hidden.dropped, batch), training=self.training)
        terms, metrics = {"masked": Term(loss)}, {} if self.training else {"masked": correct}
        if self.pair is not None and self.pooler is not None and batch.labels is not None:
            scores = self.pair(self.pooler(hidden.dropped[:, 0]).tanh())  # [B, pair kinds]
            loss = F.cross_entropy(scores, batch.labels, ignore_index=IGNORED, reduction="sum")
            terms["pair"] = Term(loss, self.pair_weight)
            if not self.training:
                metrics["pair"] = (scores.argmax(-1) == batch.labels).sum()
        return Step(terms=terms, metrics=metrics)

    @override
    def counts(self, batch: Batch) -> Mapping[str, int]:
        counts = {"masked": int((batch.targets != IGNORED).sum())}
        if self.pair is not None and batch.labels is not None:
            counts["pair"] = int((batch.labels != IGNORED).sum())
        return counts


def gather_targets(vectors: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Vectors [B, T, D] -> those at the target positions [N, D], and the targets [N], -100 marks no target.

    On a CPU N is the number of targets. On other devices counting them would wait for the device: N is B x P then, with
    a few positions without a target, or B x T without `Batch.target_positions`.
    """
    targets = batch.targets
    if targets.device.type == "cpu":
        chosen = targets != IGNORED  # [B, T]
        return vectors[chosen], targets[chosen]
    if batch.target_positions is None:
        return vectors.flatten(0, 1), targets.flatten()
    positions = batch.target_positions.clamp(min=0)  # [B, P]
    gathered = targets.gather(1, positions).masked_fill(batch.target_positions < 0, IGNORED)
    offsets = torch.arange(len(positions), device=positions.device)[:, None] * targets.shape[1]
    return vectors.flatten(0, 1).index_select(0, (positions + offsets).flatten()), gathered.flatten()


def masked_loss(head: Head, vectors: Tensor, targets: Tensor, *, training: bool) -> tuple[Tensor, Tensor]:
    """Vectors [N, D], targets [N] (-100: no target) -> the sum of -log p(target) [], and the correct predictions [].

    In training the second is 0: it takes all probabilities and is not used.
    """
    valid = targets != IGNORED
    nll = head.nll(vectors, targets.masked_fill(~valid, 0))  # [N]
    if training:
        return (nll * valid).sum(), nll.new_zeros(())
    return (nll * valid).sum(), ((head.log_probs(vectors).argmax(-1) == targets) & valid).sum()
