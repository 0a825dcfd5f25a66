"""The vocabulary by falling frequency, cut into bands: what adaptive softmax and adaptive input embeddings share.

Grave et al. 2017 (arXiv:1609.04309), Baevski and Auli 2019 (arXiv:1809.10853). Any tokenizer's ids will do: each token
has a *place*, its rank by frequency in the training split, and bands are ranges of places. V vocabulary, D width, k
tokens in a band, d width of a band.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from foretell.errors import ConfigError
from foretell.nn.vocabulary import Counts, TokenIndexed, shares

MOST_TAILS = 4
FEW = 1 / 32
"""A product with fewer than this share of a step's positions takes as long as one with so many: its weights are read,
and have gradients, however few the positions are (the constant in equation 3 of the paper)."""


class ByFrequency(nn.Module):
    """The token with each place, and the place of each token. Without counts ids are taken to be sorted already."""

    order: Tensor
    """[V] int64: tokens by falling frequency, equally frequent ones by id"""
    place: Tensor
    """[V] int64: its inverse"""

    def __init__(self, vocabulary: int, counts: Counts | None):
        super().__init__()
        self.shares = shares(counts, vocabulary)
        self.tokens: NDArray[np.int64] = np.argsort(-self.shares, kind="stable")
        self.shares = self.shares[self.tokens]  # [V] by place
        self.sorted = bool((np.diff(self.tokens) > 0).all())
        """whether a token's place is its id"""
        # note: not saved with the weights; a run keeps the counts they follow from
        self.register_buffer("order", torch.as_tensor(self.tokens), persistent=False)
        self.register_buffer("place", torch.as_tensor(np.argsort(self.tokens)), persistent=False)

    def places(self, tokens: Tensor) -> Tensor:
        """ids int64 -> their places, of the same shape"""
        return tokens if self.sorted else self.place[tokens]

    def by_token(self, by_place: Tensor) -> Tensor:
        """[..., V] in the order of places -> in the order of ids"""
        return by_place if self.sorted else by_place.index_select(-1, self.place)


def uses_frequencies(module: nn.Module) -> bool:
    """Whether a part of it is laid out by how often tokens occur."""
    return any(isinstance(part, ByFrequency) for part in module.modules())


class Bands(ByFrequency):
    """Places cut into bands; the first holds the most frequent tokens."""

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
        """The tokens of a band, in the order of their places."""
        found: list[int] = self.tokens[self.bounds[band] : self.bounds[band + 1]].tolist()
        return found

    def located(self) -> Tensor:
        """[V, 2] the band of each token, and its row there"""
        place = torch.as_tensor(np.argsort(self.tokens))
        band = torch.bucketize(place, torch.tensor(self.bounds[1:-1]), right=True)
        return torch.stack([band, place - torch.tensor(self.bounds[:-1])[band]], 1)

    def probabilities(self) -> NDArray[np.float64]:
        """[bands] how much of the training split is in each band"""
        return np.add.reduceat(self.shares, self.bounds[:-1])

    def divide(self, places: Tensor) -> tuple[Tensor, ...]:
        """places [N] -> for each band the positions 0..N-1 that fall into it."""
        band = torch.bucketize(places.contiguous(), self.inner, right=True)  # [N]
        # note: waits for the device, to know how many there are in each
        sizes = torch.bincount(band, minlength=len(self)).tolist()
        return tuple(band.argsort(stable=True).split(sizes))


def band_widths(width: int, divide: int, bands: int) -> list[int]:
    """Each band is narrower than the one before by a factor."""
    return [max(1, width // divide**band) for band in range(bands)]


def choose_cutoffs(probabilities: NDArray[np.float64], width: int, divide: int) -> tuple[int, ...]:
    """The cutoffs with the least expected work, for shares [V] of tokens by falling frequency.

    As in section 3.2 of arXiv:1609.04309, work counts multiplications, and products with few positions no less than
    those with `FEW`; here with the tails' widths in it: D (k_0 + tails) for the first band, max(p_i, FEW) d_i k_i and
    p_i D d_i for tail i of probability p_i. Dynamic programming over about a hundred places to cut at, exact for those.
    """
    vocabulary = len(probabilities)
    grid = np.unique(np.geomspace(1, vocabulary, 100).astype(np.int64))  # places to cut at, the end among them
    mass = np.concatenate([[0.0], np.cumsum(probabilities)])[grid]
    widths = band_widths(width, divide, MOST_TAILS + 1)
    p, k = mass[None, :] - mass[:, None], grid[None, :] - grid[:, None]  # [from, to]
    least: NDArray[np.float64] = width * grid.astype(float)  # of what ends at each place
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
    """Bands with these cutoffs, or with the cheapest for tables that are narrower by `divide` from band to band."""
    if cutoffs is None:
        cutoffs = choose_cutoffs(np.sort(shares(counts, vocabulary))[::-1], width, divide)
    return Bands(vocabulary, counts, cutoffs)


class BandTables(TokenIndexed):
    """A table [k, d] and a projection [D, d] for each band, d falling by the factor `divide` from band to band.

    The first band of a head has vectors of full width and needs no projection (`project_first=False`).
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
        """The vectors of each band's tokens, [k, d]."""
        return tuple(self.tables)

    def projection(self, band: int) -> Tensor | None:
        """[D, d], or None where none is needed"""
        if not self.project_first:
            band -= 1
        found: Tensor | None = self.projections[band] if band >= 0 else None
        return found

    def projection_name(self, band: int) -> str:
        """What the same is called among the parameters; empty where none is needed."""
        number = band if self.project_first else band - 1
        return f"projections.{number}" if number >= 0 else ""

    def project(self, hidden: Tensor, band: int) -> Tensor:
        """hidden [..., D] -> [..., d]"""
        projection = self.projection(band)
        return hidden if projection is None else hidden @ projection

    def scores(self, hidden: Tensor) -> list[Tensor]:
        """hidden [..., D] -> for each band [..., k]"""
        return [F.linear(self.project(hidden, band), table) for band, table in enumerate(self.tables)]

    def token_rows(self) -> dict[str, Sequence[int]]:
        """See `TokenIndexed`."""
        return {f"tables.{band}": self.bands.tokens_of(band) for band in range(len(self.bands))}


class SharedTable(TokenIndexed):
    """The rows of one table [V, D], an embedding's, as those of bands: all of full width, none projected."""

    def __init__(self, bands: Bands, weight: Tensor):
        super().__init__()
        self.bands, self.weight = bands, weight

    def rows(self) -> tuple[Tensor, ...]:
        """The vectors of each band's tokens, [k, D]."""
        weight = self.weight if self.bands.sorted else self.weight.index_select(0, self.bands.order)
        return tuple(weight.split(self.bands.sizes))  # whose gradient is one table, not one for each band

    def project(self, hidden: Tensor, band: int) -> Tensor:
        """hidden [..., D] as it is"""
        return hidden

    def scores(self, hidden: Tensor) -> list[Tensor]:
        """hidden [..., D] -> for each band [..., k]"""
        scores = F.linear(hidden, self.weight)  # [..., V]
        return list(
            (scores if self.bands.sorted else scores.index_select(-1, self.bands.order)).split(self.bands.sizes, -1)
        )

    def token_rows(self) -> dict[str, Sequence[int]]:
        """See `TokenIndexed`."""
        return {"weight": range(len(self.weight))}
