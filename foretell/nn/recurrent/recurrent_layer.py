"""What every recurrent layer is, so that `models.recurrent` can stack cells of any kind.

B rows, T steps, I inputs, H outputs. The state of a layer is a tuple of tensors with rows on dimension 0.
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
        """The state before the first word."""

    def cell(self, state: LayerState) -> Tensor | None:
        """Of a state the memory cells [B, H]; None where it holds nothing but the output."""
        return None

    @abstractmethod
    def dropped_weights(self) -> list[Tensor]:
        """The weights of one window, which has one dropout mask however many calls it takes."""

    @abstractmethod
    def window(self, inputs: Tensor, state: LayerState, weights: list[Tensor]) -> tuple[Tensor, LayerState]:
        """inputs [B, T, I], T > 0, all of them real -> outputs [B, T, H] and the state after them."""

    def forward(self, inputs: Tensor, state: LayerState, lengths: Tensor | None = None) -> tuple[Tensor, LayerState]:
        """inputs [B, T, I], state, lengths [B] (0 keeps a row's state) -> outputs [B, T, H], state."""
        weights = self.dropped_weights()
        if lengths is None:
            return self.window(inputs, state, weights)
        return self._padded(inputs, state, weights, lengths)

    def _padded(
        self, inputs: Tensor, state: LayerState, weights: list[Tensor], lengths: Tensor
    ) -> tuple[Tensor, LayerState]:
        """Rows of different lengths: outputs after a row's end are zero, its state is that at its end.

        Rows sorted by length are a staircase; each tread is a rectangle that goes through `window` whole. Exactly the
        real tokens are computed, in as many calls as there are different lengths.
        """
        order = torch.argsort(lengths, descending=True, stable=True)
        steps = lengths[order].tolist()
        current = select_rows(state, order)
        begin = 0
        treads, finished = [], []
        for end in sorted({step for step in steps if step > 0}):
            alive = sum(step >= end for step in steps)
            finished.append(select_rows(current, slice(alive, None)))
            current = select_rows(current, slice(alive))
            tread, current = self.window(inputs[order[:alive], begin:end], current, weights)
            treads.append(F.pad(tread, (0, 0, 0, 0, 0, len(steps) - alive)))
            begin = end
        rest = inputs.new_zeros(len(inputs), inputs.shape[1] - begin, self.output)
        outputs = torch.cat([*treads, rest.to(treads[0].dtype) if treads else rest], dim=1)
        back = torch.argsort(order)
        return outputs[back], map_state(lambda part: part[back], join_rows([current, *reversed(finished)]))
