"""Layers that read whole sequences backwards, or in both directions (Schuster and Paliwal 1997).

B rows, T steps. These layers start from the initial state in every window and return no state, as they cannot see past
its end.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from foretell.nn.recurrent.recurrent_layer import Layer

Direction = Literal["forward", "reverse", "both"]


class Reverse(nn.Module):
    """A layer that reads from the last real token to the first."""

    def __init__(self, layer: Layer):
        super().__init__()
        self.layer, self.output = layer, layer.output

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """inputs [B, T, I], lengths [B] -> outputs [B, T, H]; zeros after a row's end."""
        outputs, _ = self.layer(reversed_rows(inputs, lengths), self.layer.initial(len(inputs)), lengths)
        return reversed_rows(outputs, lengths)


class BothWays(nn.Module):
    """Two layers with concatenated outputs, [forward, reverse]."""

    def __init__(self, forwards: Layer, backwards: Layer):
        super().__init__()
        self.forwards, self.backwards = forwards, Reverse(backwards)
        self.output = forwards.output + backwards.output

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """inputs [B, T, I], lengths [B] -> outputs [B, T, 2 H]; zeros after a row's end."""
        outputs, _ = self.forwards(inputs, self.forwards.initial(len(inputs)), lengths)
        return torch.cat([outputs, self.backwards(inputs, lengths)], dim=-1)


def reversed_rows(x: Tensor, lengths: Tensor | None) -> Tensor:
    """x [B, T, D] with the real tokens of each row in reverse order; padding stays in place."""
    if lengths is None:
        return x.flip(1)
    position = torch.arange(x.shape[1], device=x.device)
    source = torch.where(position < lengths[:, None], lengths[:, None] - 1 - position, position)  # [B, T]
    return x.gather(1, source[..., None].expand_as(x))
