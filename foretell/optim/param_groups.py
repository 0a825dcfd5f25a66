"""Parameter groups: by weight decay and by depth below the output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from torch import nn

Decayed = Literal["all", "matrices"]


class LayerDepths(dict[nn.Parameter, int]):
    """The number of layers between each parameter and the output, and the parameters that are part of a block.

    With L blocks: L + 1 before the blocks, L - i in block i (from 0), 0 after them.
    """

    def __init__(self, depths: Mapping[nn.Parameter, int], in_blocks: Iterable[nn.Parameter] = ()):
        super().__init__(depths)
        self.in_blocks = frozenset(in_blocks)


def exempt(parameter: nn.Parameter, decay_on: Decayed) -> bool:
    """Whether a parameter is exempt from weight decay: biases and norms have one dimension, others more."""
    return decay_on == "matrices" and parameter.dim() <= 1


def param_groups(
    parameters: Iterable[nn.Parameter],
    *,
    rate: float,
    decay: float,
    decay_on: Decayed,
    layer_decay: float = 1.0,
    gap: int = 1,
    layer_depths: Mapping[nn.Parameter, int] | None = None,
) -> list[dict[str, Any]]:
    """Build parameter groups for torch's optimisers, those nearest to the output first.

    The learning rate of a group is `rate * layer_decay ** depth` (see `Objective.layer_depths`; the top layer is `gap`
    below the output layers). Its weight decay is `decay`, or zero for exempt parameters.
    """
    if layer_decay < 1 and layer_depths is None:
        raise ValueError(f"layer_decay = {layer_decay} needs the depth of each parameter below the output")
    depths = layer_depths if layer_depths is not None and layer_decay < 1 else {}
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for parameter in parameters:
        depth = depths.get(parameter, 0)
        depth = depth and depth + gap - 1
        groups.setdefault((depth, exempt(parameter, decay_on)), []).append(parameter)
    return [
        {"params": groups[key], "lr": rate * layer_decay ** key[0], "weight_decay": 0.0 if key[1] else decay}
        for key in sorted(groups)
    ]
