"""Probabilities, against a slow reference; they sum to one."""

import numpy as np
import pytest
from models.unbounded_ngram.reference import distribution, pairs_of

from foretell.models.unbounded_ngram import predicting
from foretell.models.unbounded_ngram.model import UnboundedNGram
from foretell.models.unbounded_ngram.predicting import CELLS, TABLES, Weights, first_weights, weights_of

V = 5


def random_weights(random: np.random.Generator) -> Weights:
    return weights_of(random.normal(0, 2, (TABLES, CELLS)), np.ones((TABLES, CELLS)))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("grows", [False, True])
def test_distributions_are_those_of_the_reference(seed: int, grows: bool) -> None:
    random = np.random.default_rng(seed)
    text = random.choice(V + 1, 60, p=[0.4, 0.3, 0.15, 0.1, 0.03, 0.02]).astype(np.int32)  # V: contexts end
    weights = random_weights(random), random_weights(random)
    text[-1] = V
    model = UnboundedNGram.of(text, 0, V, weights)
    trained, context = pairs_of(text.tolist(), ended=True), [0]
    place = model.start(grows=grows)
    place.follow(np.array([0]))
    for token in random.choice(V, 40, p=[0.4, 0.3, 0.2, 0.05, 0.05]).tolist():
        read = pairs_of(context, ended=False)[1:] if grows else None
        wanted = distribution(trained, read, context, weights[grows], V)
        found = np.exp(place.distribution())
        np.testing.assert_allclose(found, wanted, rtol=1e-9)
        assert abs(found.sum() - 1) < 1e-9
        assert place.learn(np.array([token]), 0.0)[0] == pytest.approx(np.log(wanted[token]), abs=1e-9)
        context.append(token)


@pytest.mark.parametrize("length", [252, 253, 254, 255, 256])
@pytest.mark.parametrize("grows", [False, True])
def test_distributions_sum_to_one_after_passages_longer_than_contexts_are_counted(length: int, grows: bool) -> None:
    random = np.random.default_rng(length)
    passage = random.integers(0, 2, 300)
    ends = [passage[-random.integers(250, 301) :] if k % 2 else passage for k in range(60)]
    repeated = [np.concatenate([random.integers(2, V, 1), end, random.integers(0, 2, 1)]) for end in ends]
    model = UnboundedNGram.of(np.append(np.concatenate(repeated), V).astype(np.int32), 0, V)
    place = model.start(grows=grows)
    place.follow(np.array([0]))
    if grows:
        place.learn(np.concatenate(repeated[:5]))
    place.follow(np.append(4, passage[-length:]))
    assert np.exp(place.distribution()).sum() == pytest.approx(1, abs=1e-9)


def test_weights_move_along_the_gradient() -> None:
    random = np.random.default_rng(3)
    text, tokens = np.append(random.integers(0, V, 80), V).astype(np.int32), np.array([0, 1, 2, 0, 1])
    weights = random_weights(random)

    def logp(logits: np.ndarray) -> float:
        model = UnboundedNGram.of(text, 0, V, (first_weights(), weights_of(logits, weights.squares)))
        place = model.start(grows=True)
        place.follow(tokens[:1])
        place.learn(tokens[1:-1], 0.0)
        return float(place.logp_of(tokens[-1:])[0])

    model = UnboundedNGram.of(text, 0, V, (first_weights(), weights_of(weights.logits.copy(), weights.squares.copy())))
    place = model.start(grows=True)
    place.follow(tokens[:1])
    place.learn(tokens[1:-1], 0.0)
    place.learn(tokens[-1:], 1.0)
    moved = np.argwhere(model.growing.weights.logits != weights.logits)
    assert len(moved) > 3
    for table, cell in moved:
        step = np.zeros((TABLES, CELLS))
        step[table, cell] = 1e-4
        slope = (logp(weights.logits + step) - logp(weights.logits - step)) / 2e-4
        took = model.growing.weights.logits[table, cell] - weights.logits[table, cell]
        assert took == pytest.approx(slope / np.sqrt(1 + slope**2), rel=1e-4, abs=1e-9)


def test_cells_are_within_their_table() -> None:
    assert predicting.cell_of(0, 0, 0) == 0
    assert predicting.cell_of(2**31 - 2, 2**31 - 2, 2**31 - 2) == CELLS - 1
    assert predicting.cell_of(3, 5, 1) != predicting.cell_of(3, 9, 1)
