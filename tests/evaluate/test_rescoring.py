"""Weights for n-best lists: the line search against trying every interval, tuning against a known truth."""

import numpy as np
import pytest

from foretell.evaluate.rescoring import Lists, argmax_by_group, best_step, envelope, tune


def lists(seed: int, groups: int = 40, features: int = 3) -> Lists:
    draw = np.random.default_rng(seed)
    edges = np.concatenate([[0], np.cumsum(draw.integers(1, 9, groups))])
    return Lists(draw.normal(size=(edges[-1], features)), draw.integers(0, 6, edges[-1]).astype(float), edges)


def test_the_first_of_equal_ones_is_picked() -> None:
    scores = np.array([1.0, 3.0, 3.0, 5.0, 2.0, 2.0])
    assert argmax_by_group(scores, np.array([0, 3, 4, 6])).tolist() == [1, 3, 4]


@pytest.mark.parametrize("seed", range(20))
def test_the_envelope_is_the_highest_line_everywhere(seed: int) -> None:
    draw = np.random.default_rng(seed)
    scores, slopes = draw.integers(-3, 4, 12).astype(float), draw.integers(-3, 4, 12).astype(float)
    winners, places = envelope(scores, slopes)
    assert len(places) == len(winners) - 1 and places == sorted(places)
    for x in np.linspace(-9.03, 9.07, 400):
        winner = winners[int(np.searchsorted(places, x))]
        assert scores[winner] + x * slopes[winner] == pytest.approx((scores + x * slopes).max())


@pytest.mark.parametrize("seed", range(10))
def test_no_point_of_the_line_is_better(seed: int) -> None:
    found = lists(seed)
    draw = np.random.default_rng(seed + 100)
    weights, direction = draw.normal(size=3), draw.normal(size=3)
    step = best_step(found, weights, direction)
    tried = [found.total(weights + x * direction) for x in np.linspace(-10, 10, 601)]
    assert found.total(weights + step * direction) <= min(tried)


def test_finds_the_weights_that_make_no_errors() -> None:
    """Errors are the distance to the hypothesis that hidden weights prefer."""
    draw = np.random.default_rng(7)
    features = draw.normal(size=(2000, 4)) * np.array([30.0, 1.0, 5.0, 1.0])
    hidden = np.array([0.05, 0.7, -0.1, 0.0])
    scores = (features @ hidden).reshape(200, 10)
    errors = (scores.max(1, keepdims=True) - scores > 0).ravel().astype(float)
    found = Lists(features, errors, np.arange(0, 2001, 10))
    starts = np.eye(4).tolist()
    weights = tune(found, starts)
    assert found.least == 0
    assert found.total(weights) <= 6 < min(found.total(np.array(start)) for start in starts) / 5
    assert weights[:3] / weights[1] == pytest.approx(hidden[:3] / 0.7, abs=0.06)
    assert np.abs(weights).max() == pytest.approx(1)
    assert (tune(found, starts) == weights).all()


def test_never_worse_than_where_it_starts() -> None:
    for seed in range(6):
        found = lists(seed)
        starts = [[1.0, 0, 1], [1, 0, 0]]
        weights = tune(found, starts)
        assert found.least <= found.total(weights) <= min(found.total(np.array(start)) for start in starts)


def test_one_hypothesis_each() -> None:
    found = Lists(np.ones((3, 2)), np.array([1.0, 2, 0]), np.arange(4))
    assert found.total(tune(found, [[1.0, 0.0]])) == 3 == found.least


def test_scores_that_hardly_differ_do_not_lead_to_infinity() -> None:
    """Lines that cross beyond all numbers are parallel: weights stay finite, and no warning is raised."""
    features = np.array([[1.0, 0.0], [0.0, 1e-320], [1e30, 5e-324], [-1e30, 0.0]])
    found = Lists(features, np.array([1.0, 0, 2, 0]), np.array([0, 2, 4]))
    with np.errstate(divide="raise", invalid="raise"):
        weights = tune(found, np.eye(2).tolist())
    assert np.isfinite(weights).all() and found.total(weights) == 0
