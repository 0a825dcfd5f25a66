"""Regularisers on hidden vectors and parameters; part of the gradient, not of any reported loss.

Activation and temporal regularisation: Merity, McCann and Socher 2017 (arXiv:1708.01009). As in the authors' code,
both are means of squares (the paper writes norms). L2-SP: Li, Grandvalet and Davoine 2018 (arXiv:1802.01483).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from torch import Tensor, nn
from typing_extensions import override

from foretell.config import Config, NonNegative, Tagged
from foretell.types import Hidden


class Penalty(ABC):
    """A function `(model, hidden) -> []`; penalties on parameters ignore `hidden`."""

    @abstractmethod
    def __call__(self, model: nn.Module, hidden: Hidden) -> Tensor:
        """The weighted penalty []."""

    def tensors(self) -> dict[str, Tensor]:
        """Its state for the checkpoint."""
        return {}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore `tensors`."""
        if tensors:
            raise ValueError(f"{type(self).__name__} has no state")


class ActivationPenaltyConfig(Config):
    """Activation regularisation (AR): weight x mean of the squared last layer after dropout."""

    kind: Literal["activation"] = "activation"
    weight: NonNegative = 2.0

    def build(self) -> ActivationPenalty:
        """The penalty with this weight."""
        return ActivationPenalty(self.weight)


class ActivationPenalty(Penalty):
    """weight * mean(dropped^2)."""

    def __init__(self, weight: float):
        self.weight = weight

    @override
    def __call__(self, model: nn.Module, hidden: Hidden) -> Tensor:
        return self.weight * hidden.dropped.float().square().mean()


class TemporalPenaltyConfig(Config):
    """Temporal activation regularisation (TAR): weight x mean squared change of the last layer between steps."""

    kind: Literal["temporal"] = "temporal"
    weight: NonNegative = 1.0

    def build(self) -> TemporalPenalty:
        """The penalty with this weight."""
        return TemporalPenalty(self.weight)


class TemporalPenalty(Penalty):
    """weight * mean((h[t+1] - h[t])^2) of the last layer before dropout, within the window."""

    def __init__(self, weight: float):
        self.weight = weight

    @override
    def __call__(self, model: nn.Module, hidden: Hidden) -> Tensor:
        """Zero for a window of one step."""
        if hidden.last.shape[1] < 2:
            return torch.zeros((), device=hidden.last.device)
        change = hidden.last[:, 1:] - hidden.last[:, :-1]
        return self.weight * change.float().square().mean()


class StartPenaltyConfig(Config):
    """L2 to the start (L2-SP): keeps weights near those the stage began with; for fine-tuning a run (`init`)."""

    kind: Literal["l2-sp"] = "l2-sp"
    weight: NonNegative = 0.01

    def build(self) -> StartPenalty:
        """The penalty with this weight."""
        return StartPenalty(self.weight)


class StartPenalty(Penalty):
    """weight / 2 * |w - w_0|^2 over all trained parameters, w_0 being those of the first call."""

    def __init__(self, weight: float):
        self.weight = weight
        self.start: dict[str, Tensor] = {}

    @override
    def __call__(self, model: nn.Module, hidden: Hidden) -> Tensor:
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if not self.start:
            self.start = {name: p.detach().clone() for name, p in trained.items()}
        distances = [(p - self.start[name]).square().sum() for name, p in trained.items()]
        return self.weight / 2 * torch.stack(distances).sum()

    @override
    def tensors(self) -> dict[str, Tensor]:
        return self.start

    @override
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        self.start = dict(tensors)


PenaltyChoice = Annotated[ActivationPenaltyConfig | TemporalPenaltyConfig | StartPenaltyConfig, Tagged()]
