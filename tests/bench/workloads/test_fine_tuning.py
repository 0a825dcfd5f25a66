"""Fine-tuning and prediction of a classifier."""

import time
from pathlib import Path

import pytest
import torch
from bench.miniature import installed_sides, run_side

from foretell.bench.workloads.kinds import WORKLOADS
from foretell.bench.workloads.workload import Job


@pytest.mark.parametrize(("workload", "side"), installed_sides("predict", "finetune-step"))
def test_every_installed_side_runs(workload: str, side: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_side(workload, side, tmp_path, monkeypatch)


def test_all_sides_compute_the_same_probabilities(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    workload = WORKLOADS["predict"]
    job, threads = Job(1, True, time.time(), workload.inputs(tmp_path, True)), torch.get_num_threads()
    records = [side.measure(job) for side in workload.sides]
    torch.set_num_threads(threads)
    assert len({record["tokens"] for record in records}) == 1
    assert max(record["difference"] for record in records[1:]) < 1e-5
