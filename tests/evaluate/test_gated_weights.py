"""The gate learns along its gradient, and what members are good at."""

import numpy as np
import pytest

from foretell.evaluate.gated_weights import Gate
from foretell.evaluate.mixture import fit_weights, mixed_logp
from foretell.kernels.gate import network_of

BEGINS = np.array([True, False, False, False])


def test_a_step_follows_the_gradient() -> None:
    random = np.random.default_rng(0)
    gate = Gate([0.2, 0.5, 0.3], BEGINS, rate=1.0)
    gate.first[: -(6 * 3 + 2)] += 0.1 * random.normal(size=len(gate.first) - 20)
    logp, token, state = np.log(random.dirichlet(np.ones(3)))[None], np.array([2]), gate.start(1)
    network_of(state[0], 3).place[:] = [3, 1]
    after = gate.learned(state, token, logp)
    for name in ("hidden", "output", "direct", "bias", "previous"):
        moved = getattr(network_of(after[0], 3), name) - getattr(network_of(state[0], 3), name)
        assert moved.any()
        for place in [*np.argwhere(np.abs(moved) > 1e-3)[:3], *np.argwhere(moved == 0)[:1]]:
            slopes = []
            for sign in (1, -1):
                other = state.copy()
                getattr(network_of(other[0], 3), name)[tuple(place)] += sign * 1e-5
                slopes.append(np.logaddexp.reduce(gate.log_weights(other)[0] + logp[0]))
            assert moved[tuple(place)] == pytest.approx((slopes[0] - slopes[1]) / 2e-5, abs=1e-6)


def test_weights_sum_to_one_and_start_as_given() -> None:
    gate = Gate([0.2, 0.5, 0.3], BEGINS)
    np.testing.assert_allclose(np.exp(gate.log_weights(gate.start(2))), [[0.2, 0.5, 0.3]] * 2)
    state = gate.start(2)
    for token in (1, 2, 0, 3):
        state = gate.learned(state, np.array([token, 3]), np.log([[0.1, 0.6, 0.2], [0.9, 0.1, 0.1]]))
        np.testing.assert_allclose(np.exp(gate.log_weights(state)).sum(1), 1)


def test_rows_do_not_affect_each_other() -> None:
    gate, random = Gate([0.5, 0.5], BEGINS), np.random.default_rng(0)
    logp, tokens = np.log(random.uniform(0.1, 0.9, (20, 2, 2))), random.integers(0, 4, (20, 2))
    both, one = gate.start(2), gate.start(1)
    for step in range(20):
        both = gate.learned(both, tokens[step], logp[step])
        one = gate.learned(one, tokens[step, :1], logp[step, :1])
    np.testing.assert_allclose(both[:1], one, rtol=1e-12)


@pytest.mark.parametrize("what", ["previous token", "streak", "place in word"])
def test_it_learns_what_no_fixed_weights_can(what: str) -> None:
    random = np.random.default_rng(1)
    tokens = random.integers(0, 4, 4000)
    if what == "previous token":
        first = np.concatenate([[True], tokens[:-1] == 1])
    elif what == "streak":
        first = (np.arange(4000) // 40) % 2 == 0
    else:
        begun = np.maximum.accumulate(np.where(tokens == 0, np.arange(4000), 0))
        first = np.concatenate([[True], (np.arange(4000) - begun)[:-1] > 2])
    good, bad = np.log(0.9), np.log(0.1)
    logp = np.stack([np.where(first, good, bad), np.where(first, bad, good)])
    mixed, _ = Gate([0.5, 0.5], BEGINS).read(tokens, logp)
    fixed = mixed_logp(logp, fit_weights(logp).weights)
    assert mixed[2000:].mean() > fixed[2000:].mean() + 0.1


def test_a_trained_gate_starts_where_it_ended() -> None:
    tokens = np.tile(np.arange(4), 500)
    logp = np.log(np.stack([np.tile([0.9, 0.1, 0.9, 0.1], 500), np.tile([0.1, 0.9, 0.1, 0.9], 500)]))
    gate = Gate([0.5, 0.5], BEGINS)
    trained = gate.trained(tokens, logp)
    assert trained.read(tokens, logp)[0][:200].mean() > gate.read(tokens, logp)[0][:200].mean() + 0.1
    network = network_of(trained.first, 2)
    assert not network.averages.any() and not network.streak.any()


def test_reading_equals_single_steps() -> None:
    random = np.random.default_rng(2)
    tokens, logp = random.integers(0, 4, 30), np.log(random.uniform(0.1, 0.9, (2, 30)))
    gate = Gate([0.4, 0.6], BEGINS, rate=0.1)
    mixed, used = gate.read(tokens, logp, (0, 10))
    slow, weights = gate.stepwise(tokens, logp, (0, 10))
    np.testing.assert_allclose(mixed, slow, rtol=1e-12)
    np.testing.assert_allclose(used, weights, rtol=1e-12)
