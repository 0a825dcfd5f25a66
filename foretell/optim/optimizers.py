"""Optimisers: torch's own, built from typed settings.

Averages of the weights are apart from them (`optim.averaging`): averaged SGD is `sgd` with `averaging = "asgd"`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import nn

from foretell.config import Config, Rate, Tagged

Positive = Annotated[float, Field(gt=0)]


def groups(parameters: Iterable[nn.Parameter], weight_decay: float, decayed: str) -> list[dict[str, Any]]:
    """Parameter groups with and without weight decay; `decayed` is "all" or "matrices" (no biases, no norms)."""
    parameters = list(parameters)
    with_decay = [p for p in parameters if decayed == "all" or p.dim() > 1]
    without = [p for p in parameters if not (decayed == "all" or p.dim() > 1)]
    made = [{"params": with_decay, "weight_decay": weight_decay}, {"params": without, "weight_decay": 0.0}]
    return [group for group in made if group["params"]]


def fusible(parameters: Iterable[nn.Parameter]) -> bool:
    """Whether torch has kernels that update these weights in one pass; on a CPU five times as fast as its default."""
    return all(parameter.device.type in ("cpu", "cuda") for parameter in parameters)


class _OptimizerConfig(Config):
    learning_rate: Positive
    weight_decay: float = Field(default=0.0, ge=0)
    decayed: Literal["all", "matrices"] = "all"
    """what weight decay applies to; "matrices" leaves out biases and norms"""

    def _groups(self, parameters: Iterable[nn.Parameter]) -> list[dict[str, Any]]:
        return groups(parameters, self.weight_decay, self.decayed)


class SGDConfig(_OptimizerConfig):
    """Stochastic gradient descent, with momentum if wanted."""

    kind: Literal["sgd"] = "sgd"
    learning_rate: Positive = 1.0
    momentum: float = Field(default=0.0, ge=0)
    nesterov: bool = False
    """look ahead along the momentum, which then has to be above 0"""

    @model_validator(mode="after")
    def _looks_along_something(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov = true needs a momentum above 0, such as momentum = 0.9")
        return self

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimiser over those parameters."""
        parameters = list(parameters)
        return torch.optim.SGD(
            self._groups(parameters),
            lr=self.learning_rate,
            momentum=self.momentum,
            nesterov=self.nesterov,
            fused=fusible(parameters),
        )


class _AdamConfig(_OptimizerConfig):
    learning_rate: Positive = 1e-3
    betas: tuple[Rate, Rate] = (0.9, 0.999)
    epsilon: float = Field(default=1e-8, ge=0)
    amsgrad: bool = False
    """divide by the largest second moment so far instead of the present one (Reddi et al. 2018, arXiv:1904.09237)"""

    def _options(self, parameters: list[nn.Parameter]) -> dict[str, Any]:
        options = {"lr": self.learning_rate, "betas": self.betas, "eps": self.epsilon, "amsgrad": self.amsgrad}
        return options | {"fused": fusible(parameters)}


class AdamConfig(_AdamConfig):
    """Adam (arXiv:1412.6980); weight decay is added to the gradient."""

    kind: Literal["adam"] = "adam"

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimiser over those parameters."""
        parameters = list(parameters)
        return torch.optim.Adam(self._groups(parameters), **self._options(parameters))


class AdamWConfig(_AdamConfig):
    """Adam with decoupled weight decay (arXiv:1711.05101)."""

    kind: Literal["adamw"] = "adamw"
    weight_decay: float = Field(default=0.01, ge=0)
    decayed: Literal["all", "matrices"] = "matrices"
    """what weight decay applies to; "matrices" leaves out biases and norms"""

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimiser over those parameters."""
        parameters = list(parameters)
        return torch.optim.AdamW(self._groups(parameters), **self._options(parameters))


class AdagradConfig(_OptimizerConfig):
    """Adagrad (Duchi, Hazan and Singer 2011): each step divided by the root of all squared gradients so far."""

    kind: Literal["adagrad"] = "adagrad"
    learning_rate: Positive = 0.1
    initial: float = Field(default=0.0, ge=0)
    """what the sums of squares start from; above 0 it tames the first steps"""
    epsilon: float = Field(default=1e-10, ge=0)

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimiser over those parameters."""
        return torch.optim.Adagrad(
            self._groups(parameters), lr=self.learning_rate, initial_accumulator_value=self.initial, eps=self.epsilon
        )


class AdadeltaConfig(_OptimizerConfig):
    """Adadelta (arXiv:1212.5701): steps as large as recent steps were, so that a rate of 1 is right for most."""

    kind: Literal["adadelta"] = "adadelta"
    learning_rate: Positive = 1.0
    rho: Rate = 0.9
    """how much of the running squares stays from step to step"""
    epsilon: float = Field(default=1e-6, ge=0)

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimiser over those parameters."""
        return torch.optim.Adadelta(self._groups(parameters), lr=self.learning_rate, rho=self.rho, eps=self.epsilon)


class RMSpropConfig(_OptimizerConfig):
    """RMSprop (Tieleman and Hinton 2012): each step divided by the root of a running mean of squared gradients."""

    kind: Literal["rmsprop"] = "rmsprop"
    learning_rate: Positive = 1e-2
    alpha: Rate = 0.99
    """how much of the running squares stays from step to step"""
    momentum: float = Field(default=0.0, ge=0)
    centered: bool = False
    """divide by the standard deviation of the gradients instead (arXiv:1308.0850, equation 38)"""
    epsilon: float = Field(default=1e-8, ge=0)

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimiser over those parameters."""
        return torch.optim.RMSprop(
            self._groups(parameters),
            lr=self.learning_rate,
            alpha=self.alpha,
            momentum=self.momentum,
            centered=self.centered,
            eps=self.epsilon,
        )


OptimizerChoice = Annotated[
    AdamWConfig | AdamConfig | SGDConfig | AdagradConfig | AdadeltaConfig | RMSpropConfig, Tagged()
]
