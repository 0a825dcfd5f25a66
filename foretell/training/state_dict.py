"""Weights and optimiser state as named tensors, the way checkpoints keep them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from foretell.errors import ConfigError
from foretell.nn.adapter import adapters_in, plain_name
from foretell.objectives.objective import Objective


def trained_names(objective: Objective) -> list[str]:
    """The names of trained parameters, in the order of the optimiser and the averager."""
    return [plain_name(name) for name, parameter in objective.named_parameters() if parameter.requires_grad]


def weights(objective: Objective) -> dict[str, Tensor]:
    """Every parameter and saved buffer once, shared ones under their first name, without the names of adapters."""
    saved = objective.state_dict(keep_vars=True).keys()
    buffers = {name: buffer for name, buffer in objective.named_buffers() if name in saved}
    return {**{plain_name(name): parameter for name, parameter in objective.named_parameters()}, **buffers}


def parted(objective: Objective) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Its `weights` in two parts: trained and frozen."""
    whole, frozen = weights(objective), {p for p in objective.parameters() if not p.requires_grad}
    fixed = {name: tensor for name, tensor in whole.items() if tensor in frozen}
    return {name: tensor for name, tensor in whole.items() if name not in fixed}, fixed


def load_weights(objective: Objective, tensors: Mapping[str, Tensor]) -> None:
    """Copy tensors into the weights in place. Names have to match; adapters may be missing."""
    check_fit(objective, tensors)
    mine = weights(objective)
    with torch.no_grad():
        for name in mine.keys() & tensors.keys():
            mine[name].copy_(tensors[name])


def check_fit(objective: Objective, tensors: Mapping[str, Tensor]) -> None:
    """Raise `ConfigError` if tensors are not the weights of a model, by their names or shapes."""
    mine = weights(objective)
    if odd := sorted((mine.keys() ^ tensors.keys()) - adapters_in(mine)):
        raise ConfigError(f"the checkpoint holds other weights than the model: {', '.join(odd[:3])}")
    if odd := sorted(name for name in mine.keys() & tensors.keys() if mine[name].shape != tensors[name].shape):
        theirs, ours = (str(tuple(found[odd[0]].shape)) for found in (tensors, mine))
        raise ConfigError(f"the checkpoint's {odd[0]} is {theirs}, and the model's is {ours}")


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state tensors as `number.key`, parameters numbered in order."""
    state: dict[int, dict[str, Any]] = optimizer.state_dict()["state"]
    return {
        f"{number}.{key}": torch.as_tensor(value)
        for number, entry in state.items()
        for key, value in entry.items()
        if value is not None
    }


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """The inverse of `optimizer_tensors`; settings stay those of the optimiser."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, _, key = name.partition(".")
        state.setdefault(int(number), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
