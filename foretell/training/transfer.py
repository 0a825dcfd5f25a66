"""Weights from one vocabulary to another.

A token spelled alike keeps its rows; one that is new begins at the mean of all rows (Howard and Ruder 2018, ULMFiT,
arXiv:1801.06146); what is not indexed by tokens is taken as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from foretell.data.encoding import Tokenizer

NEW = -1


@dataclass(frozen=True)
class Matching:
    """How a vocabulary follows from another."""

    origin: Tensor
    """[V] int64: each token's id in the other vocabulary, or `NEW`"""
    gone: int
    """tokens of the other that are not in this one"""

    @property
    def counts(self) -> dict[str, int]:
        """How many tokens are in both vocabularies, in this one only, in the other only."""
        shared = int((self.origin != NEW).sum())
        return {"shared_tokens": shared, "new_tokens": len(self.origin) - shared, "gone_tokens": self.gone}

    def __str__(self) -> str:
        shared, new, gone = self.counts.values()
        return f"{shared:,} tokens are in both vocabularies, {new:,} are new (begun at the mean), {gone:,} are gone"


def match(mine: Tokenizer, other: Tokenizer) -> Matching:
    """Tokens by their spelling; those for boundaries and unknown words by what they are for, if spelled differently."""
    origin = torch.full((mine.size,), NEW)
    for spelling, token in mine.spellings.items():
        origin[token] = other.spellings.get(spelling, NEW)
    for role, its in ((mine.boundary, other.boundary), (mine.unknown, other.unknown)):
        if role is not None and its is not None and origin[role] == NEW:
            origin[role] = its
    return Matching(origin, other.size - len(origin[origin != NEW].unique()))


def carry_over(
    tensors: Mapping[str, Tensor],
    had: Mapping[str, Sequence[int]],
    has: Mapping[str, Sequence[int]],
    matching: Matching,
) -> dict[str, Tensor]:
    """The tensors of a model for another vocabulary; `had` and `has` are the `token_rows` of the two models."""
    return {
        name: move_rows(tensor, had[name], has[name], matching.origin) if name in had else tensor
        for name, tensor in tensors.items()
    }


def move_rows(tensor: Tensor, had: Sequence[int], has: Sequence[int], origin: Tensor) -> Tensor:
    """[rows, ...] with a row for each token of `has` in place of those for `had`; rows after these stay."""
    old, rest = tensor[: len(had)], tensor[len(had) :]
    row_of = torch.full((max([*had, int(origin.max())], default=NEW) + 2,), NEW)  # the last is that of `NEW`
    row_of[torch.tensor(had, dtype=torch.int64)] = torch.arange(len(had))
    source = row_of[origin[torch.tensor(has, dtype=torch.int64)]]  # [len(has)]
    kept = source != NEW
    rows = old.double().mean(0).to(old.dtype).repeat(len(has), *[1] * (old.dim() - 1))
    rows[kept] = old[source[kept]]
    return torch.cat([rows, rest])
