"""The script for machines with a GPU runs without one, and would notice a wrong kernel."""

import importlib.util
import json
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_benchmark", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "gpu_benchmark", module)
    spec.loader.exec_module(module)
    return module


def test_it_runs_in_miniature(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "gpu.json"
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cpu", "--tiny", "--out", str(out)])
    with pytest.raises(SystemExit) as ended:
        script.main()
    assert ended.value.code == 0, capsys.readouterr().out
    result = json.loads(out.read_text())
    assert len(result["checks"]) == 2 * (8 + 3 + 10)
    layers = {"adaptive softmax", "full softmax"}
    assert {item["work"] for item in result["speeds"]} == layers | {work.name for work in script.WORK}
    assert all(item["milliseconds"] > 0 for item in [*result["speeds"], *result["scans"]])
    assert {item["side"] for item in result["scans"]} == {"scan", "nn.LSTM"}


def test_a_wrong_kernel_is_noticed(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    right = script.linear_cross_entropy

    def wrong(hidden: torch.Tensor, *rest: object) -> torch.Tensor:
        return right(hidden * 1.01, *rest)

    monkeypatch.setattr(script, "linear_cross_entropy", wrong)
    plan = script.Plan(torch.device("cpu"), True, time.monotonic())
    assert any(error > script.TOLERANCES["fp32"] for _, error in script.cross_entropy(plan, "fp32"))


def test_a_wrong_scan_is_noticed(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    right = script.linear_scan

    def wrong(a: torch.Tensor, *rest: torch.Tensor, **settings: object) -> torch.Tensor:
        return right(a * 0.99, *rest, **settings)

    monkeypatch.setattr(script, "linear_scan", wrong)
    plan = script.Plan(torch.device("cpu"), True, time.monotonic())
    assert all(error > script.TOLERANCES["fp32"] for _, error in script.scan(plan, "fp32"))


def test_what_there_is_no_time_for_is_named(script: ModuleType) -> None:
    plan = script.Plan(torch.device("cpu"), True, time.monotonic() - 2 * script.BUDGET)
    left_out = [*script.speeds(plan), *script.scans(plan), *script.output_layers(plan)]
    assert all(item["not_measured"] == "no time left" for item in left_out)
