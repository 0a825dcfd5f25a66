"""RNN, GRU and LSTM layers over the library's fused kernels (oneDNN on CPU, cuDNN on CUDA).

Large LSTMs have a kernel of our own on a CPU (`kernels.lstm`). Gate order is PyTorch's and cuDNN's: LSTM i, f, g, o;
GRU r, z, n (Hochreiter and Schmidhuber 1997; Gers et al. 2000; Cho et al. 2014, arXiv:1406.1078). Layer normalisation
is that of Ba et al. 2016 (arXiv:1607.06450), the projection that of Sak et al. 2014 (arXiv:1402.1128).
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foretell.config import Real, Width
from foretell.kernels import lstm as kernels
from foretell.nn.recurrent.gated import CellConfig, GatedLayer, MemoryDropoutConfig, StepDropoutConfig, autocast_weights
from foretell.nn.recurrent.recurrent_layer import LayerState


class FusedLayer(GatedLayer):
    """A layer around a kernel of the library.

    The kernel's `train` only says whether a backward pass may follow: no dropout is in it, and cuDNN refuses one else.
    """

    def dropped_weights(self) -> list[Tensor]:
        """See `GatedLayer.dropped_weights`; views of one buffer on CUDA."""
        weights = super().dropped_weights()
        return packed(weights) if weights[0].device.type == "cuda" and not self.stepwise else weights


class RNN(FusedLayer):
    """The simple recurrent network of Elman 1990, with tanh."""

    gates, groups = 1, (1,)

    def kernel(self, inputs: Tensor, state: LayerState, weights: list[Tensor]) -> tuple[Tensor, LayerState]:
        """See `GatedLayer.kernel`."""
        inputs, h = autocast_weights(inputs, *state)
        outputs, h = torch.rnn_tanh(inputs, h[None], weights, True, 1, 0.0, torch.is_grad_enabled(), False, True)
        return outputs, (h[0],)


class GRU(FusedLayer):
    """Gated recurrent unit; the reset gate acts after the recurrent product, with a bias of its own, or before it."""

    gates, groups = 3, (2, 1)

    def __init__(self, inputs: int, hidden: int, *, reset: Literal["after", "before"] = "after", **settings: Any):
        super().__init__(inputs, hidden, **settings)
        self.reset = reset

    @property
    def stepwise(self) -> bool:
        """See `GatedLayer.stepwise`."""
        return super().stepwise or self.reset == "before"

    def kernel(self, inputs: Tensor, state: LayerState, weights: list[Tensor]) -> tuple[Tensor, LayerState]:
        """See `GatedLayer.kernel`."""
        inputs, h = autocast_weights(inputs, *state)
        outputs, h = torch.gru(inputs, h[None], weights, True, 1, 0.0, torch.is_grad_enabled(), False, True)
        return outputs, (h[0],)

    def for_steps(self, weights: list[Tensor]) -> list[Tensor]:
        """Weights and biases of the two gates, then of the candidate."""
        sizes = [2 * self.hidden, self.hidden]
        return [*weights[1].split(sizes), *weights[3].split(sizes)]

    def step(
        self, x: tuple[Tensor, ...], fed: Tensor, state: LayerState, weights: list[Tensor], update: Tensor | float
    ) -> LayerState:
        """See `GatedLayer.step`."""
        of_gates, of_candidate, gates_shift, candidate_shift = weights
        gates_norm, candidate_norm = self.norm_hh
        r, z = (x[0] + gates_norm(F.linear(fed, of_gates)) + gates_shift).sigmoid().chunk(2, 1)  # [B, H] each
        if self.reset == "before":
            recurrent = candidate_norm(F.linear(r * fed, of_candidate)) + candidate_shift
        else:
            recurrent = r * (candidate_norm(F.linear(fed, of_candidate)) + candidate_shift)
        return ((1 - z) * (update * torch.tanh(x[1] + recurrent)) + z * state[0],)


class LSTM(FusedLayer):
    """Long short-term memory with forget gates; the output may be projected to another width.

    Further parameters: weight_hr [output, H] with a projection; gain and shift of the cell with layer normalisation.
    """

    gates, groups = 4, (4,)

    def __init__(self, inputs: int, hidden: int, *, projection: int | None = None, **settings: Any):
        super().__init__(inputs, hidden, output=projection, **settings)
        self.weight_hr = self.uniform(projection, hidden) if projection else None
        self.norm_cell = nn.LayerNorm(hidden) if self.layer_norm else nn.Identity()

    def widths(self) -> tuple[int, ...]:
        """See `GatedLayer.widths`."""
        return self.output, self.hidden

    def cell(self, state: LayerState) -> Tensor:
        """See `Layer.cell`."""
        return state[1]

    @property
    def stepwise(self) -> bool:
        """See `GatedLayer.stepwise`; oneDNN knows no projection, and warns each time that it is asked for one."""
        return super().stepwise or (self.weight_hr is not None and self.weight_hr.device.type != "cuda")

    def biases(self) -> list[Tensor]:
        """See `GatedLayer.biases`; the projection goes with them, as the library has it."""
        return super().biases() + ([] if self.weight_hr is None else [self.weight_hr])

    def kernel(self, inputs: Tensor, state: LayerState, weights: list[Tensor]) -> tuple[Tensor, LayerState]:
        """See `GatedLayer.kernel`; large layers on a CPU take our own."""
        inputs, h, c = autocast_weights(inputs, *state)
        steps_first = inputs.transpose(0, 1)  # [T, B, I]; outputs go to the next layer laid out like this
        if self.weight_hr is None and kernels.is_faster(steps_first, weights[1]):
            weight_ih, weight_hh, bias_ih, bias_hh = weights
            made, h, c = kernels.lstm(steps_first, h, c, weight_ih, weight_hh, bias_ih + bias_hh)
            return made.transpose(0, 1), (h, c)
        given = h[None], c[None]
        outputs, h, c = torch.lstm(inputs, given, weights, True, 1, 0.0, torch.is_grad_enabled(), False, True)
        return outputs, (h[0], c[0])

    def step(
        self, x: tuple[Tensor, ...], fed: Tensor, state: LayerState, weights: list[Tensor], update: Tensor | float
    ) -> LayerState:
        """See `GatedLayer.step`."""
        _, weight_hh, _, shift, *projection = weights
        i, f, g, o = (x[0] + self.norm_hh[0](F.linear(fed, weight_hh)) + shift).chunk(4, 1)  # [B, H] each
        c = f.sigmoid() * state[1] + i.sigmoid() * (update * g.tanh())
        h = o.sigmoid() * torch.tanh(self.norm_cell(c))
        return F.linear(h, projection[0]) if projection else h, c

    def set_forget_bias(self, value: float) -> None:
        """Start with gates that remember: of the two biases that are added, one carries it all."""
        forget = slice(self.hidden, 2 * self.hidden)
        with torch.no_grad():
            self.bias_ih[forget] = value
            self.bias_hh[forget] = 0


def packed(weights: list[Tensor]) -> list[Tensor]:
    """The weights as views of one buffer, which is the layout cuDNN wants; apart it copies and warns each call."""
    flat = torch.cat([weight.reshape(-1) for weight in weights])
    pieces = flat.split([weight.numel() for weight in weights])
    return [piece.view_as(weight) for piece, weight in zip(pieces, weights, strict=True)]


class RNNConfig(CellConfig):
    """Simple recurrent network (Elman)."""

    kind: Literal["rnn"] = "rnn"

    def build(self, inputs: int, hidden: int, weight_dropout: float, init_range: float | None) -> RNN:
        """A layer from width `inputs` to width `hidden`."""
        return RNN(inputs, hidden, **self.shared(weight_dropout, init_range))


class GRUConfig(CellConfig):
    """Gated recurrent unit."""

    kind: Literal["gru"] = "gru"
    reset: Literal["after", "before"] = "after"
    """the reset gate acts on the recurrent product and a bias of its own (cuDNN), or on the state before it (Cho et al.
    2014), which takes steps written out"""
    layer_norm: bool = False
    """normalise what reaches the gates (Ba et al. 2016); takes steps written out, which are slower"""
    dropout: StepDropoutConfig = StepDropoutConfig()
    """what is dropped inside the layer"""

    def build(self, inputs: int, hidden: int, weight_dropout: float, init_range: float | None) -> GRU:
        """A layer from width `inputs` to width `hidden`."""
        settings = self.shared(weight_dropout, init_range)
        return GRU(inputs, hidden, reset=self.reset, layer_norm=self.layer_norm, **settings)


class LSTMConfig(CellConfig):
    """Long short-term memory."""

    kind: Literal["lstm"] = "lstm"
    forget_bias: Real | None = None
    """start value of the forget gate's bias; absent: uniform like the other biases"""
    projection: Width | None = None
    """width the output is projected to (Sak et al. 2014); absent: it is not"""
    layer_norm: bool = False
    """normalise what reaches the gates, and the cell (Ba et al. 2016); takes steps written out, which are slower"""
    dropout: MemoryDropoutConfig = MemoryDropoutConfig()
    """what is dropped inside the layer"""

    def build(self, inputs: int, hidden: int, weight_dropout: float, init_range: float | None) -> LSTM:
        """A layer from width `inputs` with `hidden` cells."""
        settings = self.shared(weight_dropout, init_range)
        layer = LSTM(inputs, hidden, projection=self.projection, layer_norm=self.layer_norm, **settings)
        if self.forget_bias is not None:
            layer.set_forget_bias(self.forget_bias)
        return layer
