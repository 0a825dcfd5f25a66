"""The weights a model begins with."""

from __future__ import annotations

from torch import Tensor, nn

from foretell.config import Config, Positive


class NormalConfig(Config):
    """Weights begin normally distributed around zero, biases at zero, gains at one."""

    deviation: Positive = 0.02
    """standard deviation, before anything is cut off"""
    truncated: bool = False
    """draw anew what lies beyond two deviations, as BERT's code does"""

    def fill(self, weight: Tensor, *, scale: float = 1.0) -> None:
        """Draws a weight in place, its deviation times `scale`."""
        if weight.is_meta:  # holds no numbers; asking for truncated ones would load half of torch first
            return
        deviation = self.deviation * scale
        if self.truncated:
            nn.init.trunc_normal_(weight, std=deviation, a=-2 * deviation, b=2 * deviation)
        else:
            nn.init.normal_(weight, std=deviation)
