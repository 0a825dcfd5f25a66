"""Quasi-recurrent layers (Bradbury, Merity, Xiong and Socher 2017, arXiv:1611.01576).

Gates come from a causal convolution over the inputs, so one product computes all time steps; only an elementwise
pooling is recurrent (`kernels.qrnn`). B rows, T steps, I inputs, H hidden, W the window of the convolution.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from typing_extensions import override

from foretell.config import Config, Rate
from foretell.kernels.qrnn import qrnn
from foretell.nn.dropout import keep_mask, weight_drop
from foretell.nn.recurrent.recurrent_layer import Layer, LayerState

Pooling = Literal["f", "fo", "ifo"]
GATES: dict[Pooling, int] = {"f": 2, "fo": 3, "ifo": 4}


class QRNN(Layer):
    """A QRNN layer; its state is the cell c [B, H] and the previous inputs within the window, [B, W - 1, I].

    Parameters: weight [gates * H, W * I], for gates z, f, o, i as far as present and steps of the window from the
    current one back; bias [gates * H]. F is the forget gate: c = F * c + (1 - F) * Z. Zoneout keeps a state with that
    probability in training and uses the expectation in evaluation; weight dropout applies to the whole weight.
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        *,
        window: int = 1,
        pooling: Pooling = "fo",
        tanh: bool = False,
        zoneout: float = 0.0,
        weight_dropout: float = 0.0,
        init_range: float | None = None,
        learned_state: bool = False,
    ):
        super().__init__(inputs, hidden)
        self.steps, self.tanh = window, tanh
        self.zoneout, self.weight_dropout = zoneout, weight_dropout
        rows = GATES[pooling] * hidden
        self.weight = nn.Parameter(torch.empty(rows, window * inputs))
        self.bias = nn.Parameter(torch.empty(rows))
        self.start = nn.Parameter(torch.zeros(hidden)) if learned_state else None
        bound = (window * inputs) ** -0.5 if init_range is None else init_range
        for weight in (self.weight, self.bias):
            nn.init.uniform_(weight, -bound, bound)

    def initial(self, rows: int) -> LayerState:
        """A cell of zeros, or the learned one, and zeros for the inputs before the first."""
        cell = self.weight.new_zeros(rows, self.output) if self.start is None else self.start.expand(rows, -1)
        return cell, self.weight.new_zeros(rows, self.steps - 1, self.inputs)

    @override
    def cell(self, state: LayerState) -> Tensor:
        return state[0]

    @override
    def dropped_weights(self) -> list[Tensor]:
        return [weight_drop(self.weight, self.weight_dropout, self.training), self.bias]

    @override
    def window(self, inputs: Tensor, state: LayerState, weights: list[Tensor]) -> tuple[Tensor, LayerState]:
        cell, tail = state
        x = inputs.transpose(0, 1)  # [T, B, I]; outputs keep this layout for the next layer
        if self.steps > 1:
            x, tail = self._unfold(x, tail)
        outputs, cell = qrnn(x, cell, *weights, zone=self._zone(x, cell), tanh=self.tanh)
        return outputs.transpose(0, 1), (cell, tail)

    def _unfold(self, x: Tensor, tail: Tensor) -> tuple[Tensor, Tensor]:
        """x [T, B, I] and the inputs before it [B, W - 1, I] -> the windows [T, B, W * I] and the last inputs."""
        longer = torch.cat([tail.transpose(0, 1).to(x.dtype), x])  # [W - 1 + T, B, I]
        begins = range(self.steps - 1, -1, -1)
        return torch.cat([longer[begin : begin + len(x)] for begin in begins], -1), longer[len(x) :].transpose(0, 1)

    def _zone(self, x: Tensor, cell: Tensor) -> Tensor | float | None:
        """Share of each state that is kept: 0 or 1 in training [T, B, H], the mean in evaluation."""
        if self.zoneout == 0 or not self.training:
            return self.zoneout or None
        return (keep_mask(cell, (len(x), *cell.shape), self.zoneout) == 0).to(cell.dtype)


class QRNNConfig(Config):
    """Quasi-recurrent network: gates from the inputs alone, with one product for all time steps."""

    kind: Literal["qrnn"] = "qrnn"
    window: Annotated[int, Field(gt=0, le=1024)] = 1
    """number of inputs the gates read: the current one and those before it"""
    pooling: Pooling = "fo"
    """f: forget gate; fo: forget and output gates; ifo: also an input gate"""
    tanh: bool = False
    """tanh of the cell before the output gate"""
    zoneout: Rate = 0.0
    """probability that a unit keeps its state for a step"""
    learned_state: bool = False
    """learn the initial state instead of starting from zeros"""

    @model_validator(mode="after")
    def _has_an_output_gate(self) -> QRNNConfig:
        if self.tanh and self.pooling == "f":
            raise ValueError('tanh needs an output gate: set pooling = "fo" or "ifo", or leave tanh out')
        return self

    def build(self, inputs: int, hidden: int, weight_dropout: float, init_range: float | None) -> QRNN:
        """Build a layer from width `inputs` to width `hidden`."""
        return QRNN(
            inputs,
            hidden,
            window=self.window,
            pooling=self.pooling,
            tanh=self.tanh,
            zoneout=self.zoneout,
            weight_dropout=weight_dropout,
            init_range=init_range,
            learned_state=self.learned_state,
        )
