"""Mistakes in a file, confusions and calibration in the terminal and as a picture."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from labelled import task_tables, write_labelled
from rich.console import Console
from sklearn.metrics import confusion_matrix
from typer.testing import CliRunner

import foretell
from foretell.cli import app
from foretell.errors import ConfigError
from foretell.evaluate.task_metrics import confusion
from foretell.learning.task import TaskModule
from foretell.tools.measure.analysis import confusion_table


def trained(task: str, folder: Path) -> foretell.Trained:
    """A run that has not learnt enough to be right everywhere."""
    tables = task_tables(task, "recurrent", write_labelled(task, folder), limit="4steps")
    return foretell.train(tables, folder / "run", quiet=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> foretell.Trained:
    return trained("classification", tmp_path_factory.mktemp("run"))


def called(run: foretell.Trained, *options: object) -> Any:
    return CliRunner().invoke(app, ["evaluate", str(run.run.path), "--split", "valid", *map(str, options)])


def test_mistakes_of_classes_the_worst_first(run: foretell.Trained, tmp_path: Path) -> None:
    done = called(run, "--errors", tmp_path / "errors.csv", "--json")
    record = json.loads(done.stdout)
    with (tmp_path / "errors.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    examples = {example.texts[0]: example for example in TaskModule(run.recipe).learned.valid}
    found = {text: run.predict([text])[0] for text in examples}
    wrong = [text for text, example in examples.items() if found[text].label != example.label]
    assert wrong and sorted(row["text"] for row in rows) == sorted(wrong) and record["mistakes"] == len(wrong)
    of_gold = [found[row["text"]].probabilities[row["gold"]] for row in rows]
    assert of_gold == sorted(of_gold)
    for row in rows:
        prediction, example = found[row["text"]], examples[row["text"]]
        assert (row["gold"], row["predicted"], row["where"]) == (example.label, prediction.label, example.where)
        assert float(row["probability"]) == pytest.approx(prediction.probabilities[prediction.label], abs=1e-5)
    plain = run.evaluate("valid")
    gold, predicted = (
        [e.label for e in examples.values()],
        [found[text].label for text in examples],
    )
    assert record["confusion"] == plain["confusion"] and record["accuracy"] == plain["accuracy"]
    theirs = confusion_matrix(gold, predicted, labels=["BAD", "GOOD", "ODD"])
    ours = [[plain["confusion"][a].get(b, 0) for b in ("BAD", "GOOD", "ODD")] for a in ("BAD", "GOOD", "ODD")]
    assert ours == theirs.tolist()
    assert sum(one["predictions"] for one in plain["calibration"]["table"]) == len(examples)


def test_scores_are_listed_by_their_error(tmp_path: Path) -> None:
    run = trained("similarity", tmp_path)
    done = called(run, "--errors", tmp_path / "errors.jsonl")
    assert done.exit_code == 0 and "root mean square error" in done.stdout
    rows = [json.loads(line) for line in (tmp_path / "errors.jsonl").read_text().splitlines()]
    errors = [abs(float(row["gold"]) - float(row["predicted"])) for row in rows]
    assert len(rows) == 32 and errors == sorted(errors, reverse=True) and rows[0]["probability"] is None
    assert run.evaluate("valid")["errors"]["mean_absolute_error"] == pytest.approx(sum(errors) / 32, abs=1e-4)


def test_the_picture(run: foretell.Trained, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert called(run, "--plot", tmp_path / "a.png").exit_code == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "why"),
    [(["--errors", "a.xlsx"], "ends in .csv or .jsonl"), (["--plot", "a.pdf"], "ends in .png")],
)
def test_other_files_are_refused_before_measuring(run: foretell.Trained, options: list[str], why: str) -> None:
    problem = called(run, *options).exception
    assert isinstance(problem, ConfigError) and why in str(problem)


def shown(labels: list[str], width: int) -> str:
    pairs = [(a, b) for i, a in enumerate(labels) for b in (a, labels[(i + 1) % len(labels)])]
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(confusion_table(confusion(pairs)))
    return console.export_text()


def test_a_confusion_matrix_is_as_detailed_as_the_terminal_is_wide() -> None:
    few = shown(["bad", "good"], 60)
    assert few.splitlines()[1].split() == ["bad", "good"] and "good" in few.splitlines()[3]
    long = [f"a label of some length {i}" for i in range(6)]
    assert shown(long, 80).splitlines()[1].split() == list("123456")
    assert "Largest confusions of 60 labels" in shown([f"label {i}" for i in range(60)], 100)
    for width in (60, 80, 120):
        assert all(len(line) <= width for line in shown(long, width).splitlines())
