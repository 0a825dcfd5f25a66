"""Regularisers on hidden vectors and parameters; they steer training and enter no reported loss.

Activation and temporal regularisation: Merity, McCann and Socher 2017 (arXiv:1708.01009). As in the authors' code,
both are means of squares (the paper writes norms). L2-SP: Li, Grandvalet and Davoine 2018 (arXiv:1802.01483).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from foretell.config import Config, NonNegative, Tagged
from foretell.types import Hidden


class Penalty(ABC):
    """A function `(model, hidden) -> []`; penalties that only concern parameters ignore `hidden`."""

    @abstractmethod
    def __call__(self, model: nn.Module, hidden: Hidden) -> Tensor:
        """[] already weighted."""

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint has to keep of it, by names of its own."""
        return {}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of `tensors`."""
        if tensors:
            raise ValueError(f"{type(self).__name__} keeps nothing")


class ActivationPenaltyConfig(Config):
    """Activation regularisation (AR): weight x mean of the squared last layer after dropout."""

    kind: Literal["activation"] = "activation"
    weight: NonNegative = 2.0

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
    weight: NonNegative = 1.0

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


class StartPenaltyConfig(Config):
    """L2 to the start (L2-SP): keeps weights near those that the stage began with; for going on from a run (`init`)."""

    kind: Literal["l2-sp"] = "l2-sp"
    weight: NonNegative = 0.01

    def build(self) -> StartPenalty:
        """The penalty."""
        return StartPenalty(self.weight)


class StartPenalty(Penalty):
    """weight / 2 * |w - w_0|^2 over all trained parameters, with w_0 as they were at the first call."""

    def __init__(self, weight: float):
        self.weight = weight
        self.start: dict[str, Tensor] = {}

    def __call__(self, model: nn.Module, hidden: Hidden) -> Tensor:
        """[]"""
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if not self.start:
            self.start = {name: p.detach().clone() for name, p in trained.items()}
        distances = [(p - self.start[name]).square().sum() for name, p in trained.items()]
        return self.weight / 2 * torch.stack(distances).sum()

    def tensors(self) -> dict[str, Tensor]:
        """See `Penalty.tensors`."""
        return self.start

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """See `Penalty.load`."""
        self.start = dict(tensors)


PenaltyChoice = Annotated[ActivationPenaltyConfig | TemporalPenaltyConfig | StartPenaltyConfig, Tagged()]
