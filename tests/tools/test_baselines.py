"""Simple classifiers beside a trained one: by hand, and what the command line says of them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from labelled import task_tables, write_labelled
from typer.testing import CliRunner

import foretell
from foretell.cli import app
from foretell.data.labelled.examples import Labelled
from foretell.tools import baselines
from foretell.tools.baselines import baseline, beside


def examples(*rows: tuple[str, str]) -> list[Labelled]:
    return [Labelled((text,), label) for text, label in rows]


def test_by_hand() -> None:
    train = examples(*[("good film", "yes")] * 3, *[("bad film", "no")] * 2)
    held_out = examples(("good", "yes"), ("bad", "no"), ("bad", "no"), ("bad", "yes"))
    found = baseline(train, held_out, "valid")
    assert found == {"measured_on": "valid", "most_frequent_label": 0.5, "bag_of_words": 0.75}


@pytest.mark.parametrize(
    ("train", "held_out"),
    [
        ([("a film", "yes")], [("a film", "yes")]),  # one class
        ([("a film", "yes"), ("film", "no")], []),
        ([("!", "yes"), ("?", "no")], [("!", "yes")]),  # no words
    ],
)
def test_there_is_none(train: list[tuple[str, str]], held_out: list[tuple[str, str]]) -> None:
    assert baseline(examples(*train), examples(*held_out), "valid") == {}


def run_of(task: str, folder: Path, **changes: Any) -> foretell.Trained:
    tables = task_tables(task, "recurrent", write_labelled(task, folder), limit="1steps", **changes)
    return foretell.train(tables, folder / "run", quiet=True)


@pytest.mark.parametrize("task", ["several", "similarity", "tagging"])
def test_only_of_classifiers(task: str, tmp_path: Path) -> None:
    assert beside(run_of(task, tmp_path), "valid") == {}


def test_a_classifier_that_is_no_better_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The words say the class, which one step does not teach."""
    run = run_of("classification", tmp_path)
    done = CliRunner().invoke(app, ["evaluate", str(run.run.path), "--split", "valid"])
    assert re.search(r"bag of words +accuracy 1\.0000", done.stdout)
    assert "no better than the bag of words" in " ".join(done.stdout.split())
    record = json.loads(CliRunner().invoke(app, ["evaluate", str(run.run.path), "--split", "valid", "--json"]).stdout)
    assert record["baseline"]["bag_of_words"] == 1 and record["baseline"]["measured_on"] == "valid"
    monkeypatch.setattr(baselines, "LARGEST", 100)
    assert beside(run, "valid") == {}
    monkeypatch.undo()
    (tmp_path / "classified.tsv").unlink()
    assert beside(run, "valid") == {}  # there is nothing to fit
