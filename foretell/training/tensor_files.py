"""Tensors in files: reading, checking, and states as tensors by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from foretell.checksums import damaged
from foretell.errors import ConfigError
from foretell.types import State

Tensors = Mapping[str, Tensor]


def check_finite(weights: Tensors, where: Path) -> None:
    """Raise `ConfigError` with the name of the first tensor that has a NaN or an infinity."""
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor.sum())) and not torch.isfinite(tensor).all():
            raise ConfigError(f"{name} holds numbers that are not finite", file=where, remedy="use another checkpoint")


def read_tensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file."""
    try:
        return load_file(file)
    except (SafetensorError, ValueError, KeyError) as problem:
        raise damaged(file, f"not a safetensors file ({problem})") from None


def flatten(state: State, prefix: str = "state") -> dict[str, Tensor]:
    """The tensors of a state, by their position in it, such as `state.0.1`."""
    if state is None:
        return {}
    if isinstance(state, Tensor):
        return {prefix: state}
    return {name: tensor for i, part in enumerate(state) for name, tensor in flatten(part, f"{prefix}.{i}").items()}


def unflatten(tensors: Tensors, like: State, prefix: str = "state") -> State:
    """The inverse of `flatten`, given a state of the same structure."""
    if like is None:
        return None
    if isinstance(like, Tensor):
        return tensors[prefix]
    return tuple(unflatten(tensors, part, f"{prefix}.{i}") for i, part in enumerate(like))
