"""The precision of matrix products, and loss scaling, without which fp16 loses small gradients.

In fp16 gradients below 6e-8 are zero and those above 65504 infinite. So the loss is multiplied by a scale, and with it
all gradients, which are divided by it again in fp32, before clipping. The scale is found by
trial (Micikevicius et al. 2017, arXiv:1710.03740): a step with a gradient that is not finite is skipped and
halves it, a thousand finite ones double it. Weights, their gradients and the optimiser's state stay in fp32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from foretell.config import Config, Positive, Size
from foretell.run import Record

Precision = Literal["fp32", "bf16", "fp16"]
LOWER = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Matrix products in that precision."""
    return torch.autocast(device.type, LOWER.get(precision), enabled=precision in LOWER)


class ScalingConfig(Config):
    """How the loss is scaled with `precision = "fp16"`."""

    initial: Positive = 2.0**16
    """first scale; the higher, the more steps are skipped at the start"""
    grow_every: Size = 1000
    """finite steps in a row after which the scale doubles"""
    floor: Positive = 1.0
    """lowest scale: a step that is not finite at this scale ends the training"""


class LossScaler:
    """The scale, and the number of finite steps since it changed."""

    def __init__(self, config: ScalingConfig):
        self.config = config
        self.scale, self.clean, self.skipped = config.initial, 0, 0

    def unscale(self, gradients: Sequence[Tensor]) -> None:
        """Divide gradients of the scaled loss by the scale, in place: exact, for it is a power of two."""
        torch._foreach_mul_(list(gradients), 1 / self.scale)

    @property
    def exhausted(self) -> bool:
        """Whether the scale cannot fall further."""
        return self.scale <= self.config.floor

    def update(self, finite: bool) -> None:
        """Adjust the scale after a step."""
        if not finite:
            self.scale = max(self.scale / 2, self.config.floor)
            self.clean, self.skipped = 0, self.skipped + 1
            return
        self.clean += 1
        if self.clean == self.config.grow_every:
            self.scale, self.clean = self.scale * 2, 0

    def state_dict(self) -> Record:
        """The state as JSON values."""
        return {"scale": self.scale, "clean": self.clean, "skipped": self.skipped}

    def load_state_dict(self, state: Record) -> None:
        """The inverse of `state_dict`."""
        self.scale, self.clean, self.skipped = state["scale"], state["clean"], state["skipped"]
