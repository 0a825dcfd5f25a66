"""Quasi-recurrent layers (Bradbury, Merity, Xiong and Socher 2017, arXiv:1611.01576).

Gates come from a causal convolution over the inputs alone, so they are one product for all time steps; only an
elementwise pooling is recurrent (`kernels.qrnn`). B rows, T steps, I inputs, H hidden, W the window of the convolution.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from foretell.config import Config, Rate
from foretell.kernels.qrnn import qrnn
from foretell.nn.dropout import keep_mask, weight_drop
from foretell.nn.recurrent.recurrent_layer import Layer, LayerState

Pooling = Literal["f", "fo", "ifo"]
GATES: dict[Pooling, int] = {"f": 2, "fo": 3, "ifo": 4}


class QRNN(Layer):
    """One layer; its state is the cell c [B, H] and the inputs that the window still reaches, [B, W - 1, I].

    Parameters: weight [gates * H, W * I], gates z, f, o, i as far as there are, steps of the window from this one
    back; bias [gates * H]. F is the forget gate: c = F * c + (1 - F) * Z. Zoneout keeps a state with that probability
    in training and mixes by the expectation in evaluation; weight dropout is of the whole weight.
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
        """A cell of zeros, or the learned one, and inputs of zeros before the first."""
        cell = self.weight.new_zeros(rows, self.output) if self.start is None else self.start.expand(rows, -1)
        return cell, self.weight.new_zeros(rows, self.steps - 1, self.inputs)

    def cell(self, state: LayerState) -> Tensor:
        """See `Layer.cell`."""
        return state[0]

    def dropped_weights(self) -> list[Tensor]:
        """See `Layer.dropped_weights`."""
        return [weight_drop(self.weight, self.weight_dropout, self.training), self.bias]

    def window(self, inputs: Tensor, state: LayerState, weights: list[Tensor]) -> tuple[Tensor, LayerState]:
        """See `Layer.window`."""
        cell, tail = state
        x = inputs.transpose(0, 1)  # [T, B, I]; outputs go to the next layer laid out like this
        if self.steps > 1:
            x, tail = self._reach(x, tail)
        outputs, cell = qrnn(x, cell, *weights, zone=self._zone(x, cell), tanh=self.tanh)
        return outputs.transpose(0, 1), (cell, tail)

    def _reach(self, x: Tensor, tail: Tensor) -> tuple[Tensor, Tensor]:
        """x [T, B, I] and the inputs before it [B, W - 1, I] -> what each step reads [T, B, W * I], the last inputs."""
        longer = torch.cat([tail.transpose(0, 1).to(x.dtype), x])  # [W - 1 + T, B, I]
        begins = range(self.steps - 1, -1, -1)
        return torch.cat([longer[begin : begin + len(x)] for begin in begins], -1), longer[len(x) :].transpose(0, 1)

    def _zone(self, x: Tensor, cell: Tensor) -> Tensor | float | None:
        """How much of each state stays: 0 or 1 in training [T, B, H], the mean in evaluation."""
        if self.zoneout == 0 or not self.training:
            return self.zoneout or None
        return (keep_mask(cell, (len(x), *cell.shape), self.zoneout) == 0).to(cell.dtype)


class QRNNConfig(Config):
    """Quasi-recurrent network: gates from the inputs alone, one product for all time steps."""

    kind: Literal["qrnn"] = "qrnn"
    window: Annotated[int, Field(gt=0, le=1024)] = 1
    """how many inputs, this one and those before, the gates see"""
    pooling: Pooling = "fo"
    """f: forget gate; fo: and output gate; ifo: and an input gate of its own"""
    tanh: bool = False
    """tanh of the cell before the output gate"""
    zoneout: Rate = 0.0
    """probability that a unit keeps its state for a step"""
    learned_state: bool = False
    """learn the state before the first word instead of starting from zeros"""

    @model_validator(mode="after")
    def _has_an_output_gate(self) -> QRNNConfig:
        if self.tanh and self.pooling == "f":
            raise ValueError('tanh belongs to an output gate: write pooling = "fo" or "ifo", or leave tanh out')
        return self

    def build(self, inputs: int, hidden: int, weight_dropout: float, init_range: float | None) -> QRNN:
        """A layer from width `inputs` to width `hidden`."""
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
