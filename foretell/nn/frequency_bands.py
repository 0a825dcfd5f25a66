"""Bands of the vocabulary by frequency, for adaptive softmax and adaptive input embeddings.

Grave et al. 2017 (arXiv:1609.04309), Baevski and Auli 2019 (arXiv:1809.10853). Works with any tokenizer's ids: a
token's *rank* is by frequency in the training split, and bands are ranges of ranks. V vocabulary, D width, k tokens in
a band, d width of a band.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from typing_extensions import override

from foretell.errors import ConfigError
from foretell.nn.vocabulary import Counts, TokenIndexed, shares

MOST_TAILS = 4
FEW = 1 / 32
"""A product with a smaller share of a step's positions than this takes no less time: its weights are read, and have
gradients, however few the positions are (the constant in equation 3 of the paper)."""


class ByFrequency(nn.Module):
    """The rank of each token and the token of each rank; without counts, ids are taken to be sorted by frequency."""

    order: Tensor
    """[V] int64: tokens by falling frequency, then by id"""
    rank: Tensor
    """[V] int64: its inverse"""

    def __init__(self, vocabulary: int, counts: Counts | None):
        super().__init__()
        self.shares = shares(counts, vocabulary)
        self.tokens: NDArray[np.int64] = np.argsort(-self.shares, kind="stable")
        self.shares = self.shares[self.tokens]  # [V] by rank
        self.sorted = bool((np.diff(self.tokens) > 0).all())
        """whether a token's rank is its id"""
        # note: not saved with the weights, as a run keeps the counts they follow from
        self.register_buffer("order", torch.as_tensor(self.tokens), persistent=False)
        self.register_buffer("rank", torch.as_tensor(np.argsort(self.tokens)), persistent=False)

    def ranks(self, tokens: Tensor) -> Tensor:
        """ids int64 -> ranks of the same shape"""
        return tokens if self.sorted else self.rank[tokens]

    def by_token(self, by_rank: Tensor) -> Tensor:
        """[..., V] in the order of ranks -> in the order of ids"""
        return by_rank if self.sorted else by_rank.index_select(-1, self.rank)


def uses_frequencies(module: nn.Module) -> bool:
    """Whether the layout of any submodule depends on token frequencies."""
    return any(isinstance(part, ByFrequency) for part in module.modules())


class Bands(ByFrequency):
    """Ranks divided into bands; the first holds the most frequent tokens."""

    inner: Tensor
    """[bands - 1] int64: the cutoffs"""

    def __init__(self, vocabulary: int, counts: Counts | None, cutoffs: Sequence[int]):
        super().__init__(vocabulary, counts)
        if cutoffs and not (cutoffs[0] > 0 and cutoffs[-1] < vocabulary and all(np.diff(cutoffs) > 0)):
            raise ConfigError(
                f"cutoffs = {list(cutoffs)}: they have to rise and stay below the vocabulary's {vocabulary} tokens; "
                "leave them out to have them chosen"
            )
        self.bounds = (0, *cutoffs, vocabulary)
        self.sizes = tuple(int(size) for size in np.diff(self.bounds))
        self.register_buffer("inner", torch.as_tensor(np.array(cutoffs, np.int64)), persistent=False)

    def __len__(self) -> int:
        return len(self.sizes)

    def tokens_of(self, band: int) -> Sequence[int]:
        """The tokens of a band, by rank."""
        tokens: list[int] = self.tokens[self.bounds[band] : self.bounds[band + 1]].tolist()
        return tokens

    def located(self) -> Tensor:
        """[V, 2] the band of each token and its row there"""
        rank = torch.as_tensor(np.argsort(self.tokens))
        band = torch.bucketize(rank, torch.tensor(self.bounds[1:-1]), right=True)
        return torch.stack([band, rank - torch.tensor(self.bounds[:-1])[band]], 1)

    def probabilities(self) -> NDArray[np.float64]:
        """[bands] share of the training split in each band"""
        return np.add.reduceat(self.shares, self.bounds[:-1])

    def divide(self, ranks: Tensor) -> tuple[Tensor, ...]:
        """ranks [N] -> for each band the indices 0..N-1 of its members."""
        band = torch.bucketize(ranks.contiguous(), self.inner, right=True)  # [N]
        # note: waits for the device, to read the sizes
        sizes = torch.bincount(band, minlength=len(self)).tolist()
        return tuple(band.argsort(stable=True).split(sizes))


def band_widths(width: int, divide: int, bands: int) -> list[int]:
    """Widths of the bands, falling by a factor from one to the next."""
    return [max(1, width // divide**band) for band in range(bands)]


def choose_cutoffs(probabilities: NDArray[np.float64], width: int, divide: int) -> tuple[int, ...]:
    """Choose the cutoffs with the least expected work, for shares [V] of tokens by falling frequency.

    As in section 3.2 of arXiv:1609.04309, work counts multiplications, with a share of positions of at least `FEW`;
    here it includes the tails' widths: D (k_0 + tails) for the first band, max(p_i, FEW) d_i k_i and p_i D d_i for
    tail i of probability p_i. Dynamic programming over about 100 candidate cutoffs, exact for those.
    """
    vocabulary = len(probabilities)
    grid = np.unique(np.geomspace(1, vocabulary, 100).astype(np.int64))  # candidate cutoffs, including the end
    mass = np.concatenate([[0.0], np.cumsum(probabilities)])[grid]
    widths = band_widths(width, divide, MOST_TAILS + 1)
    p, k = mass[None, :] - mass[:, None], grid[None, :] - grid[:, None]  # [from, to]
    least: NDArray[np.float64] = width * grid.astype(float)  # for bands that end at each candidate
    best = float(least[-1])
    chosen: tuple[int, ...] = ()
    paths: list[tuple[int, ...]] = [()] * len(grid)
    for tail in range(1, MOST_TAILS + 1):
        cost = np.maximum(p, FEW) * widths[tail] * k + p * width * widths[tail] + width
        total = np.where(k > 0, least[:, None] + cost, np.inf)
        origin = total.argmin(0)
        paths = [(*paths[start], int(grid[start])) for start in origin]
        least = total.min(0)
        if least[-1] < best:
            best, chosen = float(least[-1]), paths[-1]
    return chosen


def make_bands(vocabulary: int, counts: Counts | None, cutoffs: Sequence[int] | None, width: int, divide: int) -> Bands:
    """Bands with the given cutoffs, or with the cheapest for tables that get narrower by `divide` from band to band."""
    if cutoffs is None:
        cutoffs = choose_cutoffs(np.sort(shares(counts, vocabulary))[::-1], width, divide)
    return Bands(vocabulary, counts, cutoffs)


class BandTables(TokenIndexed):
    """A table [k, d] and a projection [D, d] per band, with d falling by the factor `divide` from band to band.

    The first band of a head has full width and no projection (`project_first=False`).
    """

    def __init__(self, bands: Bands, width: int, divide: int, *, project_first: bool):
        super().__init__()
        self.bands, self.project_first = bands, project_first
        widths = band_widths(width, divide, len(bands))
        sizes = zip(bands.sizes, widths, strict=True)
        self.tables = nn.ParameterList(torch.randn(size, narrow) * narrow**-0.5 for size, narrow in sizes)
        projected = widths if project_first else widths[1:]
        self.projections = nn.ParameterList(torch.empty(width, narrow) for narrow in projected)
        for projection in self.projections:
            nn.init.xavier_uniform_(projection)

    def rows(self) -> tuple[Tensor, ...]:
        """Vectors [k, d] of each band's tokens."""
        return tuple(self.tables)

    def projection(self, band: int) -> Tensor | None:
        """[D, d], or None for a band of full width"""
        if not self.project_first:
            band -= 1
        projection: Tensor | None = self.projections[band] if band >= 0 else None
        return projection

    def projection_name(self, band: int) -> str:
        """Name of that parameter, or ""."""
        number = band if self.project_first else band - 1
        return f"projections.{number}" if number >= 0 else ""

    def project(self, hidden: Tensor, band: int) -> Tensor:
        """hidden [..., D] -> [..., d]"""
        projection = self.projection(band)
        return hidden if projection is None else hidden @ projection

    def scores(self, hidden: Tensor) -> list[Tensor]:
        """hidden [..., D] -> scores [..., k] of each band"""
        return [F.linear(self.project(hidden, band), table) for band, table in enumerate(self.tables)]

    @override
    def token_rows(self) -> dict[str, Sequence[int]]:
        return {f"tables.{band}": self.bands.tokens_of(band) for band in range(len(self.bands))}


class SharedTable(TokenIndexed):
    """The table [V, D] of an embedding as bands of full width, without projections."""

    def __init__(self, bands: Bands, weight: Tensor):
        super().__init__()
        self.bands, self.weight = bands, weight

    def rows(self) -> tuple[Tensor, ...]:
        """Vectors [k, D] of each band's tokens."""
        weight = self.weight if self.bands.sorted else self.weight.index_select(0, self.bands.order)
        return tuple(weight.split(self.bands.sizes))  # its gradient is one table, not one per band

    def project(self, hidden: Tensor, band: int) -> Tensor:
        """hidden [..., D], unchanged"""
        return hidden

    def scores(self, hidden: Tensor) -> list[Tensor]:
        """hidden [..., D] -> scores [..., k] of each band"""
        scores = F.linear(hidden, self.weight)  # [..., V]
        return list(
            (scores if self.bands.sorted else scores.index_select(-1, self.bands.order)).split(self.bands.sizes, -1)
        )

    @override
    def token_rows(self) -> dict[str, Sequence[int]]:
        return {"weight": range(len(self.weight))}
