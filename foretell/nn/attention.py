"""Multi-head scaled dot-product attention (Vaswani et al. 2017, arXiv:1706.03762), with a cache of keys and values.

B rows, T new tokens, C places of the cache, D width, H heads of d = D / H each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Cache = tuple[Tensor, Tensor]
"""keys and values of one layer, [B, C, H, d] each; places not yet filled hold zeros"""


@dataclass(frozen=True)
class Placement:
    """Where the tokens of a window go in a cache, and what they see there; the same for all layers."""

    source: Tensor
    """[B, C] int64: which of the T new tokens a place takes"""
    taken: Tensor
    """[B, C] bool: whether it takes one; the others stay"""
    visible: Tensor
    """[B, 1, T, C] bool: who may look at whom"""

    @classmethod
    def after(cls, filled: Tensor, lengths: Tensor, steps: int, places: int) -> Self:
        """`lengths` [B] real tokens of T = `steps` each, behind the first `filled` [B] of C = `places`."""
        place = torch.arange(places, device=filled.device)
        source = place - filled[:, None]  # [B, C]
        taken = (source >= 0) & (source < lengths[:, None])
        own = filled[:, None] + torch.arange(steps, device=filled.device)  # [B, T]
        return cls(source.clamp(0, steps - 1), taken, (place <= own[..., None])[:, None])

    def write(self, cache: Tensor, new: Tensor) -> Tensor:
        """cache [B, C, ...] with new [B, T, ...] in its places."""
        rows = torch.arange(len(new), device=new.device)[:, None]
        taken = self.taken.view(*self.taken.shape, *[1] * (new.dim() - 2))
        return torch.where(taken, new[rows, self.source], cache.to(new.dtype))


class SelfAttention(nn.Module):
    """Every token looks at itself and those before it.

    Parameters: `inward` [3 D, D] for queries, keys and values in this order, `outward` [D, D], biases beside both.
    """

    def __init__(self, width: int, heads: int, *, dropout: float = 0.0, biases: bool = True):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.inward = nn.Linear(width, 3 * width, bias=biases)
        self.outward = nn.Linear(width, width, bias=biases)

    def forward(
        self, inputs: Tensor, cache: Cache | None = None, placement: Placement | None = None
    ) -> tuple[Tensor, Cache]:
        """inputs [B, T, D] -> [B, T, D] and the cache with the new keys and values in it.

        Without a cache the window sees nothing before itself, and its keys and values are returned as they are.
        """
        rows, steps, width = inputs.shape
        split = self.inward(inputs).view(rows, steps, 3, self.heads, width // self.heads)
        query, key, value = split.unbind(2)  # [B, T, H, d] each
        if cache is not None and placement is not None:
            key, value = placement.write(cache[0], key), placement.write(cache[1], value)  # [B, C, H, d]
        mixed = F.scaled_dot_product_attention(
            query.transpose(1, 2),
            key.transpose(1, 2),
            value.transpose(1, 2),
            attn_mask=None if placement is None else placement.visible,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=placement is None,
        )  # [B, H, T, d]
        return self.outward(mixed.transpose(1, 2).reshape(rows, steps, width)), (key, value)
