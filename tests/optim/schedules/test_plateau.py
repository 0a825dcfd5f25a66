"""Drops when validation stops improving."""

import json

import pytest

from foretell.config import Amount
from foretell.optim.progress import Progress
from foretell.optim.schedules.plateau import PlateauConfig


def at(step: int) -> Progress:
    """Twenty steps of ten tokens and half a second each, four to an epoch."""
    return Progress(step, step / 4, 10 * step, step / 2, step / 20)


@pytest.mark.parametrize(
    ("patience", "losses", "factors"),
    [
        (0, [5, 4, 4, 4.1, 3, 3.5, 3.4], [1, 1, 1, 0.25, 0.25, 1 / 16, 1 / 64]),
        # patience 2: only a loss above the best of all but the last two counts
        (2, [5, 4, 6, 6, 6, 6, 3], [1, 1, 1, 0.25, 0.25, 0.25, 0.25]),
        (2, [5, 4, 6, 6, 6, 6, 6], [1, 1, 1, 0.25, 0.25, 0.25, 1 / 16]),
    ],
)
def test_plateaus_by_hand(patience: int, losses: list[float], factors: list[float]) -> None:
    schedule = PlateauConfig(by=0.25, patience=patience).build()
    given = []
    for loss in losses:
        schedule.observe(loss)
        given.append(schedule(at(3)))
    assert given == factors


@pytest.mark.parametrize("by", [0.1, 0.5])
def test_dividing_by_ten_or_two_on_validation(by: float) -> None:
    schedule = PlateauConfig(by=by).build()
    for loss in (4.0, 3.0, 3.1, 2.9, 3.0):
        schedule.observe(loss)
    assert schedule(at(9)) == pytest.approx(by**2)


def test_state_is_json() -> None:
    schedule = PlateauConfig(warmup=Amount.model_validate("2steps")).build()
    for loss in (2.0, 3.0, 1 / 3):
        schedule.observe(loss)
    copy = PlateauConfig().build()
    copy.load_state_dict(json.loads(json.dumps(schedule.state_dict())))
    assert copy.state_dict() == schedule.state_dict()
