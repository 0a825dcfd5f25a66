"""The key/value cache of a causal Transformer: the state it carries from window to window.

The state is (filled [B], written [B], tokens [B, C], one `LayerCache` per layer): how many slots a row has filled,
how many of them have been written by any state sharing the memory, the cached tokens, and their keys and values.

B rows, T tokens of the window, C the context, S slots, K heads of keys and values, of width d, N real tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from foretell.nn.ragged import real_tokens
from foretell.types import State

LayerCache = tuple[Tensor, Tensor]
"""keys and values of one layer, [B, K, S <= C, d] each: what a head reads of one row is contiguous; slots not yet
filled are masked"""
GROWTH = 64
"""the number of slots of a growing cache is a multiple of this"""


@dataclass(frozen=True)
class CacheSlots:
    """The slots that the tokens of a window are written to and the mask they attend with, the same for all layers."""

    filled: int
    """number of filled slots after the window, in the fullest row"""
    begin: int | None
    """slot of each row's first token if that is the same for all rows and all tokens are real; else None"""
    rows: Tensor
    """[N] int64: row of each real token"""
    sources: Tensor
    """[N] int64: its position in the window"""
    targets: Tensor
    """[N] int64: its slot"""
    mask: Tensor | None
    """[B or 1, 1, T, filled] bool: slots each token attends to; None: all"""

    @classmethod
    def after(cls, filled: Tensor, lengths: Tensor, steps: int) -> Self:
        """Slots for `lengths` [B] of `steps` tokens, after the first `filled` [B] slots; both are read on the host."""
        total = int((filled + lengths).max())
        begin = total - steps
        step = torch.arange(steps, device=filled.device)
        rows, sources = (step < lengths[:, None]).nonzero(as_tuple=True)
        targets = filled[rows] + sources
        if bool((filled == begin).all()) and bool((lengths == steps).all()):
            shared = None if steps == 1 else torch.arange(total, device=filled.device) <= begin + step[:, None]
            return cls(total, begin, rows, sources, targets, None if shared is None else shared[None, None])
        own = filled[:, None] + step  # [B, T]
        mask = torch.arange(total, device=filled.device) <= own[..., None]  # [B, T, filled]
        return cls(total, None, rows, sources, targets, mask[:, None])

    def write(self, cache: Tensor, new: Tensor) -> None:
        """Write new [B, T, ...] into the slots of a cache [B, at least `filled`, ...]."""
        if self.begin is not None:
            cache[:, self.begin : self.filled] = new
        else:
            cache[self.rows, self.targets] = new[self.rows, self.sources].to(cache.dtype)


@dataclass(frozen=True)
class CacheShape:
    """Sizes of a model's caches; makes empty states and states that can be written to."""

    layers: int
    heads: int
    head_width: int
    context: int

    def empty(self, rows: int, slots: int, like: Tensor) -> State:
        """A state without tokens, of the dtype and device of `like`."""
        filled = torch.zeros(rows, dtype=torch.int64, device=like.device)
        shape = (rows, self.heads, slots, self.head_width)
        caches = tuple((like.new_zeros(shape), like.new_zeros(shape)) for _ in range(self.layers))
        return filled, filled.clone(), filled.new_zeros(rows, self.context), caches

    def slots_for(self, filled: int) -> int:
        """Number of slots to allocate for `filled` tokens: a quarter more, so that copies are rare."""
        return min(self.context, GROWTH * math.ceil(1.25 * filled / GROWTH))

    def writable(self, state: State, slots: int) -> State:
        """The state itself, or a copy if it has fewer slots or its next slots have been written by another state.

        A state and those that continue it share memory: each sees the slots filled when it was made. The first to
        continue it writes after those and increases `written`, which is shared, so that a second one copies.
        """
        filled, written, before, caches = state
        unshared = not torch.is_grad_enabled() and bool((written == filled).all())
        if unshared and slots_of(state) >= slots:
            return state
        size, most = max(slots_of(state), self.slots_for(slots)), int(filled.max())
        real = real_tokens(most, filled)[:, None, :, None]

        def copied(old: Tensor) -> Tensor:
            new = old.new_empty(*old.shape[:2], size, old.shape[3])
            new[:, :, :most] = old[:, :, :most]
            new[:, :, :most] *= real
            new[:, :, most:] = 0
            return new

        return filled, filled.clone(), before.clone(), tuple((copied(keys), copied(values)) for keys, values in caches)


def slots_of(state: State) -> int:
    """Number of slots of a state's caches."""
    return int(state[3][0][0].shape[2])
