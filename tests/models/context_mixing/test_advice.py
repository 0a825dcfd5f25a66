"""Advice is the exact distribution of the next byte, bit by bit."""

import numpy as np
import pytest

from foretell.models.context_mixing import contexts, selectors
from foretell.models.context_mixing.advice import advised, along, changes, node_log_odds, with_changes
from foretell.models.context_mixing.model import ContextMixing, ContextMixingConfig


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


def test_changes_restore_what_was_learned() -> None:
    config = ContextMixingConfig(contexts=contexts.ALL[:3], mixers=selectors.ALL[:2])
    plain, rng = advised(ContextMixing(config.empty(8)), 2), np.random.default_rng(2)
    learned = plain.copy()
    tokens = rng.integers(0, 257, 300)
    learned.learn(tokens, rng.normal(size=(300, 2, 8)).astype(np.float32))
    found = changes(plain, learned)
    restored = with_changes(plain, found)
    for name in ("mixers", "final", "refined"):
        np.testing.assert_array_equal(getattr(restored.tables, name), getattr(learned.tables, name))
        assert 0 < len(found[f"{name}_rows"]) < len(getattr(plain.tables, name).reshape(-1, found[name].shape[1]))
    for name, value in (("mixers_rows", 10**9), ("mixers", np.inf), ("final", np.nan)):
        wrong = {**found, name: found[name].copy()}
        wrong[name].flat[0] = value
        with pytest.raises(ValueError, match="not those of this"):
            with_changes(plain, wrong)
