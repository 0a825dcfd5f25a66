"""Every schedule against a table written by hand, and across an interruption."""

import math
from typing import Any

import pytest
from builders import members, name_of, small

from foretell.config import Amount, Config, ConfigError, validate
from foretell.optim.schedules import PlateauConfig, Progress, ScheduleChoice, StepsConfig
from foretell.optim.trigger import non_monotone

LIMIT, PER_EPOCH = 20, 4  # steps


def at(step: int) -> Progress:
    """Twenty steps of ten tokens and half a second each, four to an epoch."""
    return Progress(step, step / PER_EPOCH, 10 * step, step / 2, step / LIMIT)


def make(kind: str, **settings: Any) -> Config:
    member = {member.kind_name(): member for member in members(ScheduleChoice)}[kind]
    return validate(member, settings, "test")


HALF = math.cos(math.pi / 4)
TABLE: dict[str, tuple[Config, dict[int, float]]] = {
    "constant": (make("constant"), {0: 1, 7: 1, 20: 1}),
    "constant-warm": (make("constant", warmup="4steps"), {0: 1 / 4, 1: 2 / 4, 3: 1, 4: 1, 20: 1}),
    "linear": (make("linear"), {0: 1, 5: 0.75, 10: 0.5, 19: 0.05, 20: 0}),
    "linear-floor": (make("linear", floor=0.2), {0: 1, 10: 0.6, 20: 0.2}),
    "linear-warm": (
        make("linear", warmup="4steps"),
        {0: 0.25, 3: 1, 4: 1, 8: 0.75, 12: 0.5, 20: 0},
    ),
    "linear-warm-epochs": (
        make("linear", warmup="1epochs"),
        {0: 1e-3, 1: 0.25, 3: 0.75, 4: 1, 12: 0.5, 20: 0},
    ),
    "linear-warm-tokens": (make("linear", warmup="40tokens"), {1: 0.25, 4: 1, 12: 0.5}),
    "linear-warm-time": (make("linear", warmup="2s"), {1: 0.25, 4: 1, 12: 0.5}),
    "cosine": (
        make("cosine"),
        {0: 1, 5: (1 + HALF) / 2, 10: 0.5, 15: (1 - HALF) / 2, 20: 0},
    ),
    "cosine-floor-warm": (
        make("cosine", floor=0.1, warmup="10steps"),
        {0: 0.1, 4: 0.5, 9: 1, 10: 1, 15: 0.55, 20: 0.1},
    ),
    "steps-at": (
        make("steps", by=0.1, at=["2epochs", "12steps"]),
        {0: 1, 7: 1, 8: 0.1, 11: 0.1, 12: 0.01, 20: 0.01},
    ),
    "steps-after": (  # four epochs, then halved for each: Zaremba et al., section 4.1
        make("steps", by=0.5, after="2epochs", every="1epochs"),
        {0: 1, 7: 1, 8: 0.5, 11: 0.5, 12: 0.25, 15: 0.25, 16: 0.125, 20: 0.0625},
    ),
    "steps-after-once": (make("steps", by=0.5, after="10steps"), {9: 1, 10: 0.5, 20: 0.5}),
    "plateau": (make("plateau", by=0.5), {0: 1, 20: 1}),
}


def test_every_kind_is_in_the_table() -> None:
    assert {type(config) for config, _ in TABLE.values()} == set(members(ScheduleChoice))


@pytest.mark.parametrize("name", TABLE)
def test_factors(name: str) -> None:
    config, expected = TABLE[name]
    schedule = config.build()
    given = {step: schedule(at(step)) for step in range(LIMIT + 1)}
    assert {step: given[step] for step in expected} == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("member", members(ScheduleChoice), ids=name_of)
@pytest.mark.parametrize("unit", ["4steps", "1epochs", "40tokens", "2s"])
def test_warm_up_rises_to_one_in_every_kind(member: type[Config], unit: str) -> None:
    schedule = small(member, warmup=unit).build()
    factors = [schedule(at(step)) for step in range(5)]
    assert factors[:4] == sorted(factors[:4])
    assert 0 < factors[0] <= 0.25
    assert factors[4] == 1


LOSSES = {step: 3 + math.sin(step) for step in range(0, LIMIT, 3)}


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("stop", [1, 4, 5, 13])
def test_going_on_is_as_if_never_stopped(name: str, stop: int) -> None:
    config, _ = TABLE[name]
    whole, first, second = (config.build() for _ in range(3))
    for step in range(LIMIT):
        if step == stop:
            second.load_state_dict(first.state_dict())
        part = first if step < stop else second
        assert whole(at(step)) == part(at(step))
        if step in LOSSES:
            whole.observe(LOSSES[step])
            part.observe(LOSSES[step])


def test_moments_in_different_units_cannot_be_told_apart() -> None:
    """`every` counts on from `after`: in epochs and steps mixed there is no such count."""
    with pytest.raises(ConfigError, match=r"every.*same unit"):
        make("steps", after="4epochs", every="100steps")
    with pytest.raises(ConfigError, match="after"):
        make("steps", every="100steps")


# --- plateaus and the non-monotone rule -----------------------------------------------------------


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


@pytest.mark.parametrize(
    ("history", "current", "patience", "fires"),
    [
        # Users of the original took hist[:-n] for a bug: it is meant. What came in the last n
        # looks does not count, so one bad value is forgiven until n more have come.
        ([], 1.0, 5, False),
        ([1, 2, 3], 9.0, 5, False),  # fewer than the patience
        ([1, 2, 3, 4, 5], 9.0, 5, False),  # as many as the patience: nothing settled
        ([1, 2, 3, 4, 5, 6], 9.0, 5, True),  # only the 1 is settled, 9 is above it
        ([1, 2, 3, 4, 5, 6], 1.0, 5, False),  # equal is not above
        ([9, 1, 1, 1, 1, 1], 8.0, 5, False),  # the ones are too recent to count
        ([9, 1, 1, 1, 1, 1], 9.5, 5, True),
        ([3, 2, 1], 1.5, 0, True),  # patience 0: the whole history counts
        ([3, 2, 1], 1.0, 0, False),
        ([3, 2, 1], 2.5, 1, True),
        ([3, 2, 1], 2.5, 2, False),
    ],
)
def test_the_non_monotone_rule_by_hand(history: list[float], current: float, patience: int, fires: bool) -> None:
    assert non_monotone(history, current, patience) is fires


def test_state_is_json() -> None:
    import json

    schedule = PlateauConfig(warmup=Amount.model_validate("2steps")).build()
    for loss in (2.0, 3.0, 1 / 3):
        schedule.observe(loss)
    copy = PlateauConfig().build()
    copy.load_state_dict(json.loads(json.dumps(schedule.state_dict())))
    assert copy.state_dict() == schedule.state_dict()
    assert StepsConfig().build().state_dict() == {"warm_at": 0.0}
