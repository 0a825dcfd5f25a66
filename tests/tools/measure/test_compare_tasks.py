"""Runs of a task in one table: what `evaluate` says of each, of the same examples, and which differences are real."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import tables
from labelled import task_tables, write_labelled
from rich.console import Console

import foretell
from foretell.errors import ConfigError
from foretell.evaluate import metric_sums
from foretell.learning.task import TaskModule
from foretell.tools.measure.compare import compare, render
from foretell.tools.measure.compare_tasks import by_text


def trained(folder: Path, name: str, task: str = "classification", **changes: Any) -> foretell.Trained:
    recipe = task_tables(task, "recurrent", write_labelled(task, folder), **changes)
    return foretell.train(recipe, folder / name, quiet=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tasks")


@pytest.fixture(scope="module")
def runs(folder: Path) -> list[foretell.Trained]:
    return [trained(folder, "short", limit="1steps"), trained(folder, "long")]


def test_the_best_comes_first(runs: list[foretell.Trained]) -> None:
    result = compare(runs, "valid")
    assert [Path(row["run"]).name for row in result["runs"]] == ["long", "short"]
    for run, row in zip(runs[::-1], result["runs"], strict=True):
        alone = run.evaluate("valid")
        assert {key: row[key] for key in ("accuracy", "macro_f1")} == {
            key: alone[key] for key in ("accuracy", "macro_f1")
        }
    shown = printed(result)
    assert "classification, valid: 32 examples" in shown[0]
    assert shown[1].split()[:2] == ["run", "accuracy"]
    assert shown[2].split()[1:3] == [f"{result['runs'][0]['accuracy']:.4f}", "best"]
    (pair,) = result["pairs"]
    assert shown[3].split()[2] == f"{pair['difference']:+.4f}" and f"to {pair['high']:+.4f})" in shown[3]


def test_how_sure_a_difference_is(runs: list[foretell.Trained]) -> None:
    result = compare(runs[::-1], "valid", resamples=500)
    (pair,), (best, other) = result["pairs"], result["runs"]
    assert best["to_best"] is None and other["to_best"] == {k: pair[k] for k in other["to_best"]}
    assert pair["difference"] == pytest.approx(best["accuracy"] - other["accuracy"])
    examples = TaskModule(runs[0].recipe).learned.valid
    short, long = (
        np.array([p.label == e.label for p, e in zip(run.predict(examples), examples, strict=True)]) for run in runs
    )
    random = np.random.default_rng(5)
    drawn = [(long - 1.0 * short)[random.integers(0, 32, 32)].mean() for _ in range(4000)]
    assert pair["low"] == pytest.approx(np.quantile(drawn, 0.025), abs=0.08)  # BCa is a little aside
    assert pair["high"] == pytest.approx(np.quantile(drawn, 0.975), abs=0.08)
    assert pair["real"] == (pair["low"] > 0) and pair["p_better"] > 0.9


@pytest.mark.parametrize("task", ["several", "similarity", "choice", "tagging", "answering"])
def test_every_task_has_intervals(task: str, tmp_path: Path) -> None:
    runs = [trained(tmp_path, name, task, limit=limit) for name, limit in (("short", "1steps"), ("longer", "12steps"))]
    result = compare(runs, "valid", resamples=200)
    (pair,), (best, other), metric = result["pairs"], result["runs"], result["metric"]
    assert pair["difference"] == pytest.approx(best[metric] - other[metric], abs=1e-9)
    assert pair["low"] <= pair["difference"] <= pair["high"]
    assert 1 < result["parts"] <= result["examples"] == len(TaskModule(runs[0].recipe).learned.valid)
    same = compare([runs[0], runs[0]], "valid", resamples=200)["pairs"][0]
    assert (same["difference"], same["low"], same["high"], same["real"]) == (0, 0, 0, False)


def test_rows_that_are_left_out_are_no_parts(tmp_path: Path) -> None:
    data = write_labelled("classification", tmp_path)
    path = Path(data["corpus"]["valid"])
    recipe = task_tables("classification", "recurrent", data, limit="1steps")
    runs = [foretell.train(recipe, tmp_path / name, quiet=True, data__skip_bad=True) for name in ("one", "other")]
    more = tmp_path / "more.tsv"
    more.write_text(path.read_text() + "a text\tNEVER SEEN\n")
    assert compare(runs, str(more))["examples"] == 32


def test_examples_of_one_text_are_drawn_together() -> None:
    tally = metric_sums.mean([1, 0, 1, 1])
    assert by_text(tally, ["a", "b", "a", "c"]).tolist() == [[2, 2], [0, 1], [1, 1]]


def printed(result: Mapping[str, Any]) -> list[str]:
    console = Console(width=200, record=True)
    console.print(render(result))
    return console.export_text().splitlines()


def test_what_cannot_be_compared(runs: list[foretell.Trained], folder: Path, corpus: dict[str, str]) -> None:
    language = foretell.train(tables(corpus, limit="1steps"), folder / "language", quiet=True)
    with pytest.raises(ConfigError, match=r"long learns a task and .*language does not"):
        compare([language, runs[1]], "valid")
    similar = trained(folder, "similar", "similarity", limit="1steps")
    with pytest.raises(ConfigError, match=r"by accuracy of classification, .*similar by pearson of similarity"):
        compare([runs[0], similar], "valid")
    other = folder / "other"
    other.mkdir()
    data = write_labelled("classification", other, rows=20)
    recipe = task_tables("classification", "recurrent", data, limit="1steps")
    fewer = foretell.train(recipe, other / "fewer", quiet=True)
    with pytest.raises(ConfigError, match="different examples as their valid split"):
        compare([runs[0], fewer], "valid")
    assert len(compare([runs[0], fewer], data["corpus"]["valid"])["runs"]) == 2
