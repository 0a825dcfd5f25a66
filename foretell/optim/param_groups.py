"""Which parameters are trained alike: with weight decay or without, near the output or far below it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from torch import nn

Decayed = Literal["all", "matrices"]


def exempt(parameter: nn.Parameter, decay_on: Decayed) -> bool:
    """Whether weight decay leaves a parameter alone: biases and norms have one dimension, all else has more."""
    return decay_on == "matrices" and parameter.dim() <= 1


def groups(
    parameters: Iterable[nn.Parameter],
    *,
    rate: float,
    decay: float,
    decay_on: Decayed,
    layer_decay: float = 1.0,
    gap: int = 1,
    layer_depths: Mapping[nn.Parameter, int] | None = None,
) -> list[dict[str, Any]]:
    """Parameter groups as torch's optimisers take them, those nearest to the output first.

    The learning rate of a group is `rate * layer_decay ** depth` (see `Objective.layer_depths`; the uppermost layer is
    `gap` below the output layers), its weight decay is `decay`, or zero for exempt parameters.
    """
    if layer_decay < 1 and layer_depths is None:
        raise ValueError(f"layer_decay = {layer_decay} has to know how far below the output each parameter lies")
    apart = layer_depths if layer_depths is not None and layer_decay < 1 else {}
    alike: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for parameter in parameters:
        height = apart.get(parameter, 0)
        below = height and height + gap - 1
        alike.setdefault((below, exempt(parameter, decay_on)), []).append(parameter)
    return [
        {"params": alike[key], "lr": rate * layer_decay ** key[0], "weight_decay": 0.0 if key[1] else decay}
        for key in sorted(alike)
    ]
