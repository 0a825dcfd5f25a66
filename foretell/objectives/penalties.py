"""Regularisers on hidden vectors and parameters; they steer training and enter no reported loss.

Activation and temporal regularisation: Merity, McCann and Socher 2017 (arXiv:1708.01009). As in the authors' code,
both are means of squares (the paper writes norms).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from foretell.config import Config, Tagged
from foretell.types import Hidden


class Penalty(ABC):
    """A function `(model, hidden) -> []`; penalties that only concern parameters ignore `hidden`."""

    @abstractmethod
    def __call__(self, model: nn.Module, hidden: Hidden) -> Tensor:
        """[] already weighted."""


class ActivationPenaltyConfig(Config):
    """Activation regularisation (AR): weight x mean of the squared last layer after dropout."""

    kind: Literal["activation"] = "activation"
    weight: float = 2.0

    def build(self) -> ActivationPenalty:
        """The penalty."""
        return ActivationPenalty(self.weight)


class ActivationPenalty(Penalty):
    """weight * mean(dropped^2)."""

    def __init__(self, weight: float):
        self.weight = weight

    def __call__(self, model: nn.Module, hidden: Hidden) -> Tensor:
        """[]"""
        return self.weight * hidden.dropped.float().square().mean()


class TemporalPenaltyConfig(Config):
    """Temporal activation regularisation (TAR): weight x mean squared change of the last layer from step to step."""

    kind: Literal["temporal"] = "temporal"
    weight: float = 1.0

    def build(self) -> TemporalPenalty:
        """The penalty."""
        return TemporalPenalty(self.weight)


class TemporalPenalty(Penalty):
    """weight * mean((h[t+1] - h[t])^2) of the undropped last layer, inside the window."""

    def __init__(self, weight: float):
        self.weight = weight

    def __call__(self, model: nn.Module, hidden: Hidden) -> Tensor:
        """[]; zero for a window of one step, which has no change"""
        if hidden.last.shape[1] < 2:
            return torch.zeros((), device=hidden.last.device)
        change = hidden.last[:, 1:] - hidden.last[:, :-1]
        return self.weight * change.float().square().mean()


PenaltyChoice = Annotated[ActivationPenaltyConfig | TemporalPenaltyConfig, Tagged()]
