"""Greedy generation."""

from pathlib import Path

import pytest
from bench.miniature import installed_sides, run_side


@pytest.mark.parametrize(("workload", "side"), installed_sides("generate", "generate-16"))
def test_every_installed_side_runs(workload: str, side: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_side(workload, side, tmp_path, monkeypatch)
