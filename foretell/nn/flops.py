"""Arithmetic cost of a module, from the shapes of its weights."""

from __future__ import annotations

from torch import nn

from foretell.nn.attention.positions import Positions


def macs_per_token(module: nn.Module | None) -> int:
    """Multiply-accumulates per token: the weights of all matrices except tables of tokens, positions and segments.

    A learned initial state does not count; 0 for None.
    """
    if module is None:
        return 0
    tables = [part for part in module.modules() if isinstance(part, nn.Embedding | Positions)]
    looked_up = {id(p) for table in tables for p in table.parameters()}
    return sum(
        p.numel()
        for name, p in module.named_parameters()
        if p.dim() > 1 and id(p) not in looked_up and not name.endswith(".start")
    )
