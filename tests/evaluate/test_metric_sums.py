"""Metrics of sums are the metrics of lists: of all examples, and of any that are drawn several times or not at all."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from foretell.evaluate import metric_sums, task_metrics
from foretell.evaluate.bootstrap import Floats, bootstrap

NAMES = "abc"
Lists = tuple[Sequence[Any], Sequence[Any]]


def repeated(values: Sequence[Any], times: Sequence[int]) -> list[Any]:
    """Each value as often as said."""
    return [value for value, count in zip(values, times, strict=True) for _ in range(count)]


def sums(tally: metric_sums.Tally, times: Sequence[int]) -> Floats:
    """What is added by examples drawn so often."""
    total: Floats = np.asarray(times) @ tally.parts
    return total


@st.composite
def drawn(draw: st.DrawFn, element: st.SearchStrategy[Any]) -> tuple[Lists, list[int]]:
    """Truth and what was told of some examples, and how often each is drawn; at least one of them is."""
    pairs = draw(st.lists(st.tuples(element, element), min_size=1, max_size=12))
    times = draw(st.lists(st.integers(0, 3), min_size=len(pairs), max_size=len(pairs)).filter(any))
    truth, found = zip(*pairs, strict=True)
    return (truth, found), times


@settings(max_examples=150, deadline=None)
@given(drawn(st.sampled_from(NAMES)), st.sampled_from(["accuracy", "macro_f1", "f1", "matthews"]))
def test_one_class(case: tuple[Lists, list[int]], metric: str) -> None:
    """Labels that no draw has count as never right, as where scikit-learn is told of all labels."""
    (truth, found), times = case
    tally = metric_sums.classes(metric, truth, found, "a")
    kept = [repeated(side, times) for side in (truth, found)]
    expected = task_metrics.classification(*kept, "a")[metric]
    if metric == "macro_f1":
        labels = {*truth, *found}
        expected *= len({*kept[0], *kept[1]}) / len(labels)
    assert tally.metric(sums(tally, times)) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(drawn(st.frozensets(st.sampled_from(NAMES), max_size=3)), st.sampled_from(["accuracy", "micro_f1", "macro_f1"]))
def test_several_classes(case: tuple[Lists, list[int]], metric: str) -> None:
    (truth, found), times = case
    tally = metric_sums.classes(metric, truth, found)
    kept = [repeated(side, times) for side in (truth, found)]
    expected = task_metrics.multi_label(*kept)[metric]
    if metric == "macro_f1":
        every, left = (
            len({label for side in lists for one in side for label in one}) for lists in ((truth, found), kept)
        )
        expected *= left / every if every else 1
    assert tally.metric(sums(tally, times)) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(drawn(st.integers(-3, 3)))
def test_correlations(case: tuple[Lists, list[int]]) -> None:
    (truth, found), times = case
    tally = metric_sums.correlation(truth, found)
    kept = [repeated(side, times) for side in (truth, found)]
    assert tally.metric(sums(tally, times)) == pytest.approx(task_metrics.pearson(*kept), abs=1e-9)
    ranked = metric_sums.correlation(task_metrics.ranks(truth), task_metrics.ranks(found))
    assert ranked.metric(ranked.parts.sum(0)) == pytest.approx(task_metrics.spearman(truth, found), abs=1e-9)
    kept = [repeated(stats.rankdata(side).tolist(), times) for side in (truth, found)]
    assert ranked.metric(sums(ranked, times)) == pytest.approx(task_metrics.pearson(*kept), abs=1e-9)


def test_no_label_anywhere() -> None:
    nothing: list[list[str]] = [[], []]
    found = {metric: metric_sums.classes(metric, nothing, nothing) for metric in ("accuracy", "micro_f1", "macro_f1")}
    told = {metric: float(tally.metric(tally.parts.sum(0))) for metric, tally in found.items()}
    assert told == task_metrics.multi_label(nothing, nothing)


def test_many_sums_at_once() -> None:
    random = np.random.default_rng(0)
    truth, found = (random.choice(list("abcd"), 50).tolist() for _ in range(2))
    times = random.integers(0, 3, (7, 50))
    for metric in ("accuracy", "macro_f1", "f1", "matthews"):
        tally = metric_sums.classes(metric, truth, found, "b")
        at_once = tally.metric(times @ tally.parts)
        assert at_once.tolist() == pytest.approx([float(tally.metric(one @ tally.parts)) for one in times])


def interval_of(metric: Callable[[Floats], Floats], first: Floats, second: Floats, seed: int) -> Any:
    width = first.shape[1]
    both = np.hstack([first, second])
    return bootstrap(both, lambda s: metric(s[..., :width]) - metric(s[..., width:]), resamples=1000, seed=seed)


def test_a_known_difference_of_f1_is_covered() -> None:
    """Two taggers that find 80 and 70 of 100 spans and tell as many wrong ones as the other misses: F1 apart by 0.1."""
    draw, covered = np.random.default_rng(1), []
    for seed in range(300):
        there = draw.integers(0, 5, 150)
        sides = []
        for rate in (0.8, 0.7):
            right = draw.binomial(there, rate)
            sides.append(metric_sums.f1(right, there, right + draw.binomial(there, 1 - rate)))
        found = interval_of(sides[0].metric, sides[0].parts, sides[1].parts, seed)
        covered.append(found.low <= 0.1 <= found.high)
    assert 0.90 <= np.mean(covered) <= 0.98
