"""The row of a gate is divided into its parts without gaps."""

import numpy as np
import pytest

from foretell.kernels import gate


@pytest.mark.parametrize("members", [1, 2, 5])
def test_the_parts_fill_the_row(members: int) -> None:
    row = np.zeros(gate.size_of(members))
    for part in gate.network_of(row, members):
        assert not part.any()
        part[...] = 1
    assert row.all()


def test_an_impossible_token_teaches_nothing() -> None:
    row = np.random.default_rng(0).normal(size=gate.size_of(2))
    network, inputs = gate.network_of(row, 2), np.zeros(13)
    network.place[:] = 0
    network.streak[:] = 0
    hidden, weights, before = np.zeros(gate.HIDDEN), np.zeros(2), row.copy()
    gate.forward(network, inputs, hidden, weights)
    logp = np.full(2, -np.inf)
    assert gate.learn(network, inputs, hidden, weights, 1, logp, np.zeros(3, bool), 0.1) == -np.inf
    np.testing.assert_array_equal(row, before)
