"""Every schedule against a table written by hand, and across an interruption."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from builders import members, name_of, small

from foretell.config import Config, validate
from foretell.optim.non_monotone import non_monotone
from foretell.optim.progress import Progress
from foretell.optim.schedules.kinds import ScheduleChoice
from foretell.optim.schedules.schedule import Schedule

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
    "linear-over": (  # min(10 steps, 3 epochs of 4 steps)
        make("linear", over=["10steps", "3epochs"]),
        {0: 1, 5: 0.5, 9: 0.1, 10: 0, 20: 0},
    ),
    "linear-over-epochs": (  # min(100 steps, 3 epochs)
        make("linear", over=["100steps", "3epochs"]),
        {0: 1, 3: 0.75, 6: 0.5, 12: 0, 20: 0},
    ),
    "cosine-over-warm": (make("cosine", over=["12steps"], warmup="4steps"), {0: 0.25, 4: 1, 8: 0.5, 12: 0, 20: 0}),
    "polynomial": (make("polynomial", power=2.0), {0: 1, 5: 0.5625, 10: 0.25, 20: 0}),
    "polynomial-root": (
        make("polynomial", power=0.5, floor=0.2, warmup="4steps"),
        {0: 0.25, 4: 1, 16: 0.2 + 0.8 * 0.5, 20: 0.2},
    ),
    "linear-from-start": (  # as Google's BERT: 1 - n / 20, but for the warm-up
        make("linear", warmup="4steps", falls_from="start"),
        {0: 0.25, 3: 1, 4: 0.8, 10: 0.5, 20: 0},
    ),
    "polynomial-from-start": (
        make("polynomial", power=0.5, warmup="3steps", falls_from="start"),
        {3: 0.85**0.5, 15: 0.5},
    ),
    "wsd": (make("wsd", until=0.5), {0: 1, 9: 1, 10: 1, 11: 0.9, 15: 0.5, 20: 0}),
    "wsd-warm": (  # the share is that of the whole, whatever the warm-up
        make("wsd", until=0.75, floor=0.1, warmup="4steps"),
        {0: 0.25, 4: 1, 15: 1, 16: 0.82, 20: 0.1},
    ),
    "wsd-cosine": (make("wsd", until=0.6, fall="cosine"), {12: 1, 14: (1 + HALF) / 2, 16: 0.5, 20: 0}),
    "wsd-root": (make("wsd", until=0.2, fall="root"), {4: 1, 8: 0.5, 13: 0.25, 20: 0}),
    "wsd-over": (make("wsd", until=0.5, over=["3epochs"]), {6: 1, 9: 0.5, 12: 0, 20: 0}),
    "noam": (  # steps from 1: n / 4 up to the fourth, then sqrt(4 / n)
        make("noam", warmup="4steps"),
        {0: 0.25, 2: 0.75, 3: 1, 4: (4 / 5) ** 0.5, 8: 2 / 3, 15: 0.5},
    ),
    "noam-epochs": (make("noam", warmup="1epochs"), {1: 0.25, 4: 1, 9: 2 / 3, 16: 0.5}),
    "cyclic": (
        make("cyclic", cycle="2epochs", low=0.2),
        {0: 0.2, 2: 0.6, 4: 1, 6: 0.6, 8: 0.2, 12: 1, 16: 0.2, 20: 1},
    ),
    "cyclic-shrinking": (
        make("cyclic", cycle="8steps", low=0.2, shrink=0.5),
        {0: 0.2, 4: 1, 8: 0.2, 10: 0.4, 12: 0.6, 16: 0.2, 20: 0.4},
    ),
    "one-cycle": (
        make("one-cycle", rise=0.2, start=0.2, end=0.1),
        {0: 0.2, 1: 1 - 0.8 * (1 + HALF) / 2, 2: 0.6, 4: 1, 8: 0.1 + 0.9 * (1 + HALF) / 2, 12: 0.55, 20: 0.1},
    ),
    "one-cycle-linear": (
        make("one-cycle", rise=0.2, start=0.2, end=0.1, shape="linear"),
        {0: 0.2, 1: 0.4, 4: 1, 8: 0.775, 12: 0.55, 20: 0.1},
    ),
    "slanted": (  # for a rate of .01: .0003125 at both ends, .01 at the cut
        make("slanted"),
        {0: 0.03125, 1: 0.515625, 2: 1, 11: 0.515625, 20: 0.03125},
    ),
}


def test_every_kind_is_in_the_table() -> None:
    assert {type(config) for config, _ in TABLE.values()} == set(members(ScheduleChoice))


@pytest.mark.parametrize("name", TABLE)
def test_factors(name: str) -> None:
    config, expected = TABLE[name]
    schedule = config.build()
    given = {step: schedule(at(step)) for step in range(LIMIT + 1)}
    assert {step: given[step] for step in expected} == pytest.approx(expected, abs=1e-12)


# Others rise by a rule of their own.
WARM = [member for member in members(ScheduleChoice) if "warmup" in member.model_fields and member().warmup is None]


@pytest.mark.parametrize("member", WARM, ids=name_of)
@pytest.mark.parametrize("unit", ["4steps", "1epochs", "40tokens", "2s"])
def test_warm_up_rises_to_one(member: type[Config], unit: str) -> None:
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


# --- against formulas and torch -------------------------------------------------------------------


def run(schedule: Schedule, steps: int) -> list[float]:
    """The factors of a training of so many steps, the last look at its end."""
    return [schedule(Progress(step, step / PER_EPOCH, 10 * step, step / 2, step / steps)) for step in range(steps + 1)]


def test_slanted_triangular_as_in_the_paper() -> None:
    steps, cut_share, ratio, highest = 1600, 0.1, 32, 0.01
    cut = math.floor(steps * cut_share)
    rates = []
    for t in range(steps + 1):
        p = t / cut if t < cut else 1 - (t - cut) / (cut * (1 / cut_share - 1))
        rates.append(highest * (1 + p * (ratio - 1)) / ratio)
    ours = [0.01 * factor for factor in run(make("slanted", cut=0.1, ratio=32.0).build(), steps)]
    assert ours == pytest.approx(rates, rel=1e-9)
    assert (ours[0], ours[cut], ours[-1]) == pytest.approx((0.0003125, 0.01, 0.0003125))


def test_noam_as_in_the_paper() -> None:
    width, warmup = 512, 40
    rates = [width**-0.5 * min(n**-0.5, n * warmup**-1.5) for n in range(1, 202)]
    peak = (width * warmup) ** -0.5
    ours = [peak * factor for factor in run(make("noam", warmup="40steps").build(), 200)]
    assert ours == pytest.approx(rates, rel=1e-12)


def theirs(steps: int, make_scheduler: Callable[..., Any]) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.5)
    scheduler = make_scheduler(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(("mode", "shrink"), [("triangular", 1.0), ("triangular2", 0.5)])
def test_cyclic_is_torchs(mode: str, shrink: float) -> None:
    scheduler = torch.optim.lr_scheduler.CyclicLR
    rates = theirs(101, lambda o: scheduler(o, base_lr=0.1, max_lr=1.0, step_size_up=8, mode=mode))
    assert run(make("cyclic", cycle="16steps", low=0.1, shrink=shrink).build(), 100) == pytest.approx(rates, abs=1e-9)


@pytest.mark.parametrize("shape", ["cosine", "linear"])
def test_one_cycle_is_torchs(shape: str) -> None:
    """In torch the highest of 101 steps, counted from 0 to 100, is pct_start * 101 - 1."""
    scheduler, strategy = torch.optim.lr_scheduler.OneCycleLR, {"cosine": "cos", "linear": "linear"}[shape]
    rates = theirs(101, lambda o: scheduler(o, max_lr=1.0, total_steps=101, pct_start=0.4, anneal_strategy=strategy))
    ours = make("one-cycle", rise=(0.4 * 101 - 1) / 100, start=1 / 25, end=1 / 25 / 1e4, shape=shape)
    assert run(ours.build(), 100) == pytest.approx(rates, abs=1e-9)


# --- plateaus and the non-monotone rule -----------------------------------------------------------


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


# --- BERT in two phases with LAMB (NVIDIA's settings, run_pretraining_lamb of DeepLearningExamples) ---


def nvidia(step: int, steps: int, warmup: float) -> float:
    """PolyWarmUpScheduler: x / warmup, then (1 - x)^0.5, with x = step / steps."""
    x = step / steps
    return x / warmup if x < warmup else (1 - x) ** 0.5


@pytest.mark.parametrize(
    ("steps", "warmup", "rises", "table"),
    [  # factors on 6e-3 and 4e-3 at a few steps
        (
            7038,
            0.2843,
            2001,
            {1000: 0.49977, 2000: 0.99955, 2001: 0.84598, 3519: 0.70711, 6334: 0.31627, 7037: 0.01192},
        ),
        (1563, 0.128, 200, {100: 0.49984, 200: 0.99968, 201: 0.93349, 782: 0.70688, 1407: 0.31592, 1562: 0.02529}),
    ],
)
def test_two_phases_of_bert_with_lamb(steps: int, warmup: float, rises: int, table: dict[int, float]) -> None:
    theirs = [nvidia(step, steps, warmup) for step in range(steps)]
    assert {step: theirs[step] for step in table} == pytest.approx(table, abs=6e-6)
    # ours takes a step with the rate that theirs has at its end, and a whole number of them: 2000.9 and 200.06 there
    ours = run(make("polynomial", power=0.5, warmup=f"{rises}steps", falls_from="start").build(), steps)
    assert ours[: rises - 1] == pytest.approx(theirs[1:rises], rel=1e-3)
    assert ours[rises + 1 : steps] == pytest.approx(theirs[rises + 1 :], rel=1e-12)
