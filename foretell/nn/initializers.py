"""The weights a model begins with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from foretell.config import Config, Positive


class NormalConfig(Config):
    """Weights begin normally distributed around zero, biases at zero, gains at one."""

    std: Positive = 0.02
    """standard deviation, before anything is cut off"""
    truncated: bool = False
    """draw anew what lies beyond two deviations, as BERT's code does"""

    def fill(self, weight: Tensor, *, scale: float = 1.0) -> None:
        """Draws a weight in place, its std times `scale`."""
        if weight.is_meta:  # holds no numbers; `trunc_normal_` is out of reach of `on_paper`
            return
        std = self.std * scale
        if self.truncated:
            nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)
        else:
            nn.init.normal_(weight, std=std)


DRAWING = ("normal_", "uniform_", "kaiming_uniform_", "xavier_uniform_")
"""functions of torch that fill a tensor at random, in place"""


class Unfilled(TorchFunctionMode):
    """Leaves random filling out: on the meta device it fills nothing, and loads half of torch for that."""

    def __torch_function__(self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        filled = kwargs.get("tensor", args[0] if args else None)  # `nn.init` hands it over by name
        if getattr(function, "__name__", "") in DRAWING and isinstance(filled, Tensor) and filled.is_meta:
            return filled
        return function(*args, **kwargs)


@contextmanager
def on_paper() -> Iterator[None]:
    """Modules that are built within have shapes and no numbers, and take no memory."""
    with torch.device("meta"), Unfilled():
        yield
