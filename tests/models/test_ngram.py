"""Looking words up, their ranks and whole distributions agree with one another."""

import math

import numpy as np
import pytest
from pydantic import ValidationError

from foretell.models.ngram import BEST, NGram, NGramConfig

BOUNDARY, VOCABULARY, ORDER = 0, 12, 4


@pytest.fixture(scope="module")
def model() -> NGram:
    tokens = np.minimum(np.random.default_rng(0).geometric(0.25, 3000), VOCABULARY - 1) - 1
    return NGramConfig(order=ORDER).fit(tokens.astype(np.uint16), np.zeros(0, np.int64), BOUNDARY, VOCABULARY)


def texts(rows: int = 40, steps: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Text [B, order - 1 + T] and the words [B, T] that follow each place."""
    random = np.random.default_rng(1).integers(0, VOCABULARY, (rows, ORDER - 1 + steps + 1))
    return random[:, :-1], random[:, ORDER:]


def test_distributions_hold_the_looked_up_probabilities_and_sum_to_one(model: NGram) -> None:
    text, words = texts()
    logp, _ = model.logp(text, words)
    for step in range(words.shape[1]):
        every = model.distribution(text[:, : ORDER + step])
        np.testing.assert_allclose(np.exp(every.astype(np.float64)).sum(1), 1, atol=1e-6)
        np.testing.assert_allclose(every[np.arange(len(every)), words[:, step]], logp[:, step], atol=1e-5)


def test_ranks_are_those_of_the_distributions(model: NGram) -> None:
    text, words = texts()
    rank = model.ranks(text, words)
    for step in range(words.shape[1]):
        every = model.distribution(text[:, : ORDER + step])
        own = every[np.arange(len(every)), words[:, step]]
        wanted = np.minimum((every > own[:, None] + 1e-6).sum(1), BEST)
        assert rank[:, step].tolist() == wanted.tolist()
    assert set(rank.ravel().tolist()) == {0, 1, 2, 3, 4, 5}


def test_what_is_saved_is_what_is_loaded(model: NGram) -> None:
    text, words = texts()
    again = NGram.load(model.tensors(), BOUNDARY)
    np.testing.assert_array_equal(again.logp(text, words)[0], model.logp(text, words)[0])
    assert again.parameters == model.parameters


def test_pruning_leaves_fewer_n_grams_and_a_distribution(model: NGram) -> None:
    tokens = np.minimum(np.random.default_rng(0).geometric(0.25, 3000), VOCABULARY - 1) - 1
    pruned = NGramConfig(order=ORDER, prune=(0, 0, 1)).fit(
        tokens.astype(np.uint16), np.zeros(0, np.int64), BOUNDARY, VOCABULARY
    )
    assert len(pruned.orders[1]) == len(model.orders[1])
    assert all(len(pruned.orders[i]) < len(model.orders[i]) for i in (2, 3))
    text, _ = texts()
    np.testing.assert_allclose(np.exp(pruned.distribution(text).astype(np.float64)).sum(1), 1, atol=1e-6)
    assert not math.isnan(float(pruned.distribution(text).sum()))


@pytest.mark.parametrize(
    "settings", [{"order": 0}, {"order": 8}, {"prune": (1,)}, {"prune": (0, 2, 1)}, {"fallback": (2.0, 1.0, 1.5)}]
)
def test_senseless_settings_are_refused(settings: dict) -> None:
    with pytest.raises(ValidationError):
        NGramConfig(**settings)
