"""What `evaluate` says of a task: its figures, and those of each label, in a table and as JSON."""

import json
from pathlib import Path
from typing import Any

import pytest
from labelled import task_tables, write_labelled
from sklearn.metrics import precision_recall_fscore_support
from typer.testing import CliRunner

import foretell
from foretell.cli import app
from foretell.evaluate.task_metrics import entities_by_label
from foretell.learning.task import TaskModule


def trained(task: str, folder: Path, **changes: Any) -> foretell.Trained:
    """A run that has not learnt enough to be right everywhere."""
    tables = task_tables(task, "recurrent", write_labelled(task, folder), limit="4steps", **changes)
    return foretell.train(tables, folder / "run", quiet=True)


def evaluated(run: foretell.Trained, *options: str) -> str:
    return CliRunner().invoke(app, ["evaluate", str(run.run.path), "--split", "valid", *options]).stdout


def test_each_kind_of_entity(tmp_path: Path) -> None:
    run = trained("tagging", tmp_path)
    examples = TaskModule(run.recipe).learned.valid
    expected = entities_by_label([e.tags for e in examples], [p.tags for p in run.predict(examples)])
    found = json.loads(evaluated(run, "--json"))
    assert found["by_label"] == expected and list(expected) == ["LOC", "PER"]
    assert {"entity_precision", "entity_recall", "entity_f1"} <= found.keys()
    lines = {line.split()[0]: line.split()[1:] for line in reversed(evaluated(run).splitlines()) if line.strip()}
    for label, one in expected.items():
        assert lines[label] == [f"{one[k]:.4f}" for k in ("precision", "recall", "f1")] + [str(one["support"])]
    assert "by_label" not in run.summary()  # a validation keeps to what it is judged by


def test_each_class(tmp_path: Path) -> None:
    run = trained("classification", tmp_path)
    examples = TaskModule(run.recipe).learned.valid
    truth, found = [e.label for e in examples], [p.label for p in run.predict(examples)]
    measured = run.evaluate("valid")["by_label"]
    assert sorted(measured) == sorted({*truth, *found})
    theirs = precision_recall_fscore_support(truth, found, labels=list(measured), zero_division=0)
    for figures, *expected in zip(measured.values(), *theirs, strict=True):
        assert list(figures.values()) == pytest.approx(expected)


def test_numbers_have_no_labels(tmp_path: Path) -> None:
    run = trained("similarity", tmp_path)
    assert "by_label" not in run.evaluate("valid")
    assert "By label" not in evaluated(run)
