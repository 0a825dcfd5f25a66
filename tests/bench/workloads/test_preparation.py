"""Tokenisation of text."""

import time
from pathlib import Path

import pytest
from bench.miniature import installed_sides, run_side

from foretell.bench.workloads.kinds import WORKLOADS
from foretell.bench.workloads.workload import Job


@pytest.mark.parametrize(("workload", "side"), installed_sides("prepare"))
def test_every_installed_side_runs(workload: str, side: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_side(workload, side, tmp_path, monkeypatch)


def test_both_sides_make_the_same_tokens(tmp_path: Path) -> None:
    workload = WORKLOADS["prepare"]
    job = Job(1, True, time.time(), workload.inputs(tmp_path, True))
    ours, theirs = (side.measure(job) for side in workload.sides)
    assert (ours["tokens"], ours["bytes"]) == (theirs["tokens"], theirs["bytes"])
