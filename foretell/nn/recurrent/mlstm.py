"""The multiplicative LSTM (Krause et al. 2016, arXiv:1609.07959): recurrent weights depend on the input.

Weight normalisation, w = g v / |v| per row of a weight (Salimans and Kingma 2016, arXiv:1602.07868), is as in Radford
et al. 2017 (arXiv:1704.01444).
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from foretell.kernels import mlstm as kernels
from foretell.nn.recurrent.gated import CellConfig, GatedLayer, MemoryDropoutConfig, autocast_weights
from foretell.nn.recurrent.recurrent_layer import LayerState


class MLSTM(GatedLayer):
    """Parameters: weight_ih [5H, I], W_x on W_mx; weight_hh [5H, H], W_m on W_mh; `bias` [4H] of the gates i, f, g, o.

    With weight normalisation both weights are directions, and gain_ih and gain_hh [5H] the lengths of their rows.
    """

    gates, groups = 5, (4, 1)

    def __init__(self, inputs: int, hidden: int, *, weight_norm: bool = False, **settings: Any):
        super().__init__(inputs, hidden, **settings)
        self.weight_norm = weight_norm
        if weight_norm:
            self.gain_ih = nn.Parameter(self.weight_ih.detach().norm(dim=1))
            self.gain_hh = nn.Parameter(self.weight_hh.detach().norm(dim=1))
        self.norm_cell = nn.LayerNorm(hidden) if self.layer_norm else nn.Identity()

    def add_biases(self) -> None:
        """A bias for the gates, none for m."""
        self.bias = self.uniform(4 * self.hidden)

    @override
    def biases(self) -> list[Tensor]:
        return [self.bias]

    @override
    def widths(self) -> tuple[int, ...]:
        return self.output, self.hidden

    @override
    def cell(self, state: LayerState) -> Tensor:
        return state[1]

    @override
    def raw_weights(self) -> tuple[Tensor, Tensor]:
        if not self.weight_norm:
            return self.weight_ih, self.weight_hh
        return normalised(self.weight_ih, self.gain_ih), normalised(self.weight_hh, self.gain_hh)

    @property
    @override
    def stepwise(self) -> bool:
        """True under torch's compiler too."""
        return super().stepwise or torch.compiler.is_compiling()

    @override
    def kernel(self, inputs: Tensor, state: LayerState, weights: list[Tensor]) -> tuple[Tensor, LayerState]:
        inputs, h = autocast_weights(inputs, state[0])  # the cell, a sum of many small parts, keeps its precision
        outputs, h, c = kernels.mlstm(inputs.transpose(0, 1), h, state[1], *weights)
        return outputs.transpose(0, 1), (h, c)

    @override
    def from_inputs(self, inputs: Tensor, weights: list[Tensor]) -> list[Tensor]:
        sizes = [4 * self.hidden, self.hidden]
        gates, factor = F.linear(inputs, weights[0]).split(sizes, -1)
        gates_norm, factor_norm = self.norm_ih
        return [gates_norm(gates) + weights[2], factor_norm(factor)]

    def for_steps(self, weights: list[Tensor]) -> list[Tensor]:
        """W_m and W_mh, split once per window."""
        return list(weights[1].split([4 * self.hidden, self.hidden]))

    @override
    def step(
        self, x: tuple[Tensor, ...], fed: Tensor, state: LayerState, weights: list[Tensor], update: Tensor | float
    ) -> LayerState:
        w_m, w_mh = weights
        gates_norm, factor_norm = self.norm_hh
        m = x[1] * factor_norm(F.linear(fed, w_mh))  # [B, H]
        i, f, g, o = (x[0] + gates_norm(F.linear(m, w_m))).chunk(4, 1)  # [B, H] each
        c = f.sigmoid() * state[1] + i.sigmoid() * (update * g.tanh())
        h: Tensor = o.sigmoid() * torch.tanh(self.norm_cell(c))
        return h, c


def normalised(direction: Tensor, gain: Tensor) -> Tensor:
    """Rows of `direction` [N, K] scaled to the lengths `gain` [N]."""
    lengths: Tensor = torch.linalg.vector_norm(direction, dim=1)
    return direction * (gain / lengths)[:, None]


class MLSTMConfig(CellConfig):
    """Multiplicative LSTM: recurrent weights depend on the input."""

    kind: Literal["mlstm"] = "mlstm"
    weight_norm: bool = False
    """learn length and direction of each weight row separately (arXiv:1602.07868)"""
    layer_norm: bool = False
    """normalise the inputs of m and the gates, and the cell (Ba et al. 2016); needs the slower per-step path"""
    dropout: MemoryDropoutConfig = MemoryDropoutConfig()
    """dropout inside the layer"""

    def build(self, inputs: int, hidden: int, weight_dropout: float, init_range: float | None) -> MLSTM:
        """Build a layer from width `inputs` to width `hidden`."""
        settings = self.shared(weight_dropout, init_range)
        return MLSTM(inputs, hidden, weight_norm=self.weight_norm, layer_norm=self.layer_norm, **settings)
