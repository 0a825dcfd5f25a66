"""Worker processes and the facts they record."""

import os
import subprocess
import sys
from dataclasses import replace

from foretell.bench import bench
from foretell.bench.worker import version
from foretell.bench.workloads.workload import OURS


def test_a_process_says_what_it_ran_with() -> None:
    settings = bench.Settings(threads=1, tiny=True)
    for side, equal in (("tokenizers", False), ("tokenizers", True), (OURS, False)):
        record = bench.measure_child("prepare", side, replace(settings, equal=equal))
        assert (record["workload"], record["side"]) == ("prepare", side)
        assert record["keeps_freed_memory"] == ((equal or side == OURS) and sys.platform == "linux")
        assert record["cpu_seconds"] > 0 and record["peak_memory_bytes"] > 2**20
        assert record["versions"] == {"tokenizers": version("tokenizers")}


def test_versions_of_distributions() -> None:
    assert version("torch") and version("a-distribution-that-nobody-made") is None


def test_an_unknown_side_is_refused() -> None:
    command = [sys.executable, "-m", "foretell.bench.worker", "prepare", "nothing"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 2 and "no side 'nothing'" in done.stderr
