"""Base of gated recurrent layers: weights, dropout of weights and states, and a per-step path in Python.

A layer has a fast `kernel` for all steps and a readable `step` for what no fused kernel supports: layer normalisation,
and dropout or zoneout between steps.

Sources: Wan et al. 2013 (DropConnect); Gal and Ghahramani 2016 (arXiv:1512.05287); Semeniuta et al. 2016
(arXiv:1603.05118); Krueger et al. 2016 (zoneout, arXiv:1606.01305); Ba et al. 2016 (layer normalisation,
arXiv:1607.06450).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import repeat
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from foretell.config import Config, Rate
from foretell.nn.dropout import keep_mask, weight_drop
from foretell.nn.recurrent.recurrent_layer import Layer, LayerState


class WeightDropConfig(Config):
    """Dropout of weights inside a layer, in addition to `model.dropout.weight`."""

    input_weight: Rate = 0.0
    """input weights (DropConnect), one mask per window"""
    rows: bool = False
    """drop whole rows of weights, hence the whole input of a gate of a unit, instead of single weights"""

    def complete(self) -> MemoryDropoutConfig:
        """The settings of all kinds of dropout, zero where a layer does not support one."""
        return MemoryDropoutConfig.model_validate(self.model_dump())


class StepDropoutConfig(WeightDropConfig):
    """Dropout inside a layer; anything beyond weights needs the slower per-step path."""

    state: Rate = 0.0
    """recurrent outputs, one mask for all steps of a row (Gal and Ghahramani 2016, together with
    `model.dropout.locked` for inputs)"""
    update: Rate = 0.0
    """updates of the state, never the state itself (Semeniuta et al. 2016)"""
    zoneout: Rate = 0.0
    """outputs that keep their previous value; evaluation uses the mean (arXiv:1606.01305)"""


class MemoryDropoutConfig(StepDropoutConfig):
    """Dropout inside a layer with memory cells."""

    zoneout_cell: Rate = 0.0
    """cells that keep their previous value; evaluation uses the mean"""


class GatedLayer(Layer):
    """A layer whose kernel takes weights, possibly after dropout, as plain tensors; abstract.

    Parameters: weight_ih [gates * H, I], weight_hh [gates * H, output], bias_ih and bias_hh [gates * H]; `start`, the
    concatenated parts of a learned state; gains of layer normalisation, whose shifts are the biases.
    """

    gates: ClassVar[int]
    groups: ClassVar[tuple[int, ...]]
    """number of gates normalised together, for each group"""

    def __init__(
        self,
        inputs: int,
        hidden: int,
        *,
        output: int | None = None,
        weight_dropout: float = 0.0,
        init_range: float | None = None,
        learned_state: bool = False,
        layer_norm: bool = False,
        dropout: MemoryDropoutConfig | None = None,
    ):
        super().__init__(inputs, output or hidden)
        self.hidden, self.weight_dropout, self.layer_norm = hidden, weight_dropout, layer_norm
        self.dropout = dropout or MemoryDropoutConfig()
        self.bound = 1 / math.sqrt(hidden) if init_range is None else init_range
        self.weight_ih = self.uniform(self.gates * hidden, inputs)
        self.weight_hh = self.uniform(self.gates * hidden, self.output)
        self.add_biases()
        self.start = nn.Parameter(torch.zeros(sum(self.widths()))) if learned_state else None
        self.norm_ih, self.norm_hh = self.norms(), self.norms()

    def uniform(self, *shape: int) -> nn.Parameter:
        """A parameter of that shape, uniform in +- bound."""
        return nn.Parameter(torch.empty(shape).uniform_(-self.bound, self.bound))

    def add_biases(self) -> None:
        """Create the bias parameters."""
        self.bias_ih, self.bias_hh = self.uniform(self.gates * self.hidden), self.uniform(self.gates * self.hidden)

    def biases(self) -> list[Tensor]:
        """The biases, those of inputs first."""
        return [self.bias_ih, self.bias_hh]

    def norms(self) -> nn.ModuleList:
        """A norm per group of gates."""
        if not self.layer_norm:
            return nn.ModuleList(nn.Identity() for _ in self.groups)
        return nn.ModuleList(nn.LayerNorm(size * self.hidden, bias=False) for size in self.groups)

    def widths(self) -> tuple[int, ...]:
        """Widths of the state's tensors; the first is the previous output."""
        return (self.output,)

    def initial(self, rows: int) -> LayerState:
        """The state before the first token: zeros, or the learned one."""
        if self.start is None:
            return tuple(self.weight_hh.new_zeros(rows, width) for width in self.widths())
        return tuple(self.start.expand(rows, -1).split(list(self.widths()), 1))

    @override
    def dropped_weights(self) -> list[Tensor]:
        """The tensors are weight_ih, weight_hh and the biases."""
        weight_ih, weight_hh = self.raw_weights()
        by_rows = self.dropout.rows
        weight_ih = weight_drop(weight_ih, self.dropout.input_weight, self.training, by_rows)
        weight_hh = weight_drop(weight_hh, self.weight_dropout, self.training, by_rows)
        return autocast_weights(weight_ih, weight_hh, *self.biases())

    def raw_weights(self) -> tuple[Tensor, Tensor]:
        """weight_ih and weight_hh before dropout."""
        return self.weight_ih, self.weight_hh

    @override
    def forward(self, inputs: Tensor, state: LayerState, lengths: Tensor | None = None) -> tuple[Tensor, LayerState]:
        """The dropout mask of a row is part of its state here, so that it is sorted and cut with it."""
        if not self.training or self.dropout.state == 0:
            return super().forward(inputs, state, lengths)
        mask = keep_mask(inputs, (len(inputs), self.output), self.dropout.state)
        outputs, after = super().forward(inputs, (*state, mask), lengths)
        return outputs, after[: len(state)]

    @override
    def window(self, inputs: Tensor, state: LayerState, weights: list[Tensor]) -> tuple[Tensor, LayerState]:
        return (self.steps if self.stepwise else self.kernel)(inputs, state, weights)

    @property
    def stepwise(self) -> bool:
        """Whether the settings need the per-step path."""
        drop = self.dropout
        always = self.layer_norm or drop.zoneout > 0 or drop.zoneout_cell > 0
        return always or (self.training and (drop.state > 0 or drop.update > 0))

    def kernel(self, inputs: Tensor, state: LayerState, weights: list[Tensor]) -> tuple[Tensor, LayerState]:
        """All steps at once: inputs [B, T, I], state -> outputs [B, T, H], state."""
        raise NotImplementedError

    # --- step by step -----------------------------------------------------------------------------

    def steps(self, inputs: Tensor, state: LayerState, weights: list[Tensor]) -> tuple[Tensor, LayerState]:
        """Like `kernel`, step by step; only what depends on the previous step is in the loop."""
        count = len(self.widths())
        before, mask = state[:count], state[count] if len(state) > count else 1.0
        ready = [part.unbind(1) for part in self.from_inputs(inputs, weights)]  # each [B, ...] at each step
        own = self.for_steps(weights)
        outputs = []
        for x, update, stay in zip(zip(*ready, strict=True), self.updates(inputs), self.stays(inputs), strict=False):
            after = self.step(x, before[0] * mask, before, own, update)
            before = tuple(map(zoneout, before, after, stay))
            outputs.append(before[0])
        return torch.stack(outputs, 1), (*before, *state[count:])

    def from_inputs(self, inputs: Tensor, weights: list[Tensor]) -> list[Tensor]:
        """inputs [B, T, I] -> their part of each group of gates [B, T, group * H]."""
        sizes = [size * self.hidden for size in self.groups]
        products = F.linear(inputs, weights[0]).split(sizes, -1)
        shifts = weights[2].split(sizes)
        return [norm(x) + shift for norm, x, shift in zip(self.norm_ih, products, shifts, strict=True)]

    def for_steps(self, weights: list[Tensor]) -> list[Tensor]:
        """The weights as `step` takes them, split once per window."""
        return weights

    def step(
        self, x: tuple[Tensor, ...], fed: Tensor, state: LayerState, weights: list[Tensor], update: Tensor | float
    ) -> LayerState:
        """One step: x of `from_inputs`, `fed` [B, output] the previous output after dropout, a mask for the update."""
        raise NotImplementedError

    def updates(self, inputs: Tensor) -> Iterator[Tensor | float]:
        """The update mask [B, H] of each step."""
        if not self.training or self.dropout.update == 0:
            return repeat(1.0)
        rows, steps, _ = inputs.shape
        return iter(keep_mask(inputs, (rows, steps, self.hidden), self.dropout.update).unbind(1))

    def stays(self, inputs: Tensor) -> Iterator[tuple[Tensor | float, ...]]:
        """Zoneout per step and tensor of the state: bool [B, width], or a rate in evaluation."""
        rates = (self.dropout.zoneout, self.dropout.zoneout_cell)[: len(self.widths())]
        rows, steps, _ = inputs.shape
        return zip(
            *(
                (keep_mask(inputs, (rows, steps, width), rate) == 0).unbind(1)
                if self.training and rate > 0
                else repeat(rate)
                for rate, width in zip(rates, self.widths(), strict=True)
            ),
            strict=False,
        )


def zoneout(before: Tensor, after: Tensor, stay: Tensor | float) -> Tensor:
    """`before` where `stay` is true; the expectation if it is a rate."""
    if isinstance(stay, Tensor):
        return torch.where(stay, before, after)
    return after if stay == 0 else after + stay * (before - after)


def autocast_weights(*tensors: Tensor) -> list[Tensor]:
    """Cast to autocast's dtype where it is enabled, as it does not cover the fused kernels."""
    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device):
        return list(tensors)
    return [tensor.to(torch.get_autocast_dtype(device)) for tensor in tensors]


class CellConfig(Config):
    """Base of the settings of gated layers."""

    learned_state: bool = False
    """learn the initial state instead of starting from zeros"""
    dropout: WeightDropConfig = WeightDropConfig()
    """dropout inside the layer"""

    def shared(self, weight_dropout: float, init_range: float | None) -> dict[str, Any]:
        """Arguments of the layer shared by all kinds."""
        return {
            "weight_dropout": weight_dropout,
            "init_range": init_range,
            "learned_state": self.learned_state,
            "dropout": self.dropout.complete(),
        }
