"""Weights learned token by token: the bound on regret, and the update by hand."""

import numpy as np
import pytest

from foretell.evaluate.mixture import fit_weights, mixed_logp
from foretell.evaluate.online_weights import SHARE, ExponentiatedGradient

SEEDS = range(20)


def experts(seed: int) -> np.ndarray:
    """Log-probabilities [M, N] of members of which one or another is better for a while."""
    random = np.random.default_rng(seed)
    members, tokens = int(random.integers(2, 7)), 200
    better = random.integers(0, members, tokens // 25).repeat(25)
    skill = random.uniform(0.2, 2, members)
    logits = random.normal(0, 1, (members, tokens)) - skill[:, None]
    logits[better, np.arange(tokens)] += random.uniform(0, 2)
    return -np.log1p(np.exp(-logits))


@pytest.mark.parametrize("seed", SEEDS)
def test_regret_is_below_its_bound(seed: int) -> None:
    logp = experts(seed)
    for rate, share in ((0.005, SHARE), (0.02, 0.0), (0.5, 0.05)):
        regret = ExponentiatedGradient(np.full(len(logp), 1 / len(logp)), rate, share).regret(logp)
        assert regret.nats <= regret.bound
        assert regret.bound > 0
        assert regret.best == pytest.approx(fit_weights(logp).weights)


def test_the_bound_is_met_by_an_opponent() -> None:
    """One member is always right and the weights start far away, so hardly anything of the bound is slack."""
    logp = np.stack([np.full(3000, np.log(0.9)), np.full(3000, np.log(0.1))])
    regret = ExponentiatedGradient([0.0, 1.0], 0.05, 0.0).regret(logp)
    assert regret.bound > regret.nats > 0.05 * regret.bound


def test_an_update_by_hand() -> None:
    rule = ExponentiatedGradient([0.5, 0.5], rate=0.1, share=0.2)
    logp = np.log([[0.8, 0.2]])
    mixed = 0.5
    wanted = 0.8 * 0.5 * (1 + 0.1 * (np.array([0.8, 0.2]) / mixed - 1)) + 0.1
    np.testing.assert_allclose(rule.learned(rule.start(1), np.zeros(1, np.int64), logp)[0], wanted)


def test_sharing_follows_a_change() -> None:
    good, bad = np.log(0.9), np.log(0.05)
    logp = np.array([[good] * 300 + [bad] * 300, [bad] * 300 + [good] * 300])
    tokens, losses = np.zeros(600, np.int64), {}
    for share in (0.0, 0.01):
        losses[share] = -ExponentiatedGradient([0.5, 0.5], 0.2, share).read(tokens, logp)[0].sum()
    assert losses[0.01] < losses[0.0]
    assert losses[0.01] < -mixed_logp(logp, fit_weights(logp).weights).sum()


def test_weights_come_back_and_cost_little_where_nothing_changes() -> None:
    good, bad = np.log(0.9), np.log(0.05)
    parts, tokens = 12_000, np.zeros(24_000, np.int64)
    logp = np.repeat([[good, bad], [bad, good]], parts, axis=1)
    mixed, used = ExponentiatedGradient([0.5, 0.5]).read(tokens, logp)
    forgets = ExponentiatedGradient([0.5, 0.5], share=0.0).read(tokens, logp)[0]
    assert used.min() > 1e-7 and used[1, parts + 1000] > 0.9
    assert (forgets[:parts] - mixed[:parts]).mean() / np.log(2) < 0.001
    assert forgets[parts:].sum() < mixed[parts:].sum() - 1000


def test_a_member_that_gives_nothing_does_no_harm() -> None:
    logp = np.array([[-np.inf, np.log(0.5)] * 50, [np.log(0.25)] * 100])
    mixed, used = ExponentiatedGradient([0.5, 0.5]).read(np.zeros(100, np.int64), logp)
    assert np.isfinite(mixed).all()
    np.testing.assert_allclose(used.sum(0), 1)


def test_it_starts_again_where_texts_begin() -> None:
    logp = experts(1)
    rule = ExponentiatedGradient(np.full(len(logp), 1 / len(logp)))
    tokens = np.zeros(logp.shape[1], np.int64)
    whole, _ = rule.read(tokens, logp, (0, 100))
    np.testing.assert_array_equal(whole[100:], rule.read(tokens[100:], logp[:, 100:])[0])
