"""Runs of a task in one table: what `evaluate` says of each, of the same examples only."""

from pathlib import Path
from typing import Any

import pytest
from builders import tables
from labelled import task_tables, write_labelled
from rich.console import Console

import foretell
from foretell.config import ConfigError
from foretell.tools.compare import compare, render


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
    console = Console(width=200, record=True)
    console.print(render(result))
    shown = console.export_text().splitlines()
    assert "classification, valid: 32 examples" in shown[0]
    assert shown[1].split()[:2] == ["run", "accuracy"]
    assert shown[2].split()[1] == f"{result['runs'][0]['accuracy']:.4f}"


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
