"""Multi-head scaled dot-product attention (Vaswani et al. 2017, arXiv:1706.03762), with a cache of keys and values.

B rows, T new tokens, C places of the cache, D width, H heads of d = D / H each, N real tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foretell.nn.attention.positions import Rotation, rotate
from foretell.nn.dropout import keep_mask
from foretell.nn.linear import Linear

Cache = tuple[Tensor, Tensor]
"""keys and values of one layer, [B, H, at most C, d] each, so that what a head reads for every token lies in one piece;
what places hold that are not yet filled, nobody sees"""


@dataclass(frozen=True)
class CacheSlots:
    """Where the tokens of a window go in a cache, and what they see there; the same for all layers."""

    places: int
    """P: how many places are filled afterwards, in the fullest row"""
    begin: int | None
    """the place of each row's first token, where that is the same for all and all tokens are real; None: see below"""
    rows: Tensor
    """[N] int64: the row of each real token"""
    sources: Tensor
    """[N] int64: its place in the window"""
    targets: Tensor
    """[N] int64: its place in the cache"""
    visible: Tensor | None
    """[B or 1, 1, T, P] bool: who may look at whom; None: everybody at everybody"""

    @classmethod
    def after(cls, filled: Tensor, lengths: Tensor, steps: int) -> Self:
        """`lengths` [B] real tokens of T = `steps` each, behind the first `filled` [B]; read on the host."""
        places = int((filled + lengths).max())
        begin = places - steps
        step = torch.arange(steps, device=filled.device)
        rows, sources = (step < lengths[:, None]).nonzero(as_tuple=True)
        targets = filled[rows] + sources
        if bool((filled == begin).all()) and bool((lengths == steps).all()):
            seen = None if steps == 1 else torch.arange(places, device=filled.device) <= begin + step[:, None]  # [T, P]
            return cls(places, begin, rows, sources, targets, None if seen is None else seen[None, None])
        own = filled[:, None] + step  # [B, T]
        seen = torch.arange(places, device=filled.device) <= own[..., None]  # [B, T, P]
        return cls(places, None, rows, sources, targets, seen[:, None])

    def write(self, cache: Tensor, new: Tensor) -> None:
        """New [B, T, ...] into its places of a cache [B, at least P, ...]."""
        if self.begin is not None:
            cache[:, self.begin : self.places] = new
        else:
            cache[self.rows, self.targets] = new[self.rows, self.sources].to(cache.dtype)


@dataclass(frozen=True)
class AttentionPattern:
    """Who looks at whom in a window, and how its tokens tell their places; the same for all layers.

    At most one of `visible`, `rectangles` and `placement` is given.
    """

    causal: bool
    """nobody looks ahead"""
    turning: Rotation | None = None
    visible: Tensor | None = None
    """[B, 1, 1 or T, T] bool: who may look at whom, in place of `causal`"""
    rectangles: tuple[tuple[int, int], ...] | None = None
    """(n, t): the window is one row of N tokens, first n texts of t tokens each, and so on; none looks into another"""
    placement: CacheSlots | None = None


class SelfAttention(nn.Module):
    """Tokens look at each other.

    Parameters: `qkv` [3 D, D] for queries, keys and values in this order, `out` [D, D], biases beside both.
    """

    def __init__(self, width: int, heads: int, *, dropout: float = 0.0, biases: bool = True):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv = Linear(width, 3 * width, bias=biases)
        self.out = Linear(width, width, bias=biases)

    def forward(self, inputs: Tensor, view: AttentionPattern, cache: Cache | None = None) -> tuple[Tensor, Cache]:
        """inputs [B, T, D] -> [B, T, D] and the keys and values [B, H, T or P, d] that were looked at.

        A cache gets those of the window written into it; without one the window sees nothing before itself.
        """
        rows, steps, width = inputs.shape
        split = self.qkv(inputs).view(rows, steps, 3, self.heads, width // self.heads)
        if view.turning is not None:
            split = torch.cat([rotate(split[:, :, :2], view.turning), split[:, :, 2:]], 2)
        query, key, value = split.unbind(2)  # [B, T, H, d] each
        if view.rectangles is not None:
            mixed = self.look_by_text(split[0], view)
        elif cache is not None and view.placement is not None:
            for part, new in zip(cache, (key, value), strict=True):
                view.placement.write(part.transpose(1, 2), new)
            key, value = (
                part[:, :, : view.placement.places].transpose(1, 2).to(query.dtype) for part in cache
            )  # [B, P, H, d]
            mixed = self.look(query, key, value, view.placement.visible, causal=False)
        else:
            mixed = self.look(query, key, value, view.visible, causal=view.causal and view.visible is None)
        return self.out(mixed.reshape(rows, steps, width)), (key.transpose(1, 2), value.transpose(1, 2))

    def look(self, query: Tensor, key: Tensor, value: Tensor, visible: Tensor | None, *, causal: bool) -> Tensor:
        """query [B, T, H, d], key and value [B, C, H, d] -> [B, T, H, d]"""
        if self.training and self.dropout > 0 and query.device.type == "cpu":
            return look_with_dropout(query, key, value, visible, self.dropout, causal=causal)
        mixed = F.scaled_dot_product_attention(
            query.transpose(1, 2),
            key.transpose(1, 2),
            value.transpose(1, 2),
            attn_mask=visible,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=causal,
        )  # [B, H, T, d]
        return mixed.transpose(1, 2)

    def look_by_text(self, split: Tensor, view: AttentionPattern) -> Tensor:
        """Queries, keys and values [N, 3, H, d] of texts in order of their lengths -> [N, D].

        As many calls as there are different lengths: no padding, no mask. Splitting at once, not slicing, spares the
        backward pass a tensor of zeros for each part.
        """
        rectangles = view.rectangles or ()
        mixed = []
        for part, (texts, steps) in zip(split.split([n * t for n, t in rectangles]), rectangles, strict=True):
            query, key, value = part.unflatten(0, (texts, steps)).unbind(2)
            mixed.append(self.look(query, key, value, None, causal=view.causal).reshape(texts * steps, -1))
        return torch.cat(mixed) if mixed else split[:, 0].flatten(1)


def look_with_dropout(
    query: Tensor, key: Tensor, value: Tensor, visible: Tensor | None, rate: float, *, causal: bool
) -> Tensor:
    """`SelfAttention.look` written out: with dropout torch has no fused kernel on a CPU, and is slow to draw masks."""
    scores = (query * query.shape[-1] ** -0.5).transpose(1, 2) @ key.permute(0, 2, 3, 1)  # [B, H, T, C]
    if causal:
        visible = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    if visible is not None:
        scores = scores.masked_fill_(~visible, -torch.inf)
    looks = scores.softmax(-1)
    looks = looks * keep_mask(looks, tuple(looks.shape), rate)
    mixed: Tensor = (looks @ value.transpose(1, 2)).transpose(1, 2)
    return mixed
