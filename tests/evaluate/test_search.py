"""The search for one number: where it starts, how far it goes on."""

import math

import pytest

from foretell.evaluate.search import climb


@pytest.mark.parametrize(("best", "found"), [(3.0, 4.0), (40.0, 32.0), (0.3, 0.25), (1.0, 1.0)])
def test_the_best_rung_within_and_beyond(best: float, found: float) -> None:
    tried: list[float] = []

    def loss(value: float) -> float:
        tried.append(value)
        return abs(math.log(value / best))

    assert climb(loss, (1.0, 2.0, 4.0)) == found
    assert len(tried) == len(set(tried))


def test_what_has_no_effect_and_zero() -> None:
    assert climb(lambda _: 1.0, (0.1, 0.2)) == 0.1
    assert climb(lambda value: value, (0.0, 0.5)) == 0.0
    assert climb(lambda value: -value, (1.0,)) == 2.0**12
