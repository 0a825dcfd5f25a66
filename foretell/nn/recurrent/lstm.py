"""RNN, GRU and LSTM layers over the library's fused kernels (oneDNN on CPU, cuDNN on CUDA).

Large LSTMs use our own kernel on a CPU (`kernels.lstm`). Gate order is PyTorch's and cuDNN's: LSTM i, f, g, o;
GRU r, z, n (Hochreiter and Schmidhuber 1997; Gers et al. 2000; Cho et al. 2014, arXiv:1406.1078). Layer normalisation
is that of Ba et al. 2016 (arXiv:1607.06450), the projection that of Sak et al. 2014 (arXiv:1402.1128).
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from foretell.config import Real, Width
from foretell.kernels import lstm as kernels
from foretell.nn.recurrent.gated import CellConfig, GatedLayer, MemoryDropoutConfig, StepDropoutConfig, autocast_weights
from foretell.nn.recurrent.recurrent_layer import LayerState


class FusedLayer(GatedLayer):
    """A layer around a kernel of the library.

    The kernel's `train` only says whether a backward pass may follow, which cuDNN needs; it has no dropout.
    """

    @override
    def dropped_weights(self) -> list[Tensor]:
        """On CUDA the weights are views of one buffer."""
        weights = super().dropped_weights()
        return packed(weights) if weights[0].device.type == "cuda" and not self.stepwise else weights


class RNN(FusedLayer):
    """The simple recurrent network of Elman 1990, with tanh."""

    gates, groups = 1, (1,)

    @override
    def kernel(self, inputs: Tensor, state: LayerState, weights: list[Tensor]) -> tuple[Tensor, LayerState]:
        inputs, h = autocast_weights(inputs, *state)
        outputs, h = torch.rnn_tanh(inputs, h[None], weights, True, 1, 0.0, torch.is_grad_enabled(), False, True)
        return outputs, (h[0],)


class GRU(FusedLayer):
    """Gated recurrent unit; the reset gate acts after the recurrent product, with its own bias, or before it."""

    gates, groups = 3, (2, 1)

    def __init__(self, inputs: int, hidden: int, *, reset: Literal["after", "before"] = "after", **settings: Any):
        super().__init__(inputs, hidden, **settings)
        self.reset = reset

    @property
    @override
    def stepwise(self) -> bool:
        return super().stepwise or self.reset == "before"

    @override
    def kernel(self, inputs: Tensor, state: LayerState, weights: list[Tensor]) -> tuple[Tensor, LayerState]:
        inputs, h = autocast_weights(inputs, *state)
        outputs, h = torch.gru(inputs, h[None], weights, True, 1, 0.0, torch.is_grad_enabled(), False, True)
        return outputs, (h[0],)

    def for_steps(self, weights: list[Tensor]) -> list[Tensor]:
        """Weights and biases of the two gates, then of the candidate."""
        sizes = [2 * self.hidden, self.hidden]
        return [*weights[1].split(sizes), *weights[3].split(sizes)]

    @override
    def step(
        self, x: tuple[Tensor, ...], fed: Tensor, state: LayerState, weights: list[Tensor], update: Tensor | float
    ) -> LayerState:
        of_gates, of_candidate, gates_shift, candidate_shift = weights
        gates_norm, candidate_norm = self.norm_hh
        r, z = (x[0] + gates_norm(F.linear(fed, of_gates)) + gates_shift).sigmoid().chunk(2, 1)  # [B, H] each
        if self.reset == "before":
            recurrent = candidate_norm(F.linear(r * fed, of_candidate)) + candidate_shift
        else:
            recurrent = r * (candidate_norm(F.linear(fed, of_candidate)) + candidate_shift)
        return ((1 - z) * (update * torch.tanh(x[1] + recurrent)) + z * state[0],)


class LSTM(FusedLayer):
    """Long short-term memory with forget gates and optional projection of the output.

    Further parameters: weight_hr [output, H] of a projection; gain and shift of the cell for layer normalisation.
    """

    gates, groups = 4, (4,)

    def __init__(self, inputs: int, hidden: int, *, projection: int | None = None, **settings: Any):
        super().__init__(inputs, hidden, output=projection, **settings)
        self.weight_hr = self.uniform(projection, hidden) if projection else None
        self.norm_cell = nn.LayerNorm(hidden) if self.layer_norm else nn.Identity()

    @override
    def widths(self) -> tuple[int, ...]:
        return self.output, self.hidden

    @override
    def cell(self, state: LayerState) -> Tensor:
        return state[1]

    @property
    @override
    def stepwise(self) -> bool:
        """oneDNN does not support projections, and warns on each call with one."""
        return super().stepwise or (self.weight_hr is not None and self.weight_hr.device.type != "cuda")

    @override
    def biases(self) -> list[Tensor]:
        """The projection is passed with them, as the library expects."""
        return super().biases() + ([] if self.weight_hr is None else [self.weight_hr])

    @override
    def kernel(self, inputs: Tensor, state: LayerState, weights: list[Tensor]) -> tuple[Tensor, LayerState]:
        """Large layers on a CPU use our own kernel."""
        inputs, h, c = autocast_weights(inputs, *state)
        steps_first = inputs.transpose(0, 1)  # [T, B, I]; outputs keep this layout for the next layer
        if self.weight_hr is None and kernels.is_faster(steps_first, weights[1]):
            weight_ih, weight_hh, bias_ih, bias_hh = weights
            outputs, h, c = kernels.lstm(steps_first, h, c, weight_ih, weight_hh, bias_ih + bias_hh)
            return outputs.transpose(0, 1), (h, c)
        state = h[None], c[None]
        outputs, h, c = torch.lstm(inputs, state, weights, True, 1, 0.0, torch.is_grad_enabled(), False, True)
        return outputs, (h[0], c[0])

    @override
    def step(
        self, x: tuple[Tensor, ...], fed: Tensor, state: LayerState, weights: list[Tensor], update: Tensor | float
    ) -> LayerState:
        _, weight_hh, _, shift, *projection = weights
        i, f, g, o = (x[0] + self.norm_hh[0](F.linear(fed, weight_hh)) + shift).chunk(4, 1)  # [B, H] each
        c = f.sigmoid() * state[1] + i.sigmoid() * (update * g.tanh())
        h = o.sigmoid() * torch.tanh(self.norm_cell(c))
        return F.linear(h, projection[0]) if projection else h, c

    def set_forget_bias(self, value: float) -> None:
        """Set the initial forget bias: one of the two biases that are added has the value, the other is zero."""
        forget = slice(self.hidden, 2 * self.hidden)
        with torch.no_grad():
            self.bias_ih[forget] = value
            self.bias_hh[forget] = 0


def packed(weights: list[Tensor]) -> list[Tensor]:
    """The weights as views of one buffer, as cuDNN expects; otherwise it copies and warns on each call."""
    flat = torch.cat([weight.reshape(-1) for weight in weights])
    pieces = flat.split([weight.numel() for weight in weights])
    return [piece.view_as(weight) for piece, weight in zip(pieces, weights, strict=True)]


class RNNConfig(CellConfig):
    """Simple recurrent network (Elman)."""

    kind: Literal["rnn"] = "rnn"

    def build(self, inputs: int, hidden: int, weight_dropout: float, init_range: float | None) -> RNN:
        """Build a layer from width `inputs` to width `hidden`."""
        return RNN(inputs, hidden, **self.shared(weight_dropout, init_range))


class GRUConfig(CellConfig):
    """Gated recurrent unit."""

    kind: Literal["gru"] = "gru"
    reset: Literal["after", "before"] = "after"
    """the reset gate acts on the recurrent product and its own bias (cuDNN), or on the state before it (Cho et al.
    2014), which needs the per-step path"""
    layer_norm: bool = False
    """normalise the inputs of the gates (Ba et al. 2016); needs the slower per-step path"""
    dropout: StepDropoutConfig = StepDropoutConfig()
    """dropout inside the layer"""

    def build(self, inputs: int, hidden: int, weight_dropout: float, init_range: float | None) -> GRU:
        """Build a layer from width `inputs` to width `hidden`."""
        settings = self.shared(weight_dropout, init_range)
        return GRU(inputs, hidden, reset=self.reset, layer_norm=self.layer_norm, **settings)


class LSTMConfig(CellConfig):
    """Long short-term memory."""

    kind: Literal["lstm"] = "lstm"
    forget_bias: Real | None = None
    """initial bias of the forget gate; absent: uniform like the other biases"""
    projection: Width | None = None
    """width the output is projected to (Sak et al. 2014); absent: no projection"""
    layer_norm: bool = False
    """normalise the inputs of the gates, and the cell (Ba et al. 2016); needs the slower per-step path"""
    dropout: MemoryDropoutConfig = MemoryDropoutConfig()
    """dropout inside the layer"""

    def build(self, inputs: int, hidden: int, weight_dropout: float, init_range: float | None) -> LSTM:
        """Build a layer from width `inputs` with `hidden` cells."""
        settings = self.shared(weight_dropout, init_range)
        layer = LSTM(inputs, hidden, projection=self.projection, layer_norm=self.layer_norm, **settings)
        if self.forget_bias is not None:
            layer.set_forget_bias(self.forget_bias)
        return layer
