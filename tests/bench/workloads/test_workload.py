"""The timing of steps, and what all workloads have in common."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from foretell.bench.workloads import workload
from foretell.bench.workloads.kinds import WORKLOADS
from foretell.bench.workloads.workload import OURS, Job, random_tokens, timed


def clock(durations: list[float]) -> Iterator[float]:
    """Readings of a clock around steps that take these seconds."""
    now = 0.0
    for duration in durations:
        yield now
        now += duration
        yield now


@pytest.mark.parametrize(
    ("durations", "steps", "seconds"),
    [
        ([9.0, 9.0, *[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]], 3, 9.0),
        ([0.9, 0.8, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7], 9, 0.4),
        ([1.0, 1.0, 4.0, 5.0, 6.0], 5, 5.0),
    ],
    ids=["one warm-up step if steps are long", "nine steps", "ten seconds suffice"],
)
def test_long_steps_are_repeated_less(
    durations: list[float], steps: int, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    if steps == 3:
        durations = [9.0, 9.0, 9.0]
    readings, taken = clock(durations), []
    monkeypatch.setattr(workload.time, "perf_counter", lambda: next(readings))
    result = timed(lambda: taken.append(1), Job(1, False, 0.0, {}), tokens=100)
    assert len(taken) == steps
    assert result["seconds"] == pytest.approx(seconds)
    assert result["tokens_per_second"] == pytest.approx(100 / seconds)
    assert result["first_step_seconds"] == pytest.approx(durations[0])


def test_a_miniature_takes_two_steps() -> None:
    taken: list[Any] = []
    timed(lambda: taken.append(1), Job(1, True, time.time(), {}), tokens=1)
    assert len(taken) == 2


def test_random_tokens_are_the_same_each_time() -> None:
    assert (random_tokens(50, 30) == random_tokens(50, 30)).all()
    assert random_tokens(50, 1000).max() < 50


def test_ours_comes_first() -> None:
    assert all(workload.sides[0].name == OURS for workload in WORKLOADS.values())
