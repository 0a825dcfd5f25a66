"""Examination of the installation."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from examinations import shown, worst, write_corpus

from foretell import process
from foretell.tools.look import doctor
from foretell.tools.look.doctor import examine_machine

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return examine_machine(quick=True)


def test_the_machine_is_measured_and_tested(found: dict[str, Any]) -> None:
    test = found["self_test"]
    assert test["problem"] == "" and test["resumed_exactly"] and test["tokens_per_second"] > 0
    assert test["loss_last"] < test["loss_first"] and test["bits_per_byte"] < 8 and test["sample"]
    assert found["speed"][0]["gflops"] > 0 and found["speed"][0]["gigabytes_per_second"] > 0
    assert found["versions"]["torch"] == torch.__version__
    assert not any(finding["level"] == "error" for finding in found["findings"])
    assert "self-test" in shown(found)


def test_the_self_test_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("FORETELL_CACHE", str(tmp_path / "cache"))
    state = torch.get_rng_state()
    assert doctor.self_test(8)["steps"] == 8
    assert torch.equal(state, torch.get_rng_state()) and list(tmp_path.iterdir()) == []


def test_a_self_test_that_fails_is_an_error(found: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no kernel")

    monkeypatch.setattr(doctor, "run_recipe", broken)
    result = found | {"self_test": doctor.self_test(8)}
    result["findings"] = doctor.machine_findings(result)
    assert worst(result, "self-test")["level"] == "error"
    assert "RuntimeError: no kernel" in shown(result)


def test_what_is_wrong_with_a_machine_is_found(found: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORETELL_DATA", raising=False)
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    bad = {"cores": 2, "threads": 64, "memory_available_bytes": 1 << 30}
    result = found | {
        "versions": found["versions"] | {"torch": "2.4.1+cu121"},
        "machine": found["machine"] | bad | {"disk_free_bytes": {"/full": 1 << 20}},
        "devices": [],
    }
    result["findings"] = doctor.machine_findings(result)
    for about, do in {
        "torch": 'pip install "torch>=2.11,<2.14"',
        "devices": "nvidia-smi",
        "threads": "export OMP_NUM_THREADS=2",
        "memory": "close other programs",
        "disk": "free some",
        "data": "set FORETELL_DATA",
    }.items():
        finding = worst(result, about)
        assert finding["level"] == "warning" and do in finding["do"], about
    assert "6 warnings" in shown(result) or "7 warnings" in shown(result)  # the allocator's


def test_the_range_of_torch_is_that_of_the_package() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    given = next(line for line in wanted if line.startswith("torch"))
    low, high = (tuple(map(int, pair)) for pair in re.findall(r"(\d+)\.(\d+)", given))
    assert (low, high) == (doctor.TORCH_FROM, doctor.TORCH_BELOW)


def test_corpora_that_are_missing_are_told_where_to_put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORETELL_DATA", str(tmp_path))
    assert doctor.data_state("python-docs") == "found"
    assert f"into {tmp_path / 'ptb'}" in doctor.data_state("ptb")
    write_corpus(tmp_path / "ptb", **{f"ptb.{name}": ["a"] for name in ("train", "valid", "test")})
    assert doctor.data_state("ptb") == "found"


def test_the_allocator_says_whether_it_is_active(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_active", False)
    monkeypatch.setenv("FORETELL_ALLOCATOR", "default")
    assert process.keep_freed_memory() is False and not process.active()
