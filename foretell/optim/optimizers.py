"""Optimisers: torch's own and LAMB, built from typed settings.

Averages of the weights are apart from them (`optim.averaging`): averaged SGD is `sgd` with `averaging = "asgd"`.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import nn

from foretell.config import Config, NonNegative, Positive, Rate, Size, Tagged
from foretell.optim.lamb import LAMB, Variant
from foretell.optim.param_groups import Decayed, exempt, groups

Heights = Mapping[nn.Parameter, int]
"""how far below the output parameters lie: see `Objective.layer_depths`"""


def fusible(parameters: Iterable[nn.Parameter]) -> bool:
    """Whether torch has kernels that update these weights in one pass; on a CPU five times as fast as its default."""
    return all(parameter.device.type in ("cpu", "cuda") for parameter in parameters)


class BatchScalingConfig(Config):
    """How the learning rate follows the size of the batch, whether that differs by recipe, by stage or by step."""

    rule: Literal["flat", "square-root", "linear"] = "flat"
    """"linear": the usual one for SGD (arXiv:1706.02677); "square-root": LAMB's (arXiv:1904.00962); "flat": the
    rate stays"""
    rows: Size = 256
    """the batch that `learning_rate` is for"""

    def factor(self, rows: int) -> float:
        """What the rate of a batch of so many rows is multiplied by."""
        return float((rows / self.rows) ** {"flat": 0.0, "square-root": 0.5, "linear": 1.0}[self.rule])


class OptimizerConfig(Config):
    """What all optimisers' settings have in common; abstract."""

    learning_rate: Positive
    batch_scaling: BatchScalingConfig = BatchScalingConfig()
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """a layer's rate is so many times that of the one above; 1: all rates are alike, 0.3846: ULMFiT's 1 / 2.6"""
    layer_decay_gap: Size = 1
    """how many layers the uppermost one is below what is on top; 2 in ELECTRA's code"""
    weight_decay: NonNegative = 0.0
    decay_on: Decayed = "all"
    """what weight decay applies to; "matrices" leaves out biases and norms"""

    @abstractmethod
    def build(self, parameters: Iterable[nn.Parameter], layer_depths: Heights | None = None) -> torch.optim.Optimizer:
        """The optimiser over those parameters."""

    def _groups(self, parameters: Iterable[nn.Parameter], layer_depths: Heights | None) -> list[dict[str, Any]]:
        return groups(
            parameters,
            rate=self.learning_rate,
            decay=self.weight_decay,
            decay_on=self.decay_on,
            layer_decay=self.layer_decay,
            gap=self.layer_decay_gap,
            layer_depths=layer_depths,
        )


class SGDConfig(OptimizerConfig):
    """Stochastic gradient descent, with momentum if wanted."""

    kind: Literal["sgd"] = "sgd"
    learning_rate: Positive = 1.0
    momentum: Rate = 0.0
    nesterov: bool = False
    """look ahead along the momentum, which then has to be above 0"""

    @model_validator(mode="after")
    def _looks_along_something(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov = true needs a momentum above 0, such as momentum = 0.9")
        return self

    def build(self, parameters: Iterable[nn.Parameter], layer_depths: Heights | None = None) -> torch.optim.Optimizer:
        """The optimiser over those parameters."""
        parameters = list(parameters)
        return torch.optim.SGD(
            self._groups(parameters, layer_depths),
            lr=self.learning_rate,
            momentum=self.momentum,
            nesterov=self.nesterov,
            fused=fusible(parameters),
        )


class _AdamConfig(OptimizerConfig):
    learning_rate: Positive = 1e-3
    betas: tuple[Rate, Rate] = (0.9, 0.999)
    epsilon: NonNegative = 1e-8
    amsgrad: bool = False
    """divide by the largest second moment so far instead of the present one (Reddi et al. 2018, arXiv:1904.09237)"""

    def _options(self, parameters: list[nn.Parameter]) -> dict[str, Any]:
        options = {"lr": self.learning_rate, "betas": self.betas, "eps": self.epsilon, "amsgrad": self.amsgrad}
        return options | {"fused": fusible(parameters)}


class AdamConfig(_AdamConfig):
    """Adam (arXiv:1412.6980); weight decay is added to the gradient."""

    kind: Literal["adam"] = "adam"

    def build(self, parameters: Iterable[nn.Parameter], layer_depths: Heights | None = None) -> torch.optim.Optimizer:
        """The optimiser over those parameters."""
        parameters = list(parameters)
        return torch.optim.Adam(self._groups(parameters, layer_depths), **self._options(parameters))


class AdamWConfig(_AdamConfig):
    """Adam with decoupled weight decay (arXiv:1711.05101)."""

    kind: Literal["adamw"] = "adamw"
    weight_decay: NonNegative = 0.01
    decay_on: Decayed = "matrices"
    """what weight decay applies to; "matrices" leaves out biases and norms"""
    bias_correction: bool = True
    """divide both means by what they lack at the start; BERT and ELECTRA did not"""

    def build(self, parameters: Iterable[nn.Parameter], layer_depths: Heights | None = None) -> torch.optim.Optimizer:
        """The optimiser over those parameters."""
        parameters = list(parameters)
        optimizer = torch.optim.AdamW(self._groups(parameters, layer_depths), **self._options(parameters))
        if not self.bias_correction:
            optimizer.register_step_pre_hook(count_from_infinity)
        return optimizer


def count_from_infinity(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Give parameters without a state one after infinitely many steps: 1 - beta ** inf = 1 corrects nothing.

    All else is torch's, its fastest kernels included.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None and not optimizer.state[parameter]:
                place = parameter.device if group["fused"] else None
                means = ["exp_avg", "exp_avg_sq", *["max_exp_avg_sq"] * group["amsgrad"]]
                optimizer.state[parameter] = {
                    "step": torch.full((), math.inf, device=place),
                    **{name: torch.zeros_like(parameter, memory_format=torch.preserve_format) for name in means},
                }


class AdagradConfig(OptimizerConfig):
    """Adagrad (Duchi, Hazan and Singer 2011): each step divided by the root of all squared gradients so far."""

    kind: Literal["adagrad"] = "adagrad"
    learning_rate: Positive = 0.1
    initial: NonNegative = 0.0
    """what the sums of squares start from; above 0 it tames the first steps"""
    epsilon: NonNegative = 1e-10

    def build(self, parameters: Iterable[nn.Parameter], layer_depths: Heights | None = None) -> torch.optim.Optimizer:
        """The optimiser over those parameters."""
        return torch.optim.Adagrad(
            self._groups(parameters, layer_depths),
            lr=self.learning_rate,
            initial_accumulator_value=self.initial,
            eps=self.epsilon,
        )


class AdadeltaConfig(OptimizerConfig):
    """Adadelta (arXiv:1212.5701): steps as large as recent steps were, so that a rate of 1 is right for most."""

    kind: Literal["adadelta"] = "adadelta"
    learning_rate: Positive = 1.0
    rho: Rate = 0.9
    """how much of the running squares stays from step to step"""
    epsilon: NonNegative = 1e-6

    def build(self, parameters: Iterable[nn.Parameter], layer_depths: Heights | None = None) -> torch.optim.Optimizer:
        """The optimiser over those parameters."""
        return torch.optim.Adadelta(
            self._groups(parameters, layer_depths), lr=self.learning_rate, rho=self.rho, eps=self.epsilon
        )


class RMSpropConfig(OptimizerConfig):
    """RMSprop (Tieleman and Hinton 2012): each step divided by the root of a running mean of squared gradients."""

    kind: Literal["rmsprop"] = "rmsprop"
    learning_rate: Positive = 1e-2
    alpha: Rate = 0.99
    """how much of the running squares stays from step to step"""
    momentum: Rate = 0.0
    centered: bool = False
    """divide by the standard deviation of the gradients instead (arXiv:1308.0850, equation 38)"""
    epsilon: NonNegative = 1e-8

    def build(self, parameters: Iterable[nn.Parameter], layer_depths: Heights | None = None) -> torch.optim.Optimizer:
        """The optimiser over those parameters."""
        return torch.optim.RMSprop(
            self._groups(parameters, layer_depths),
            lr=self.learning_rate,
            alpha=self.alpha,
            momentum=self.momentum,
            centered=self.centered,
            eps=self.epsilon,
        )


class LAMBConfig(OptimizerConfig):
    """LAMB (arXiv:1904.00962): Adam with each tensor's step as long as the tensor, for batches of thousands of rows."""

    kind: Literal["lamb"] = "lamb"
    variant: Variant = "paper"
    """whose: they differ in what is done to gradients, in bias correction and epsilon, and in what is left unscaled;
    "apex" and "nvlamb" scale gradients themselves and need no `training.gradient_clip`"""
    learning_rate: Positive = 5e-3
    betas: tuple[Rate, Rate] = (0.9, 0.999)
    epsilon: NonNegative | None = None
    """absent: 1e-6, or its square where it stands inside the root ("nvlamb")"""
    weight_decay: NonNegative = 0.01
    decay_on: Decayed = "matrices"
    """what weight decay applies to; "matrices" leaves out biases and norms"""

    def build(self, parameters: Iterable[nn.Parameter], layer_depths: Heights | None = None) -> torch.optim.Optimizer:
        """The optimiser over those parameters."""
        epsilon = (1e-12 if self.variant == "nvlamb" else 1e-6) if self.epsilon is None else self.epsilon
        made = self._groups(parameters, layer_depths)
        for group in made:
            kept = {"google": exempt(group["params"][0], self.decay_on), "apex": group["weight_decay"] == 0}
            group["scaled"] = not kept.get(self.variant, False)
        return LAMB(made, self.learning_rate, self.betas, epsilon, self.weight_decay, variant=self.variant)


OptimizerChoice = Annotated[
    AdamWConfig | AdamConfig | LAMBConfig | SGDConfig | AdagradConfig | AdadeltaConfig | RMSpropConfig, Tagged()
]
