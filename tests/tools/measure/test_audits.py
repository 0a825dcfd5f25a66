"""Audited evaluations stand on the card of a run; damaged ones do not."""

import json
from pathlib import Path
from typing import Any

import pytest
from builders import tables
from typer.testing import CliRunner

import foretell
from foretell.cli import app
from foretell.run import Run
from foretell.tools.measure.audits import keep, kept, lines, passed
from foretell.tools.use.push import card_of

AUDIT = {"positions": 64, "max_sum_error": 1e-8, "max_recompute_error": 1e-7, "passed": True}


def test_the_card_and_show_have_the_last_audit_of_each_split(corpus: dict[str, str], tmp_path: Path) -> None:
    trained = foretell.train(tables(corpus, limit="4steps"), tmp_path / "run", quiet=True)

    def evaluated(*options: str) -> dict[str, Any]:
        done = CliRunner().invoke(app, ["evaluate", str(trained.run.path), *options, "--json"])
        return dict(json.loads(done.stdout))

    assert "audit" not in card_of(trained, "hf:me/lstm")
    evaluated("--split", "valid")  # is not audited
    evaluated("--split", corpus["test"], "--audit")  # is not of a split
    evaluated("--dynamic", "--audit")  # has no static figures
    evaluated("--columns", "2", "--audit")  # is worse
    assert "audit" not in card_of(trained, "hf:me/lstm")
    found = evaluated("--audit", "--adaptive")
    evaluated("--split", "valid", "--audit")
    lines = [line for line in card_of(trained, "hf:me/lstm").splitlines() if "audit passed" in line]
    assert [line.split(":")[0] for line in lines] == ["* valid", "* test", "* test, adaptive"]
    for line, part in zip(lines[1:], (found, found["adaptive"]), strict=True):
        assert f"{part['bits_per_byte']:.4f} bits" in line and f"at {part['audit']['positions']} pos" in line
    evaluated("--audit")  # static only
    assert sum("* test" in line for line in card_of(trained, "hf:me/lstm").splitlines()) == 1
    shown = CliRunner().invoke(app, ["show", str(trained.run.path)]).stdout
    assert "audit passed" in shown and "audit" not in json.dumps(trained.validation())


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "metrics.jsonl").write_text("")
    return Run(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [{"split": ["test"]}, {"bits_per_byte": 1e300}, {"bits_per_byte": -1.0}, {"audit": AUDIT | {"positions": True}}],
)
def test_odd_records_are_left_out_and_hide_none(run: Run, damage: dict[str, Any]) -> None:
    sound = {"kind": "audit", "step": 3, "split": "test", "bits_per_byte": 1.5, "audit": AUDIT}
    run.append(sound)
    run.append(sound | damage)
    assert kept(run, 3) == [sound]


@pytest.mark.parametrize(
    "damage",
    [
        {"bits_per_byte": "low"},
        {"audit": 3},
        {"audit": AUDIT | {"passed": 1.0}},
        {"audit": AUDIT | {"max_sum_error": 0.5}},  # which cannot have passed
        {"audit": {}},
        {"adaptive": {}},
    ],
)
def test_damaged_records_are_left_out(run: Run, damage: dict[str, Any]) -> None:
    keep(run, {"split": "test", "step": 3, "bits_per_byte": 1.5, "audit": AUDIT} | damage)
    assert kept(run, 3) == []


def test_audits_of_another_step_are_left_out(run: Run) -> None:
    keep(run, {"split": "test", "step": 3, "bits_per_byte": 1.5, "audit": AUDIT})
    keep(run, {"split": "test", "step": 4, "bits_per_byte": 1.25, "audit": AUDIT})
    assert [record["bits_per_byte"] for record in (*kept(run, 3), *kept(run, 4))] == [1.5, 1.25] and kept(run, 5) == []


def test_an_audit_is_kept_once_and_after_a_line_that_was_cut_off(run: Run) -> None:
    run.metrics_file.write_text('{"kind": "valid", "st')
    for _ in range(3):
        keep(run, {"split": "test", "step": 3, "bits_per_byte": 1.5, "lossy": True, "audit": AUDIT})
    assert len([*run.metrics()]) == 1
    assert lines(kept(run, 3)) == ["test: 1.5000 bits per byte, lossy, audit passed at 64 positions"]


def test_a_failed_audit_is_kept_and_named(run: Run) -> None:
    failed = {"bits_per_byte": 1.25, "audit": AUDIT | {"passed": False}}
    result = {"split": "test", "step": 3, "bits_per_byte": 1.5, "audit": AUDIT}
    assert passed(result) and not passed(result | {"adaptive": failed})
    keep(run, result | {"adaptive": failed})
    assert lines(kept(run, 3)) == [
        "test: 1.5000 bits per byte, audit passed at 64 positions",
        "test, adaptive: 1.2500 bits per byte, AUDIT FAILED at 64 positions",
    ]


def test_an_audit_that_cannot_be_kept_is_told(run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    other = tmp_path / "other.jsonl"
    run.metrics_file.rename(other)
    run.metrics_file.symlink_to(other)
    keep(run, {"split": "test", "step": 3, "bits_per_byte": 1.5, "audit": AUDIT})
    assert "the audit is not kept in the run" in caplog.text and other.read_text() == ""
