"""Warm-up, and what is left of the time after it."""

import pytest

from foretell.config import Amount
from foretell.optim.progress import Progress
from foretell.optim.schedules.polynomial import LinearConfig
from foretell.optim.schedules.step import StepsConfig


def at(step: int) -> Progress:
    """Twenty steps of ten tokens and half a second each, four to an epoch."""
    return Progress(step, step / 4, 10 * step, step / 2, step / 20)


def test_the_fraction_starts_at_the_end_of_the_warm_up() -> None:
    schedule = LinearConfig(warmup=Amount(value=4, unit="steps")).build()
    assert [schedule(at(step)) for step in (0, 3, 4, 12, 20)] == pytest.approx([0.25, 1, 1, 0.5, 0])


def test_the_first_of_several_ends_counts() -> None:
    schedule = LinearConfig(over=(Amount(value=10, unit="steps"), Amount(value=1, unit="epochs"))).build()
    assert [schedule(at(step)) for step in (0, 2, 4, 9)] == pytest.approx([1, 0.5, 0, 0])


def test_the_state_has_the_end_of_the_warm_up() -> None:
    assert StepsConfig().build().state_dict() == {"warm_at": 0.0}
    schedule = LinearConfig(warmup=Amount(value=4, unit="steps")).build()
    assert schedule.state_dict() == {"warm_at": None}
    schedule(at(5))
    assert schedule.state_dict() == {"warm_at": 0.25}
