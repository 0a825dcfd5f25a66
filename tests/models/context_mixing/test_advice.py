"""Advice is the exact distribution of the next byte, bit by bit."""

import numpy as np

from foretell.models.context_mixing.advice import along, node_log_odds


def test_log_odds_along_a_byte_give_back_its_probability() -> None:
    p = np.random.default_rng(1).dirichlet(np.ones(257), 50)
    tokens = np.arange(1, 257, 5)[:50]
    odds = along(node_log_odds(np.log(p)), tokens).astype(np.float64)
    bits = (tokens - 1)[:, None] >> (7 - np.arange(8)) & 1
    logp = -np.logaddexp(0, np.where(bits, -odds, odds)).sum(1)
    np.testing.assert_allclose(logp, np.log(p[np.arange(50), tokens] / (1 - p[:, 0])), atol=1e-5)


def test_certainty_is_limited() -> None:
    logp = np.full(257, -np.inf)
    logp[1 + 0b10110010] = 0
    odds = along(node_log_odds(logp[None]), np.array([1 + 0b10110010]))[0]
    assert odds.tolist() == [12, -12, 12, 12, -12, -12, 12, -12]
