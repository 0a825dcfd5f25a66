"""The cost of a model: parameters, training state in bytes, FLOPs per token.

Models are built on torch's meta device, which knows shapes only: nothing is allocated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from foretell.nn.initializers import on_paper
from foretell.objectives.objective import Objective
from foretell.recipe.recipe import SOME_LABELS, Recipe
from foretell.trees import Tree

TRAINING = 3
"""ratio of training to forward FLOPs: the backward pass multiplies twice per weight, for inputs and for weights"""


def cost(recipe: Recipe, vocabulary: int, labels: int = SOME_LABELS) -> Tree:
    """Parameters by part, bytes of training state, and FLOPs per token."""
    with on_paper():
        objective = recipe.build(vocabulary, labels=labels)
        recipe.trainable.prepare(objective)
    parts, parameters = parts_of(objective), list(objective.parameters())
    trained = [p for p in parameters if p.requires_grad]
    gradients = sum(p.numel() * p.element_size() for p in trained)
    averages = recipe.averaging.copies * gradients
    memory = {
        "weights": sum(p.numel() * p.element_size() for p in parameters),
        "gradients": gradients,
        "optimizer": optimizer_bytes(recipe, objective),
        "averages": averages,
    }
    forward = round(2 * objective.macs_per_token(recipe.data.batches.length))
    return {
        "parameters": sum(p.numel() for p in parameters),
        "trained_parameters": sum(p.numel() for p in trained),
        "parts": parts,
        "memory_bytes": {**memory, "total": sum(memory.values())},
        "flops_per_token": {"forward": forward, "training": TRAINING * forward},
    }


def parts_of(objective: Objective) -> list[Tree]:
    """Parts of a model, each with the parameters that no earlier part has."""
    backbone, seen = objective.backbone, set[int]()
    named: list[tuple[str, nn.Module]] = [("embedding", backbone.embedding)]
    named += [(f"layer {number} ({type(block).__name__})", block) for number, block in enumerate(backbone.blocks, 1)]
    named += [("other layers", backbone), ("head", objective.head)]
    named += [(name, part) for name, part in objective.named_children() if name not in ("backbone", "head")]
    named += [("objective", objective)]
    parts = []
    for name, module in named:
        own = list(module.parameters())
        fresh = [p for p in own if id(p) not in seen]
        seen.update(id(p) for p in fresh)
        shared = sum(p.numel() for p in own) - sum(p.numel() for p in fresh)
        if fresh or name == "head":
            part = {"part": name, "parameters": sum(p.numel() for p in fresh)}
            parts.append(part | ({"shared": shared} if name == "head" and shared else {}))
    return parts


def optimizer_bytes(recipe: Recipe, objective: Objective) -> int:
    """Bytes of optimiser state, seen after a step on the meta device.

    One parameter of each shape takes the step and stands for all like it: large models repeat their layers.
    """
    parameters = [p for p in objective.parameters() if p.requires_grad]
    optimizer = recipe.optimizer.build(parameters, objective.layer_depths())
    alike: dict[tuple[torch.Size, torch.dtype], list[torch.Tensor]] = {}
    for parameter in parameters:
        alike.setdefault((parameter.shape, parameter.dtype), []).append(parameter)
    for first, *_ in alike.values():
        first.grad = torch.empty_like(first)
    optimizer.step()
    return sum(len(same) * state_bytes(optimizer.state[same[0]]) for same in alike.values())


def state_bytes(state: Mapping[str, Any]) -> int:
    """Bytes of what an optimiser keeps for one parameter."""
    return sum(t.numel() * t.element_size() for t in state.values() if isinstance(t, torch.Tensor))
