"""Ranks, bands and the cutoffs between them."""

import itertools

import numpy as np
import pytest
import torch

from foretell.nn.frequency_bands import FEW, Bands, choose_cutoffs


def test_cutoffs_are_the_cheapest() -> None:
    """Against all choices of up to three tails for a vocabulary in which every rank is a candidate."""
    share = 1 / np.arange(1, 31) ** 1.1
    share /= share.sum()

    def work(cutoffs: tuple[int, ...], width: int, divide: int) -> float:
        bounds = (0, *cutoffs, 30)
        total = float(width * (bounds[1] + len(cutoffs)))
        for tail, (begin, end) in enumerate(itertools.pairwise(bounds[1:]), 1):
            p, narrow = share[begin:end].sum(), max(1, width // divide**tail)
            total += max(p, FEW) * narrow * (end - begin) + p * width * narrow
        return total

    for width, divide in ((64, 4), (64, 1), (16, 2), (400, 4)):
        every = (cut for number in range(5) for cut in itertools.combinations(range(1, 30), number))
        best = min(work(cutoffs, width, divide) for cutoffs in every)
        assert work(choose_cutoffs(share, width, divide), width, divide) == pytest.approx(best, rel=1e-12)


def test_ranks_and_bands() -> None:
    bands = Bands(5, np.array([3, 50, 3, 0, 9]), (2, 4))
    assert bands.tokens.tolist() == [1, 4, 0, 2, 3]  # by frequency, then by id
    assert bands.ranks(torch.tensor([[3, 1], [0, 4]])).tolist() == [[4, 0], [2, 1]]
    assert [list(bands.tokens_of(band)) for band in range(3)] == [[1, 4], [0, 2], [3]]
    assert bands.located().tolist() == [[1, 0], [0, 0], [1, 1], [2, 0], [0, 1]]
    assert [members.tolist() for members in bands.divide(torch.tensor([4, 0, 3, 1]))] == [[1, 3], [2], [0]]
    assert bands.by_token(torch.arange(5)).tolist() == [2, 0, 3, 4, 1]
