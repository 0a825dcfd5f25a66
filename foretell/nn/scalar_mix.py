"""A learned mix of layers (Peters et al. 2018, ELMo, arXiv:1802.05365, equation 1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class ScalarMix(nn.Module):
    """scale x sum of softmax(scores)[l] x layer l; initially the mean of all layers."""

    def __init__(self, layers: int):
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(layers))
        self.scale = nn.Parameter(torch.ones(()))

    @property
    def weights(self) -> Tensor:
        """[L] weight of each layer"""
        return self.scale * self.scores.softmax(0)

    def forward(self, layers: Sequence[Tensor]) -> Tensor:
        """L tensors [..., D] -> [..., D]"""
        return torch.einsum("l...d,l->...d", torch.stack(list(layers)), self.weights)
