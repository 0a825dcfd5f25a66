"""Attention patterns: which tokens of a window attend to which, the same for all layers.

B rows, T tokens of the window, N real tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from foretell.nn.attention.kv_cache import CacheSlots
from foretell.nn.attention.positions import Rotation
from foretell.nn.ragged import first_tokens, real_tokens


@dataclass(frozen=True)
class AttentionPattern:
    """Which tokens attend to which, and the rotation of their queries and keys.

    At most one of `mask`, `rectangles` and `slots` is set.
    """

    causal: bool
    """no token attends to later ones"""
    rotation: Rotation | None = None
    mask: Tensor | None = None
    """[B, 1, 1 or T, T] bool: which tokens attend to which, in place of `causal`"""
    rectangles: tuple[tuple[int, int], ...] | None = None
    """(n, t): the window is one row of N tokens, first n texts of t tokens each, and so on; texts are independent"""
    slots: CacheSlots | None = None


def attention_mask(tokens: Tensor, lengths: Tensor | None, documents: Tensor | None, causal: bool) -> Tensor:
    """Build the mask [B, 1, 1 or T, T] of a window of tokens [B, T], true where a token attends to another.

    Every token attends to at least one, as a softmax over none would be 0 / 0: the first token of an empty row counts
    as real.
    """
    steps = tokens.shape[1]
    mask = torch.ones_like(tokens, dtype=torch.bool)[:, None]  # [B, 1, T]
    if lengths is not None:
        mask = real_tokens(steps, lengths.clamp(min=1))[:, None]
    if documents is not None:
        number = first_tokens(tokens, documents).cumsum(1)
        mask = mask & (number[:, :, None] == number[:, None])  # [B, T, T]
    if causal:
        mask = mask & torch.ones(steps, steps, dtype=torch.bool, device=tokens.device).tril()
    if documents is not None and lengths is not None:  # padding may be a document of its own
        mask = mask | torch.eye(steps, dtype=torch.bool, device=tokens.device)
    return mask[:, None]
