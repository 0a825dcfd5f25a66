"""Carrying weights over to another vocabulary.

A token keeps its rows by its spelling; a new one starts at the mean of all rows (Howard and Ruder 2018, ULMFiT,
arXiv:1801.06146); tensors that are not indexed by tokens are copied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from foretell.data.tokenizers.tokenizer import Tokenizer
from foretell.nn.frequency_bands import BandTables

NEW = -1


@dataclass(frozen=True)
class Matching:
    """How the tokens of two vocabularies correspond."""

    origin: Tensor
    """[V] int64: each token's id in the other vocabulary, or `NEW`"""
    gone: int
    """number of tokens of the other vocabulary that are missing here"""
    moved: frozenset[int] = frozenset()
    """tokens in both that moved to another band with their vectors"""
    lost: frozenset[int] = frozenset()
    """tokens in both whose band is narrower here, so that their vectors do not fit"""

    @property
    def counts(self) -> dict[str, int]:
        """Numbers of tokens that keep their vectors, are new, and are missing here; where the vocabulary has bands also
        of those that moved to another band and those that lost their vectors by moving."""
        shared = int((self.origin != NEW).sum())
        kept, new = shared - len(self.lost), len(self.origin) - shared
        counts = {"shared_tokens": kept, "new_tokens": new, "gone_tokens": self.gone}
        banded = {"moved_tokens": len(self.moved), "lost_tokens": len(self.lost)}
        return counts | (banded if self.moved or self.lost else {})

    def __str__(self) -> str:
        shared, new, gone, *_ = self.counts.values()
        moved, lost = len(self.moved), len(self.lost)
        text = f"tokens: {shared:,} kept"
        text += f", {new:,} new (initialised with the mean vector)" if new else ""
        text += f", {gone:,} dropped" if gone else ""
        if moved or lost:
            text += f"; {moved:,} moved to another band, {lost:,} to a narrower one (initialised with its mean)"
        return text


def match(mine: Tokenizer, other: Tokenizer) -> Matching:
    """Match tokens by their spelling; boundary and unknown tokens by their role."""
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


def move_between_bands(
    begun: dict[str, Tensor], tensors: Mapping[str, Tensor], there: nn.Module, here: nn.Module, matching: Matching
) -> Matching:
    """Put the rows of tokens that changed their band into the weights `begun`, as near as the new projection lets them
    be; count them, and those for which the new band is narrower than the old one, which are left alone.

    A row r of a band with projection P stands for the vector P r; in the new band that is the r' with the least
    |P' r' - P r|, which is exact where there is no projection.
    """
    before = {name: part for name, part in there.named_modules() if isinstance(part, BandTables)}
    moved, lost = set[int](), set[int]()
    for name, part in here.named_modules():
        if not isinstance(part, BandTables) or name not in before:
            continue
        old, new = before[name].bands.located(), part.bands.located()  # each [V, 2]: band and row of each token
        shared = (matching.origin != NEW).nonzero()[:, 0]
        source, target = old[matching.origin[shared]], new[shared]
        for b in range(len(before[name].bands)):
            for c in range(len(part.bands)):
                rows = ((source[:, 0] == b) & (target[:, 0] == c)).nonzero()[:, 0]
                if b == c or not len(rows):
                    continue
                if part.tables[c].shape[1] < before[name].tables[b].shape[1]:
                    lost.update(shared[rows].tolist())
                    continue
                moved.update(shared[rows].tolist())
                vectors = tensors[f"{name}.tables.{b}"][source[rows, 1]].double()  # [n, d]
                if project := before[name].projection_name(b):
                    vectors = vectors @ tensors[f"{name}.{project}"].double().t()  # [n, D]
                if project := part.projection_name(c):
                    vectors = torch.linalg.lstsq(begun[f"{name}.{project}"].double(), vectors.t()).solution.t()
                table = begun[f"{name}.tables.{c}"]
                table[target[rows, 1]] = vectors.to(table.dtype)
    return replace(matching, moved=frozenset(moved - lost), lost=frozenset(lost))


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
