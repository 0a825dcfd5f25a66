"""Pooling against what it says, row by row."""

import pytest
import torch
from builders import members

from foretell.nn.pooling import ConcatConfig, FirstConfig, PoolingChoice

VECTORS = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(1))
LENGTHS = torch.tensor([5, 2, 1, 4])
EXPECTED = {
    "first": lambda rows: rows[0],
    "last": lambda rows: rows[-1],
    "extract": lambda rows: rows[-1],
    "mean": lambda rows: rows.sum(0) / len(rows),
    "max": lambda rows: rows.max(0).values,
    "concat": lambda rows: torch.cat([rows[-1], rows.max(0).values, rows.mean(0)]),
}


@pytest.mark.parametrize("kind", members(PoolingChoice), ids=lambda kind: kind.kind_name())
def test_it_reads_real_tokens_alone(kind: type) -> None:
    padded = VECTORS.clone()
    for row, length in enumerate(LENGTHS):
        padded[row, length:] = 99.0
    found = kind().pool(padded, LENGTHS)
    expected = torch.stack([EXPECTED[kind.kind_name()](VECTORS[i, :n]) for i, n in enumerate(LENGTHS)])
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(kind().pool(VECTORS[:1], None), expected[:1])
    assert found.shape[1] == 3 * kind.times


def test_which_have_a_layer_behind() -> None:
    assert FirstConfig().dense and not ConcatConfig().dense
