"""RNN, GRU and LSTM layers over the library's fused kernels (oneDNN on CPU, cuDNN on CUDA).

Large LSTMs have a kernel of our own on a CPU (`kernels.lstm`). Gate order is PyTorch's and cuDNN's: LSTM i, f, g, o;
GRU r, z, n (Hochreiter and Schmidhuber 1997; Gers et al. 2000; Cho et al. 2014, arXiv:1406.1078, in the variant of
cuDNN that resets after the recurrent product).
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from foretell.config import Config
from foretell.kernels import lstm as kernels
from foretell.nn.dropout import weight_drop
from foretell.nn.layer import Layer, LayerState


class FusedLayer(Layer):
    """A layer around a kernel, which sees (possibly dropped) weights as plain tensors.

    Parameters: weight_ih [gates * H, I], weight_hh [gates * H, H], bias_ih and bias_hh [gates * H].
    """

    gates: ClassVar[int]
    states: ClassVar[int] = 1

    def __init__(
        self,
        inputs: int,
        hidden: int,
        *,
        weight_dropout: float = 0.0,
        init_range: float | None = None,
        learned_state: bool = False,
    ):
        super().__init__(inputs, hidden)
        self.weight_dropout = weight_dropout
        rows = self.gates * hidden
        self.weight_ih = nn.Parameter(torch.empty(rows, inputs))
        self.weight_hh = nn.Parameter(torch.empty(rows, hidden))
        self.bias_ih = nn.Parameter(torch.empty(rows))
        self.bias_hh = nn.Parameter(torch.empty(rows))
        self.start = nn.Parameter(torch.zeros(self.states, hidden)) if learned_state else None
        bound = 1 / math.sqrt(hidden) if init_range is None else init_range
        for weight in (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh):
            nn.init.uniform_(weight, -bound, bound)

    def initial(self, rows: int) -> LayerState:
        """The state before the first word: zeros, or the learned one; `states` tensors of [B, H]."""
        if self.start is None:
            zeros = self.weight_hh.new_zeros(rows, self.output)
            return (zeros,) * self.states
        return tuple(self.start[i].expand(rows, -1) for i in range(self.states))

    def drawn(self) -> list[Tensor]:
        """See `Layer.drawn`; views of one buffer on CUDA."""
        weight_hh = weight_drop(self.weight_hh, self.weight_dropout, self.training)
        weights = lowered(self.weight_ih, weight_hh, self.bias_ih, self.bias_hh)
        return packed(weights) if weight_hh.device.type == "cuda" else weights

    def window(self, inputs: Tensor, state: LayerState, weights: list[Tensor]) -> tuple[Tensor, LayerState]:
        """See `Layer.window`."""
        inputs, *parts = lowered(inputs, *state)
        outputs, last = self.kernel(inputs, tuple(part[None] for part in parts), weights)
        return outputs, tuple(part[0] for part in last)

    def kernel(self, inputs: Tensor, state: LayerState, weights: list[Tensor]) -> tuple[Tensor, LayerState]:
        """The library call: inputs [B, T, I], state of [1, B, H] -> outputs [B, T, H], state of [1, B, H].

        Its `train` only says whether a backward pass may follow, as there is no dropout in it; cuDNN refuses one else.
        """
        raise NotImplementedError


class RNN(FusedLayer):
    """The simple recurrent network of Elman 1990, with tanh."""

    gates = 1

    def kernel(self, inputs: Tensor, state: LayerState, weights: list[Tensor]) -> tuple[Tensor, LayerState]:
        """See `FusedLayer.kernel`."""
        outputs, h = torch.rnn_tanh(inputs, state[0], weights, True, 1, 0.0, torch.is_grad_enabled(), False, True)
        return outputs, (h,)


class GRU(FusedLayer):
    """Gated recurrent unit."""

    gates = 3

    def kernel(self, inputs: Tensor, state: LayerState, weights: list[Tensor]) -> tuple[Tensor, LayerState]:
        """See `FusedLayer.kernel`."""
        outputs, h = torch.gru(inputs, state[0], weights, True, 1, 0.0, torch.is_grad_enabled(), False, True)
        return outputs, (h,)


class LSTM(FusedLayer):
    """Long short-term memory with forget gates."""

    gates, states = 4, 2

    def kernel(self, inputs: Tensor, state: LayerState, weights: list[Tensor]) -> tuple[Tensor, LayerState]:
        """See `FusedLayer.kernel`; large layers on a CPU take our own."""
        steps_first = inputs.transpose(0, 1)  # [T, B, I]; outputs go to the next layer laid out like this
        if kernels.is_faster(steps_first, weights[1]):
            weight_ih, weight_hh, bias_ih, bias_hh = weights
            made, h, c = kernels.lstm(steps_first, state[0][0], state[1][0], weight_ih, weight_hh, bias_ih + bias_hh)
            return made.transpose(0, 1), (h[None], c[None])
        outputs, h, c = torch.lstm(inputs, state, weights, True, 1, 0.0, torch.is_grad_enabled(), False, True)
        return outputs, (h, c)

    def set_forget_bias(self, value: float) -> None:
        """Start with gates that remember: of the two biases that are added, one carries it all."""
        forget = slice(self.output, 2 * self.output)
        with torch.no_grad():
            self.bias_ih[forget] = value
            self.bias_hh[forget] = 0


def lowered(*tensors: Tensor) -> list[Tensor]:
    """The tensors in autocast's precision where it is on: it does not know the fused kernels."""
    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device):
        return list(tensors)
    return [tensor.to(torch.get_autocast_dtype(device)) for tensor in tensors]


def packed(weights: list[Tensor]) -> list[Tensor]:
    """The weights as views of one buffer, which is the layout cuDNN wants; apart it copies and warns each call."""
    flat = torch.cat([weight.reshape(-1) for weight in weights])
    pieces = flat.split([weight.numel() for weight in weights])
    return [piece.view_as(weight) for piece, weight in zip(pieces, weights, strict=True)]


class _CellConfig(Config):
    learned_state: bool = False
    """learn the state before the first word instead of starting from zeros"""


class RNNConfig(_CellConfig):
    """Simple recurrent network (Elman)."""

    kind: Literal["rnn"] = "rnn"

    def build(self, inputs: int, hidden: int, weight_dropout: float, init_range: float | None) -> RNN:
        """A layer from width `inputs` to width `hidden`."""
        return RNN(
            inputs,
            hidden,
            weight_dropout=weight_dropout,
            init_range=init_range,
            learned_state=self.learned_state,
        )


class GRUConfig(_CellConfig):
    """Gated recurrent unit."""

    kind: Literal["gru"] = "gru"

    def build(self, inputs: int, hidden: int, weight_dropout: float, init_range: float | None) -> GRU:
        """A layer from width `inputs` to width `hidden`."""
        return GRU(
            inputs,
            hidden,
            weight_dropout=weight_dropout,
            init_range=init_range,
            learned_state=self.learned_state,
        )


class LSTMConfig(_CellConfig):
    """Long short-term memory."""

    kind: Literal["lstm"] = "lstm"
    forget_bias: float | None = None
    """start value of the forget gate's bias; absent: uniform like the other biases"""

    def build(self, inputs: int, hidden: int, weight_dropout: float, init_range: float | None) -> LSTM:
        """A layer from width `inputs` to width `hidden`."""
        layer = LSTM(
            inputs,
            hidden,
            weight_dropout=weight_dropout,
            init_range=init_range,
            learned_state=self.learned_state,
        )
        if self.forget_bias is not None:
            layer.set_forget_bias(self.forget_bias)
        return layer
