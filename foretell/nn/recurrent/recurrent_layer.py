"""The contract of recurrent layers, which `models.recurrent` stacks.

B rows, T steps, I inputs, H outputs. A layer's state is a tuple of tensors with rows on dimension 0.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foretell.types import join_rows, map_state, select_rows

LayerState = tuple[Tensor, ...]


class Layer(nn.Module):
    """One recurrent layer in one direction; abstract."""

    def __init__(self, inputs: int, output: int):
        super().__init__()
        self.inputs, self.output = inputs, output

    @abstractmethod
    def initial(self, rows: int) -> LayerState:
        """The state before the first token."""

    def cell(self, state: LayerState) -> Tensor | None:
        """The memory cells [B, H] of a state; None if it has only the output."""
        return None

    @abstractmethod
    def dropped_weights(self) -> list[Tensor]:
        """The weights of a window after dropout, with one mask per window."""

    @abstractmethod
    def window(self, inputs: Tensor, state: LayerState, weights: list[Tensor]) -> tuple[Tensor, LayerState]:
        """inputs [B, T, I], T > 0, without padding -> outputs [B, T, H] and the final state."""

    def forward(self, inputs: Tensor, state: LayerState, lengths: Tensor | None = None) -> tuple[Tensor, LayerState]:
        """inputs [B, T, I], state, lengths [B] (0 keeps a row's state) -> outputs [B, T, H], state."""
        weights = self.dropped_weights()
        if lengths is None:
            return self.window(inputs, state, weights)
        return self._padded(inputs, state, weights, lengths)

    def _padded(
        self, inputs: Tensor, state: LayerState, weights: list[Tensor], lengths: Tensor
    ) -> tuple[Tensor, LayerState]:
        """Rows of different lengths: outputs after a row's end are zero, and its state is that at its end.

        Rows sorted by length form a staircase; each step of it is a rectangle for one call of `window`. Only real
        tokens are computed, with one call per distinct length.
        """
        order = torch.argsort(lengths, descending=True, stable=True)
        steps = lengths[order].tolist()
        current = select_rows(state, order)
        begin = 0
        parts, finished = [], []
        for end in sorted({step for step in steps if step > 0}):
            active = sum(step >= end for step in steps)
            finished.append(select_rows(current, slice(active, None)))
            current = select_rows(current, slice(active))
            part, current = self.window(inputs[order[:active], begin:end], current, weights)
            parts.append(F.pad(part, (0, 0, 0, 0, 0, len(steps) - active)))
            begin = end
        rest = inputs.new_zeros(len(inputs), inputs.shape[1] - begin, self.output)
        outputs = torch.cat([*parts, rest.to(parts[0].dtype) if parts else rest], dim=1)
        back = torch.argsort(order)
        return outputs[back], map_state(lambda tensor: tensor[back], join_rows([current, *reversed(finished)]))
