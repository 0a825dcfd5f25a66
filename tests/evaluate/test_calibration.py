"""Calibration by hand, and of a calibrated model by simulation."""

import itertools

import numpy as np
import pytest

from foretell.evaluate.calibration import calibration


def test_by_hand() -> None:
    """Two bins: in (0, 0.5] 0.4 and 0.5 with one right, in (0.5, 1] 0.9 and 1.0 with both right."""
    found = calibration([(0.4, True), (0.5, False), (0.9, True), (1.0, True)], bins=2)
    assert found["ece"] == pytest.approx((2 * abs(0.5 - 0.45) + 2 * abs(1 - 0.95)) / 4)
    assert [(one["from"], one["to"], one["predictions"]) for one in found["table"]] == [(0, 0.5, 2), (0.5, 1, 2)]
    assert [one["accuracy"] for one in found["table"]] == [0.5, 1]


def test_as_the_definition_says() -> None:
    """The sum over bins of |B| / n |acc(B) - conf(B)|, each bin by a mask of its own."""
    random = np.random.default_rng(0)
    p, right = random.random(500), random.random(500) < 0.6
    edges, expected = np.linspace(0, 1, 16), 0.0
    for low, high in itertools.pairwise(edges):
        inside = (p > low) & (p <= high)
        expected += inside.mean() * abs(right[inside].mean() - p[inside].mean())
    assert calibration(list(zip(p, right, strict=True)))["ece"] == pytest.approx(expected)


def test_a_calibrated_model_and_one_that_is_too_sure() -> None:
    random = np.random.default_rng(1)
    p = random.random(20_000)
    right = random.random(20_000) < p
    assert calibration(list(zip(p, right, strict=True)))["ece"] < 0.02
    assert calibration(list(zip(np.ones(20_000), right, strict=True)))["ece"] == pytest.approx(0.5, abs=0.02)
