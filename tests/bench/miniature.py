"""Miniature runs of workloads, for tests."""

import time
from pathlib import Path
from typing import Any

import pytest
import torch

from foretell.bench.worker import version
from foretell.bench.workloads.kinds import WORKLOADS
from foretell.bench.workloads.workload import Job


def installed_sides(*names: str) -> list[tuple[str, str]]:
    """Workload and side, for every side of these workloads whose distributions are installed."""
    return [
        (name, side.name)
        for name in names
        for side in WORKLOADS[name].sides
        if all(version(distribution) for distribution in side.needs)
    ]


def run_side(name: str, side: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run a side once in miniature and check the figures that all sides share."""
    monkeypatch.setenv("FORETELL_CACHE", str(folder))  # some sides set their own: undone afterwards
    workload, threads = WORKLOADS[name], torch.get_num_threads()
    chosen = workload.side(side)
    assert chosen is not None
    record = chosen.measure(Job(1, True, time.time(), workload.inputs(folder, True)))
    torch.set_num_threads(threads)
    assert record["seconds"] > 0
    if "loss" in record:
        assert 0 < record["loss"] < 5
    if "first_step_seconds" in record:
        assert record["first_step_seconds"] > 0
    return record
