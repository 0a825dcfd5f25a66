"""Vectors of sentences."""

import time
from pathlib import Path

import pytest
import torch
from bench.miniature import installed_sides, run_side

from foretell.bench.workloads.features import BUDGET, budgeted, in_order
from foretell.bench.workloads.kinds import WORKLOADS
from foretell.bench.workloads.workload import Job


@pytest.mark.parametrize(("workload", "side"), installed_sides("features"))
def test_every_installed_side_runs(workload: str, side: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_side(workload, side, tmp_path, monkeypatch)


def test_all_sides_compute_the_same_vectors(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    workload = WORKLOADS["features"]
    job, threads = Job(1, True, time.time(), workload.inputs(tmp_path, True)), torch.get_num_threads()
    records = [side.measure(job) for side in workload.sides]
    torch.set_num_threads(threads)
    assert len({record["tokens"] for record in records}) == 1
    assert max(record["difference"] for record in records[1:]) < 1e-5


def test_batches_hold_every_sentence_once_within_their_budget() -> None:
    lengths = [300, 5, 900, 5, 700, 1200]
    batches = list(budgeted(lengths))
    assert sorted(i for batch in batches for i in batch) == list(range(6))
    assert all(len(batch) * max(lengths[i] for i in batch) <= BUDGET for batch in batches)
    assert [i for batch in in_order(70) for i in batch] == list(range(70))
