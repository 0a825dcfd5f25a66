"""Activation checkpointing (Chen et al. 2016, arXiv:1604.06174): blocks are recomputed in the backward pass."""

from __future__ import annotations

from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint

from foretell.models.backbone import Backbone


def recompute_blocks(module: nn.Module) -> None:
    """Let every block of every backbone in a module keep its inputs alone until the backward pass.

    Dropout draws the same mask again. Models and the names of their weights do not change.
    """
    for backbone in module.modules():
        if isinstance(backbone, Backbone):
            for block in backbone.blocks:
                forward = partial(checkpoint, type(block).forward, block, use_reentrant=False)
                setattr(block, "forward", forward)  # noqa: B010 - not a method of the class
