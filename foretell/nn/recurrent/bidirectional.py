"""Layers that read whole sequences from their end, or from both sides (Schuster and Paliwal 1997).

B rows, T steps. What comes after a window is not known, so such a layer begins anew in each and carries no state on.
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
        outputs, _ = self.layer(turned(inputs, lengths), self.layer.initial(len(inputs)), lengths)
        return turned(outputs, lengths)


class BothWays(nn.Module):
    """Two layers side by side, [forward, reverse]: as wide as both."""

    def __init__(self, forwards: Layer, backwards: Layer):
        super().__init__()
        self.forwards, self.backwards = forwards, Reverse(backwards)
        self.output = forwards.output + backwards.output

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """inputs [B, T, I], lengths [B] -> outputs [B, T, 2 H]; zeros after a row's end."""
        onwards, _ = self.forwards(inputs, self.forwards.initial(len(inputs)), lengths)
        return torch.cat([onwards, self.backwards(inputs, lengths)], dim=-1)


def turned(x: Tensor, lengths: Tensor | None) -> Tensor:
    """x [B, T, D] with the real part of each row in the opposite order, padding where it was."""
    if lengths is None:
        return x.flip(1)
    place = torch.arange(x.shape[1], device=x.device)
    source = torch.where(place < lengths[:, None], lengths[:, None] - 1 - place, place)  # [B, T]
    return x.gather(1, source[..., None].expand_as(x))
