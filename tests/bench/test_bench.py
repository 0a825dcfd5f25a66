"""The benchmark tool: sides, environments and ratios."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from rich.console import Console

from foretell.bench import bench
from foretell.bench.workloads.kinds import WORKLOADS
from foretell.bench.workloads.workload import OURS
from foretell.errors import ConfigError
from foretell.process import SPIN


def faked(seconds: dict[str, list[float]], missing: str = "") -> Any:
    """In the place of `run_child`: times as given, side by side."""
    left = {name: iter(times) for name, times in seconds.items()}
    order: list[str] = []

    def run_child(workload: Any, entrant: bench.Entrant, inputs: Any, settings: Any) -> dict[str, Any]:
        order.append(entrant.name)
        if entrant.side.name == missing:
            return {"missing": ["some-package"]}
        took = next(left[entrant.name])
        return {
            "seconds": took,
            "cpu_seconds": 2 * took,
            "peak_memory_bytes": int(took * 100),
            "keeps_freed_memory": False,
            "versions": {"torch": "1"},
            "others": 0.1,
        }

    run_child.order = order  # type: ignore[attr-defined]
    return run_child


def test_sides_take_turns_and_ratios_are_of_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = faked({OURS: [1.0, 2.0, 10.0], "fastai": [2.0, 3.0, 40.0], "torch": [1.0, 1.0, 5.0]})
    monkeypatch.setattr(bench, "run_child", fake)
    found = bench.compare(WORKLOADS["awd-lstm-step"], bench.Settings(pairs=3))
    assert fake.order == [OURS, "fastai", "torch"] * 3
    fastai = found["sides"]["fastai"]
    assert fastai["ratio"] == 2.0  # of 2, 1.5 and 4; medians of seconds would have it 1.5
    assert fastai["ratio_quartiles"] == [1.5, 4.0]
    assert (fastai["seconds"], fastai["each"]) == (3.0, [2.0, 3.0, 40.0])
    assert fastai["peak_memory_bytes"] == 4000
    assert found["sides"][OURS]["ratio"] == 1.0


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table_of_sides_loses_nothing(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "run_child", faked({OURS: [1.0, 1.5], "torch": [2.0, 3.0]}, missing="fastai"))
    compared = bench.compare(WORKLOADS["awd-lstm-step"], bench.Settings(pairs=2))
    with (console := Console(width=width, color_system=None)).capture() as printed:
        console.print(bench.render_sides(compared, 2))
    text = " ".join(printed.get().split())
    assert "…" not in text and max(map(len, printed.get().splitlines())) <= width
    for part in ("awd-lstm-step: 2 pairs, 2 threads", "ours", "torch", "2.000 (2.00-2.00)", "CPU ratio", "torch 1"):
        assert part in text
    assert "overhead" not in text and "loss" not in text.partition("vocabulary")[0]


def test_what_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = faked({OURS: [1.0, 1.0], "torch": [1.0, 1.0]}, missing="fastai")
    monkeypatch.setattr(bench, "run_child", fake)
    found = bench.compare(WORKLOADS["awd-lstm-step"], bench.Settings(pairs=2))
    assert found["not_measured"] == {"fastai": "not installed: some-package"}
    assert set(found["sides"]) == {OURS, "torch"}
    assert fake.order.count("fastai") == 1


def test_peers_run_twice_with_equal_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {OURS: [1.0], "torch": [1.0], "torch, our settings": [1.0]}
    monkeypatch.setattr(bench, "run_child", faked(names))
    settings = bench.Settings(pairs=1, peers=("torch",), equal=True)
    assert set(bench.compare(WORKLOADS["awd-lstm-step"], settings)["sides"]) == set(names)


@pytest.mark.parametrize("given", [SPIN, "77", None])
def test_a_peer_does_not_inherit_our_own_settings(monkeypatch: pytest.MonkeyPatch, given: str | None) -> None:
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    if given:
        monkeypatch.setenv("GOMP_SPINCOUNT", given)
    assert bench.environment_of(True, 3).get("GOMP_SPINCOUNT") == given
    assert bench.environment_of(False, 3).get("GOMP_SPINCOUNT") == (None if given == SPIN else given)
    assert bench.environment_of(False, 3)["OMP_NUM_THREADS"] == "3"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: bench.find_workload("shakespear"), "did you mean 'shakespeare'"),
        (lambda: bench.measure_child("prepare", "tokenizer", bench.Settings()), "did you mean 'tokenizers'"),
        (lambda: bench.bench(["prepare"], bench.Settings(peers=("fastai",))), "no peer 'fastai'"),
    ],
    ids=["workload", "side", "peer"],
)
def test_wrong_names_are_refused(call: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        call()


def test_the_command_lists_and_measures() -> None:
    def run(*arguments: str) -> dict[str, Any]:
        command = [sys.executable, "-m", "foretell", "bench", *arguments, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    assert [item["name"] for item in run()["workloads"]] == list(WORKLOADS)
    result = run("prepare", "--tiny", "--pairs", "1", "--threads", "1")
    assert [found["workload"] for found in result["results"]] == ["prepare"]
    assert "copy GB/s" in result["floors"]["1 thread"]
