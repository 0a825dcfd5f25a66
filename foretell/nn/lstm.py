"""RNN, GRU and LSTM layers over the library's fused kernels (oneDNN on CPU, cuDNN on CUDA).

Large LSTMs have a kernel of our own on a CPU (`kernels.lstm`). A cell of any kind is a layer with one
contract, so that `models.recurrent` can stack it:

    forward(inputs [B, T, I], state, lengths [B] or None) -> (outputs [B, T, H], state)
    initial(rows) -> state          a tuple of [B, H] tensors, the hidden output first
    output -> int                   H

Gate order is PyTorch's and cuDNN's: LSTM i, f, g, o; GRU r, z, n (Hochreiter and Schmidhuber 1997; Gers et al. 2000;
Cho et al. 2014, arXiv:1406.1078, in the variant of cuDNN that resets after the recurrent product).
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from foretell.config import Config
from foretell.kernels import lstm as kernels
from foretell.nn.dropout import weight_drop
from foretell.types import map_state


class FusedLayer(nn.Module):
    """One recurrent layer, one direction. The kernel sees (possibly dropped) weights as plain tensors.

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
        super().__init__()
        self.inputs, self.output = inputs, hidden
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

    def initial(self, rows: int) -> tuple[Tensor, ...]:
        """The state before the first word: zeros, or the learned one; `states` tensors of [B, H]."""
        if self.start is None:
            zeros = self.weight_hh.new_zeros(rows, self.output)
            return (zeros,) * self.states
        return tuple(self.start[i].expand(rows, -1) for i in range(self.states))

    def forward(
        self, inputs: Tensor, state: tuple[Tensor, ...], lengths: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """inputs [B, T, I], state of [B, H] each, lengths [B] (0 keeps a row's state) -> [B, T, H], state."""
        weight_hh = weight_drop(self.weight_hh, self.weight_dropout, self.training)
        weights = [self.weight_ih, weight_hh, self.bias_ih, self.bias_hh]
        if torch.is_autocast_enabled(inputs.device.type):
            # note: autocast does not know the fused kernels, so their operands are cast here
            lower = torch.get_autocast_dtype(inputs.device.type)
            inputs, weights = inputs.to(lower), [weight.to(lower) for weight in weights]
            state = tuple(part.to(lower) for part in state)
        if inputs.device.type == "cuda":
            weights = packed(weights)
        if lengths is None:
            return self._whole(inputs, state, weights)
        return self._padded(inputs, state, weights, lengths)

    def _whole(
        self, inputs: Tensor, state: tuple[Tensor, ...], weights: list[Tensor]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        outputs, last = self.kernel(inputs, tuple(part[None] for part in state), weights)
        return outputs, tuple(part[0] for part in last)

    def _padded(
        self, inputs: Tensor, state: tuple[Tensor, ...], weights: list[Tensor], lengths: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Rows of different lengths: outputs after a row's end are zero, its state is that at its end.

        Rows sorted by length are a staircase; each tread is a rectangle the fused kernel takes whole. Exactly the real
        tokens are computed, in as many calls as there are different lengths.
        """
        order = torch.argsort(lengths, descending=True, stable=True)
        steps = lengths[order].tolist()
        outputs = inputs.new_zeros(*inputs.shape[:2], self.output)
        current = map_state(lambda part: part[order], state)
        begin = 0
        treads, finished = [], []
        for end in sorted({step for step in steps if step > 0}):
            alive = sum(step >= end for step in steps)
            finished.append(map_state(lambda part, n=alive: part[n:], current))  # type: ignore[misc]
            current = map_state(lambda part, n=alive: part[:n], current)  # type: ignore[misc]
            tread, current = self._whole(inputs[order[:alive], begin:end], current, weights)
            treads.append(nn.functional.pad(tread, (0, 0, 0, 0, 0, len(steps) - alive)))
            begin = end
        if treads:
            outputs = torch.cat([*treads, outputs[:, begin:]], dim=1)
        back = torch.argsort(order)
        pieces = [current, *reversed(finished)]
        joined = tuple(torch.cat([piece[i] for piece in pieces]) for i in range(self.states))
        return outputs[back], tuple(part[back] for part in joined)

    def kernel(
        self, inputs: Tensor, state: tuple[Tensor, ...], weights: list[Tensor]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The library call: inputs [B, T, I], state of [1, B, H] -> outputs [B, T, H], state of [1, B, H]."""
        raise NotImplementedError


class RNN(FusedLayer):
    """The simple recurrent network of Elman 1990, with tanh."""

    gates = 1

    def kernel(
        self, inputs: Tensor, state: tuple[Tensor, ...], weights: list[Tensor]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See `FusedLayer.kernel`."""
        outputs, h = torch.rnn_tanh(inputs, state[0], weights, True, 1, 0.0, self.training, False, True)
        return outputs, (h,)


class GRU(FusedLayer):
    """Gated recurrent unit."""

    gates = 3

    def kernel(
        self, inputs: Tensor, state: tuple[Tensor, ...], weights: list[Tensor]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See `FusedLayer.kernel`."""
        outputs, h = torch.gru(inputs, state[0], weights, True, 1, 0.0, self.training, False, True)
        return outputs, (h,)


class LSTM(FusedLayer):
    """Long short-term memory with forget gates."""

    gates, states = 4, 2

    def kernel(
        self, inputs: Tensor, state: tuple[Tensor, ...], weights: list[Tensor]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See `FusedLayer.kernel`; large layers on a CPU take our own."""
        steps_first = inputs.transpose(0, 1)  # [T, B, I]; outputs go to the next layer laid out like this
        if kernels.is_faster(steps_first, weights[1]):
            weight_ih, weight_hh, bias_ih, bias_hh = weights
            made, h, c = kernels.lstm(steps_first, state[0][0], state[1][0], weight_ih, weight_hh, bias_ih + bias_hh)
            return made.transpose(0, 1), (h[None], c[None])
        outputs, h, c = torch.lstm(inputs, state, weights, True, 1, 0.0, self.training, False, True)
        return outputs, (h, c)

    def set_forget_bias(self, value: float) -> None:
        """Start with gates that remember: of the two biases that are added, one carries it all."""
        forget = slice(self.output, 2 * self.output)
        with torch.no_grad():
            self.bias_ih[forget] = value
            self.bias_hh[forget] = 0


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
