"""The search for one number: where it starts, how far it goes on."""

import math

import pytest

from foretell.errors import ConfigError
from foretell.evaluate.hill_climb import climb


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


def test_what_is_not_a_number_never_wins() -> None:
    assert climb(lambda value: math.nan if value < 0.2 else value, (0.1, 0.2, 0.4)) == 0.2
    assert climb(lambda value: math.nan if value > 0.1 else value, (0.1, 0.2)) < 0.1
    with pytest.raises(ConfigError, match=r"no value from 0\.1 to 0\.2 gives a finite loss"):
        climb(lambda _: math.nan, (0.1, 0.2))
