"""Initial weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from foretell.config import Config, Positive


class NormalConfig(Config):
    """Weights start normally distributed around zero, biases at zero, gains at one."""

    std: Positive = 0.02
    """standard deviation, before truncation"""
    truncated: bool = False
    """redraw values beyond two standard deviations, as BERT's code does"""

    def fill(self, weight: Tensor, *, scale: float = 1.0) -> None:
        """Draw a weight in place, with std times `scale`."""
        if weight.is_meta:  # no data; `on_paper` does not catch `trunc_normal_`
            return
        std = self.std * scale
        if self.truncated:
            nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)
        else:
            nn.init.normal_(weight, std=std)


DRAWING = ("normal_", "uniform_", "kaiming_uniform_", "xavier_uniform_")
"""torch functions that fill a tensor at random, in place"""


class Unfilled(TorchFunctionMode):
    """Skips random filling on the meta device, where it has no effect but imports half of torch."""

    def __torch_function__(self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        filled = kwargs.get("tensor", args[0] if args else None)  # `nn.init` passes it by name
        if getattr(function, "__name__", "") in DRAWING and isinstance(filled, Tensor) and filled.is_meta:
            return filled
        return function(*args, **kwargs)


@contextmanager
def on_paper() -> Iterator[None]:
    """Build modules that have shapes but no data, and take no memory."""
    with torch.device("meta"), Unfilled():
        yield
