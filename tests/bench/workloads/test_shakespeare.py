"""A complete small training."""

from pathlib import Path

import pytest
from bench.miniature import installed_sides, run_side

from foretell.bench.workloads.shakespeare import FLOOR, RATE, WARMUP, rate_at


@pytest.mark.parametrize(("workload", "side"), installed_sides("shakespeare", "shakespeare-2000"))
def test_every_installed_side_runs(workload: str, side: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_side(workload, side, tmp_path, monkeypatch)


def test_the_learning_rate_rises_then_falls_along_a_cosine() -> None:
    steps = 1000
    assert rate_at(0, steps) == pytest.approx(RATE / (WARMUP + 1))
    assert rate_at(WARMUP, steps) == pytest.approx(RATE)
    assert rate_at((WARMUP + steps) // 2, steps) == pytest.approx((RATE + FLOOR) / 2)
    assert rate_at(steps, steps) == pytest.approx(FLOOR)
