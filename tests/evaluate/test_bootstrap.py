"""The bootstrap covers the truth as often as it says, and its resampled_sums are those of a plain loop."""

import math

import numpy as np
import pytest

from foretell.evaluate.bootstrap import Interval, bootstrap_ratio, resampled_sums, too_few

REPETITIONS, RESAMPLES = 300, 300


def covered(sample: list[Interval], truth: float) -> float:
    return float(np.mean([interval.low <= truth <= interval.high for interval in sample]))


@pytest.mark.parametrize("documents", [40, 150])
def test_covers_a_known_difference(documents: int) -> None:
    """Two models that differ by 0.05 bits per byte on documents of very different lengths."""
    draw, found = np.random.default_rng(1), []
    for seed in range(REPETITIONS):
        sizes = np.round(draw.lognormal(7, 0.8, documents))
        differences = sizes * 0.05 + draw.normal(0, 2.0, documents) * np.sqrt(sizes)
        found.append(bootstrap_ratio(differences, sizes, resamples=RESAMPLES, seed=seed))
    assert 0.90 <= covered(found, 0.05) <= 0.98


def clustered(draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens of 60 documents that share a topic: [N] differences, sizes, and the document of each."""
    lengths = draw.integers(20, 120, 60)
    document = np.repeat(np.arange(60), lengths)
    topic = draw.normal(0, 0.3, 60)[document]
    sizes = draw.integers(1, 9, len(document)).astype(float)
    return sizes * (0.1 + topic) + draw.normal(0, 0.5, len(document)), sizes, document


def test_documents_are_the_parts_not_tokens() -> None:
    """What is alike within documents is covered when they are drawn, and not when tokens are."""
    draw, by_document, by_token = np.random.default_rng(2), [], []
    for seed in range(REPETITIONS):
        differences, sizes, document = clustered(draw)
        totals = (np.bincount(document, differences), np.bincount(document, sizes))
        by_document.append(bootstrap_ratio(*totals, resamples=RESAMPLES, seed=seed))
        if seed < 20:
            by_token.append(bootstrap_ratio(differences, sizes, resamples=200, seed=seed))
    assert 0.90 <= covered(by_document, 0.1) <= 0.98
    assert covered(by_token, 0.1) < 0.6


def test_no_difference_is_found_where_there_is_none() -> None:
    draw = np.random.default_rng(3)
    found = [
        bootstrap_ratio(draw.normal(0, 1, 80), np.ones(80), resamples=RESAMPLES, seed=i) for i in range(REPETITIONS)
    ]
    assert 0.02 <= np.mean([interval.real for interval in found]) <= 0.10
    assert np.mean([interval.better for interval in found]) == pytest.approx(0.5, abs=0.05)


def test_skewed_differences() -> None:
    """A few documents with large differences: where the plain percentiles miss too often."""
    draw, found = np.random.default_rng(4), []
    for seed in range(REPETITIONS):
        differences = draw.exponential(1.0, 30) - 0.5
        found.append(bootstrap_ratio(differences, np.ones(30), resamples=RESAMPLES, seed=seed))
    assert 0.90 <= covered(found, 0.5) <= 0.98


def test_near_the_normal_interval() -> None:
    values = np.random.default_rng(5).normal(0.3, 1, 2000)
    found = bootstrap_ratio(values, np.ones(2000))
    half = 1.959964 * values.std() / math.sqrt(2000)
    assert found.low == pytest.approx(values.mean() - half, abs=0.004)
    assert found.high == pytest.approx(values.mean() + half, abs=0.004)
    assert found.difference == pytest.approx(values.mean())
    assert found.real and found.better == 0


def test_p_values_are_uniform_without_a_difference_and_agree_with_the_interval() -> None:
    draw = np.random.default_rng(8)
    found = [
        bootstrap_ratio(draw.normal(0, 1, 80) + draw.exponential(0.3, 80) - 0.3, np.ones(80), resamples=1000, seed=seed)
        for seed in range(REPETITIONS)
    ]
    values = np.array([interval.p_value for interval in found])
    for level in (0.05, 0.2, 0.5, 0.8):
        assert np.mean(values <= level) == pytest.approx(level, abs=3.5 * math.sqrt(level * (1 - level) / REPETITIONS))
    unclear = np.abs(values - 0.05) < 0.01  # the interval interpolates between resamples
    assert all(i.real == (i.p_value < 0.05) for i, skip in zip(found, unclear, strict=True) if not skip)


def test_p_values_of_many_parts_are_those_of_a_z_test() -> None:
    values = np.random.default_rng(9).normal(0.04, 1, 2000)
    z = abs(values.mean()) / (values.std() / math.sqrt(2000))
    found = bootstrap_ratio(values, np.ones(2000), resamples=8000)
    assert found.p_value == pytest.approx(math.erfc(z / math.sqrt(2)), abs=0.01)
    assert found.p_value == pytest.approx(2 * min(found.better, 1 - found.better), abs=0.01)


def test_draws_are_sums_of_as_many_parts() -> None:
    values = np.stack([np.arange(7.0), np.ones(7)], 1)
    (drawn,) = resampled_sums(values, 300, np.random.default_rng(0))
    assert (drawn[:, 1] == 7).all()
    assert drawn[:, 0].mean() == pytest.approx(21, abs=1.5)
    assert drawn[:, 0].var() == pytest.approx(7 * 4, rel=0.3)  # 7 resampled_sums of variance (7^2 - 1) / 12 = 4


def test_seeds_and_edges() -> None:
    values = np.array([0.1, -0.2, 0.4, 0.3, -0.1])
    assert bootstrap_ratio(values, np.ones(5)) == bootstrap_ratio(values, np.ones(5))
    assert bootstrap_ratio(values, np.ones(5)) != bootstrap_ratio(values, np.ones(5), seed=1)
    alone = bootstrap_ratio(values[:1], np.ones(1))
    assert (alone.low, alone.high, alone.real) == (-math.inf, math.inf, False)
    same = bootstrap_ratio(np.zeros(50), np.ones(50))
    assert (same.low, same.high, same.better, same.p_value, same.real) == (0, 0, 0.5, 1, False)
    constant = bootstrap_ratio(np.full(50, -2.0), np.ones(50))
    assert (constant.low, constant.high, constant.better) == (-2, -2, 1) and constant.real
    assert constant.p_value == 2 / 4001


def test_chunks_do_not_matter_for_the_size_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(6).normal(size=100)
    whole = bootstrap_ratio(values, np.ones(100))
    monkeypatch.setattr("foretell.evaluate.bootstrap.AT_ONCE", 1000)
    assert bootstrap_ratio(values, np.ones(100)) == whole


@pytest.mark.parametrize("parts", [1, 4])
def test_few_parts_have_no_interval(parts: int) -> None:
    found = bootstrap_ratio(np.full(parts, 0.5), np.ones(parts)).record()
    assert found["difference"] == 0.5 and not found["real"]
    assert [found[key] for key in ("interval", "low", "high", "p_better", "p_value")] == [None] * 5
    assert found["reason"] == "fewer than 5 parts"


def test_what_is_said_of_few_parts() -> None:
    assert too_few(4) == "no intervals from 4 parts: take a longer text with at least 5 parts"
    assert too_few(5) == "intervals from 5 parts are too narrow: take a longer text"
    assert too_few(19) and too_few(20) is None
    whole = bootstrap_ratio(np.arange(5.0), np.ones(5)).record()
    assert whole["interval"] == [whole["low"], whole["high"]] and whole["reason"] is None
