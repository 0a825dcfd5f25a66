"""Optimisers: torch's and LAMB, built from typed settings.

Averages of the weights are separate (`optim.averaging`): averaged SGD is `sgd` with `averaging = "asgd"`.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import nn

from foretell.config import Config, NonNegative, Positive, Rate, Size, Tagged
from foretell.optim.lamb import LAMB, Variant
from foretell.optim.muon import Muon
from foretell.optim.param_groups import Decayed, LayerDepths, exempt, param_groups

Parameters = Iterable[nn.Parameter]


def fusible(parameters: Parameters) -> bool:
    """Whether torch has fused kernels for the weights; on a CPU these are five times as fast as its default."""
    return all(parameter.device.type in ("cpu", "cuda") for parameter in parameters)


class BatchScalingConfig(Config):
    """Scaling of the learning rate with the batch size, which may differ by recipe, stage or step."""

    rule: Literal["flat", "square-root", "linear"] = "flat"
    """"linear": the usual one for SGD (arXiv:1706.02677); "square-root": LAMB's (arXiv:1904.00962); "flat": the
    rate stays"""
    rows: Size = 256
    """the batch size that `learning_rate` is for"""

    def factor(self, rows: int) -> float:
        """Factor on the learning rate for a batch of `rows`."""
        return float((rows / self.rows) ** {"flat": 0.0, "square-root": 0.5, "linear": 1.0}[self.rule])


class OptimizerConfig(Config):
    """Settings of all optimisers; abstract."""

    learning_rate: Positive
    batch_scaling: BatchScalingConfig = BatchScalingConfig()
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """ratio of a layer's learning rate to that of the layer above; 1: no decay, 0.3846: ULMFiT's 1 / 2.6"""
    layer_decay_gap: Size = 1
    """depth of the top layer below the output layers; 2 in ELECTRA's code"""
    weight_decay: NonNegative = 0.0
    decay_on: Decayed = "all"
    """parameters with weight decay; "matrices" excludes biases and norms"""

    @abstractmethod
    def build(self, parameters: Parameters, layer_depths: LayerDepths | None = None) -> torch.optim.Optimizer:
        """Build the optimiser over the parameters."""

    def _groups(
        self, parameters: Parameters, layer_depths: LayerDepths | None, rate: float | None = None
    ) -> list[dict[str, Any]]:
        return param_groups(
            parameters,
            rate=rate or self.learning_rate,
            decay=self.weight_decay,
            decay_on=self.decay_on,
            layer_decay=self.layer_decay,
            gap=self.layer_decay_gap,
            layer_depths=layer_depths,
        )


class SGDConfig(OptimizerConfig):
    """Stochastic gradient descent, with optional momentum."""

    kind: Literal["sgd"] = "sgd"
    learning_rate: Positive = 1.0
    momentum: Rate = 0.0
    nesterov: bool = False
    """Nesterov momentum; needs `momentum` above 0"""

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov = true needs a momentum above 0, such as momentum = 0.9")
        return self

    def build(self, parameters: Parameters, layer_depths: LayerDepths | None = None) -> torch.optim.Optimizer:
        """Build the optimiser over the parameters."""
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
    """divide by the largest second moment so far instead of the current one (Reddi et al. 2018, arXiv:1904.09237)"""

    def _options(self, parameters: list[nn.Parameter]) -> dict[str, Any]:
        options = {"lr": self.learning_rate, "betas": self.betas, "eps": self.epsilon, "amsgrad": self.amsgrad}
        return options | {"fused": fusible(parameters)}


class AdamConfig(_AdamConfig):
    """Adam (arXiv:1412.6980); weight decay is added to the gradient."""

    kind: Literal["adam"] = "adam"

    def build(self, parameters: Parameters, layer_depths: LayerDepths | None = None) -> torch.optim.Optimizer:
        """Build the optimiser over the parameters."""
        parameters = list(parameters)
        return torch.optim.Adam(self._groups(parameters, layer_depths), **self._options(parameters))


class AdamWConfig(_AdamConfig):
    """Adam with decoupled weight decay (arXiv:1711.05101)."""

    kind: Literal["adamw"] = "adamw"
    weight_decay: NonNegative = 0.01
    decay_on: Decayed = "matrices"
    """parameters with weight decay; "matrices" excludes biases and norms"""
    bias_correction: bool = True
    """correct the bias of both means towards zero; BERT and ELECTRA did not"""

    def build(self, parameters: Parameters, layer_depths: LayerDepths | None = None) -> torch.optim.Optimizer:
        """Build the optimiser over the parameters."""
        parameters = list(parameters)
        optimizer = torch.optim.AdamW(self._groups(parameters, layer_depths), **self._options(parameters))
        if not self.bias_correction:
            optimizer.register_step_pre_hook(count_from_infinity)
        return optimizer


def count_from_infinity(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Initialise the state of parameters as after infinitely many steps: 1 - beta ** inf = 1 corrects nothing.

    Everything else is torch's, including its fused kernels.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None and not optimizer.state[parameter]:
                device = parameter.device if group["fused"] else None
                means = ["exp_avg", "exp_avg_sq", *["max_exp_avg_sq"] * group["amsgrad"]]
                optimizer.state[parameter] = {
                    "step": torch.full((), math.inf, device=device),
                    **{name: torch.zeros_like(parameter, memory_format=torch.preserve_format) for name in means},
                }


class AdagradConfig(OptimizerConfig):
    """Adagrad (Duchi, Hazan and Singer 2011): steps divided by the root of the sum of squared gradients."""

    kind: Literal["adagrad"] = "adagrad"
    learning_rate: Positive = 0.1
    initial: NonNegative = 0.0
    """initial value of the sums of squares; above 0 it reduces the first steps"""
    epsilon: NonNegative = 1e-10

    def build(self, parameters: Parameters, layer_depths: LayerDepths | None = None) -> torch.optim.Optimizer:
        """Build the optimiser over the parameters."""
        return torch.optim.Adagrad(
            self._groups(parameters, layer_depths),
            lr=self.learning_rate,
            initial_accumulator_value=self.initial,
            eps=self.epsilon,
        )


class AdadeltaConfig(OptimizerConfig):
    """Adadelta (arXiv:1212.5701): steps scaled to recent steps, so that a learning rate of 1 usually fits."""

    kind: Literal["adadelta"] = "adadelta"
    learning_rate: Positive = 1.0
    rho: Rate = 0.9
    """decay of the running mean of squares"""
    epsilon: NonNegative = 1e-6

    def build(self, parameters: Parameters, layer_depths: LayerDepths | None = None) -> torch.optim.Optimizer:
        """Build the optimiser over the parameters."""
        return torch.optim.Adadelta(
            self._groups(parameters, layer_depths), lr=self.learning_rate, rho=self.rho, eps=self.epsilon
        )


class RMSpropConfig(OptimizerConfig):
    """RMSprop (Tieleman and Hinton 2012): steps divided by the root of a running mean of squared gradients."""

    kind: Literal["rmsprop"] = "rmsprop"
    learning_rate: Positive = 1e-2
    alpha: Rate = 0.99
    """decay of the running mean of squares"""
    momentum: Rate = 0.0
    centered: bool = False
    """divide by the standard deviation of the gradients instead (arXiv:1308.0850, equation 38)"""
    epsilon: NonNegative = 1e-8

    def build(self, parameters: Parameters, layer_depths: LayerDepths | None = None) -> torch.optim.Optimizer:
        """Build the optimiser over the parameters."""
        return torch.optim.RMSprop(
            self._groups(parameters, layer_depths),
            lr=self.learning_rate,
            alpha=self.alpha,
            momentum=self.momentum,
            centered=self.centered,
            eps=self.epsilon,
        )


class LAMBConfig(OptimizerConfig):
    """LAMB (arXiv:1904.00962): Adam with steps scaled to each tensor's norm, for batches of thousands of rows."""

    kind: Literal["lamb"] = "lamb"
    variant: Variant = "paper"
    """published variant: they differ in gradient scaling, bias correction, epsilon and which parameters are unscaled;
    "apex" and "nvlamb" scale gradients themselves and need no `training.gradient_clip`"""
    learning_rate: Positive = 5e-3
    betas: tuple[Rate, Rate] = (0.9, 0.999)
    epsilon: NonNegative | None = None
    """absent: 1e-6, or its square inside the root ("nvlamb")"""
    weight_decay: NonNegative = 0.01
    decay_on: Decayed = "matrices"
    """parameters with weight decay; "matrices" excludes biases and norms"""

    def build(self, parameters: Parameters, layer_depths: LayerDepths | None = None) -> torch.optim.Optimizer:
        """Build the optimiser over the parameters."""
        epsilon = (1e-12 if self.variant == "nvlamb" else 1e-6) if self.epsilon is None else self.epsilon
        groups = self._groups(parameters, layer_depths)
        for group in groups:
            unscaled = {"google": exempt(group["params"][0], self.decay_on), "apex": group["weight_decay"] == 0}
            group["scaled"] = not unscaled.get(self.variant, False)
        return LAMB(groups, self.learning_rate, self.betas, epsilon, self.weight_decay, variant=self.variant)


class MuonConfig(_AdamConfig):
    """Muon (Jordan et al. 2024): orthogonal steps for the matrices in the model's blocks, AdamW for the rest."""

    kind: Literal["muon"] = "muon"
    learning_rate: Positive = 0.02
    """of the matrices in blocks, whose steps have singular values of about this size"""
    adamw_learning_rate: Positive = 3e-3
    """of the rest: embeddings, output layers, biases and norms"""
    momentum: Rate = 0.95
    weight_decay: NonNegative = 0.0
    cautious: bool = False
    """decay matrices in blocks only where the step makes their weights smaller (arXiv:2510.12402)"""
    decay_on: Decayed = "matrices"
    """parameters with weight decay; "matrices" excludes biases and norms"""

    def build(self, parameters: Parameters, layer_depths: LayerDepths | None = None) -> torch.optim.Optimizer:
        """Build the optimiser over the parameters; without depths all matrices take orthogonal steps."""
        parameters = list(parameters)
        matrices: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for parameter in parameters:
            inside = parameter.dim() > 1 and (layer_depths is None or parameter in layer_depths.in_blocks)
            (matrices if inside else others).append(parameter)
        groups = [
            *({**group, "orthogonal": True} for group in self._groups(matrices, layer_depths)),
            *self._groups(others, layer_depths, self.adamw_learning_rate),
        ]
        return Muon(groups, momentum=self.momentum, cautious=self.cautious, **self._options(parameters))


OptimizerChoice = Annotated[
    AdamWConfig | AdamConfig | MuonConfig | LAMBConfig | SGDConfig | AdagradConfig | AdadeltaConfig | RMSpropConfig,
    Tagged(),
]
