"""Causal language modelling: predict the next token from those before it.

Bengio et al. 2003; Mikolov et al. 2010. Batches come with targets shifted by one, so every token of a text is a target
exactly once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from typing_extensions import override

from foretell.models.model_spec import ModelSpec
from foretell.objectives.objective import Objective, ObjectiveConfig
from foretell.objectives.penalties import PenaltyChoice
from foretell.types import IGNORED, Batch, State, Step, Term


class CausalConfig(ObjectiveConfig):
    """Predict the next token."""

    kind: Literal["causal"] = "causal"
    penalties: tuple[PenaltyChoice, ...] = ()
    """regularisers added to the loss"""

    @override
    def build(self, spec: ModelSpec) -> Causal:
        return Causal(*spec.build(), tuple(penalty.build() for penalty in self.penalties))


class Causal(Objective):
    """Sum of -log p(target) over the targets; term "loss"."""

    needs: ClassVar[frozenset[str]] = frozenset({"causal"})

    @override
    def forward(self, batch: Batch, state: State) -> Step:
        hidden = self.backbone(batch.inputs, state)
        valid = batch.targets != IGNORED  # [B, T]
        targets = batch.targets.masked_fill(~valid, 0).flatten()
        # padding is scored and masked out: selecting the real positions would wait for the device
        nll = self.head.nll(hidden.dropped.flatten(0, 1), targets)  # [B * T]
        penalties = [penalty(self, hidden) for penalty in self.penalties]
        return Step(
            terms={"loss": Term((nll * valid.flatten()).sum())},
            penalty=torch.stack(penalties).sum() if penalties else None,
            state=hidden.state,
        )

    @override
    def counts(self, batch: Batch) -> Mapping[str, int]:
        return {"loss": int((batch.targets != IGNORED).sum())}
