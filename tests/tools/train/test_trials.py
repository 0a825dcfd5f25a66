"""Trials: runs with seeds of their own, medians by hand, and runs that fail, are told and tried again."""

import statistics
from pathlib import Path
from typing import Any

import pytest
from builders import read_json, tables
from labelled import write_labelled
from rich.console import Console

import foretell
from foretell.api.train import run_recipe
from foretell.errors import ConfigError
from foretell.learning.task import read_split
from foretell.recipe.loading import load_recipe
from foretell.tools import subprocesses
from foretell.tools.train.trials import all_or_none, render, spread, summarise
from foretell.training.divergence import Diverged

Corpus = dict[str, str]


def shown(result: dict[str, Any], width: int = 80) -> str:
    with (console := Console(width=width, color_system=None)).capture() as printed:
        console.print(render(result))
    assert "…" not in printed.get() and max(map(len, printed.get().splitlines())) <= width
    return printed.get()


def in_this_process(verb: str, target: str, *options: str, quiet: bool) -> dict[str, Any]:
    """What a child process would print."""
    given = dict(zip(options[::2], options[1::2], strict=False))
    if verb == "train":
        return run_recipe(load_recipe(target), given["--out"], resume=True, quiet=quiet).summary()
    return foretell.load(target).evaluate(given["--split"])


@pytest.fixture(params=["one", pytest.param("many", marks=pytest.mark.slow)])
def processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "one":
        monkeypatch.setattr(subprocesses, "child", in_this_process)


def test_each_seed_is_a_run_and_the_table_holds_their_median(processes: None, corpus: Corpus, tmp_path: Path) -> None:
    found = foretell.trials(tables(corpus, seeds=3, seed=4, limit="4steps"), tmp_path / "trials", quiet=True)
    assert list(found["results"]) == ["seed-4", "seed-5", "seed-6"]
    runs = [foretell.load(tmp_path / "trials" / name) for name in found["results"]]
    assert [run.recipe.seed for run in runs] == [4, 5, 6]
    losses = [run.evaluate("test")["loss"] for run in runs]
    assert len(set(losses)) == 3
    summary = found["summary"]["test"]["loss"]
    assert (summary["median"], summary["mean"]) == pytest.approx((sorted(losses)[1], sum(losses) / 3))
    assert (summary["lowest"], summary["highest"]) == pytest.approx((min(losses), max(losses)))
    assert summary["deviation"] == pytest.approx(statistics.stdev(losses))
    assert found["summary"]["valid"]["perplexity"]["median"] == pytest.approx(
        sorted(run.evaluate("valid")["perplexity"] for run in runs)[1]
    )
    assert (found["trained"], found["failed"]) == (3, 0)
    assert read_json(tmp_path / "trials" / "trials.json") == found
    text = shown(found)
    assert all(name in text for name in ("seed-4", "seed-5", "seed-6", "median", "mean", "lowest", "highest"))


def test_one_that_fails_is_told_and_tried_again(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[str] = []

    def fails(verb: str, target: str, *options: str, quiet: bool) -> dict[str, Any]:
        if verb == "train":
            trained.append(Path(target).stem)
        if verb == "train" and trained.count("seed-2") == 1 == len(trained) - 1:
            raise Diverged("training diverged at step 3")
        return in_this_process(verb, target, *options, quiet=quiet)

    monkeypatch.setattr(subprocesses, "child", fails)
    recipe = tables(corpus, seeds=3, limit="2steps")
    found = foretell.trials(recipe, tmp_path / "trials", quiet=True)
    assert (found["trained"], found["failed"]) == (2, 1)
    assert found["results"]["seed-2"]["error"] == "training diverged at step 3"
    kept = [found["results"][name]["test"]["loss"] for name in ("seed-1", "seed-3")]
    assert found["summary"]["test"]["loss"]["median"] == pytest.approx(sum(kept) / 2)
    assert "seed-2: training diverged" in shown(found)
    with pytest.raises(ConfigError, match="--resume"):
        foretell.trials(recipe, tmp_path / "trials", quiet=True)
    with pytest.raises(ConfigError, match="started with another recipe; resume the trials as begun"):
        foretell.trials(recipe | {"limit": "3steps"}, tmp_path / "trials", quiet=True, resume=True)
    again = foretell.trials(recipe, tmp_path / "trials", quiet=True, resume=True)
    assert trained == ["seed-1", "seed-2", "seed-3", "seed-2"]
    assert (again["trained"], again["failed"]) == (3, 0)


def test_each_fold_is_a_run_that_is_tested_on_another_part(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocesses, "child", in_this_process)
    data = write_labelled("classification", tmp_path) | {"batches": {"kind": "examples", "batch": 8}}
    recipe = tables(corpus, folds=3, seeds=2, limit="2steps") | {"objective": {"kind": "classification"}}
    recipe["data"] = recipe["data"] | data
    found = foretell.trials(recipe, tmp_path / "trials", quiet=True)
    assert list(found["results"]) == [f"fold-{fold}-seed-{seed}" for fold in (1, 2, 3) for seed in (1, 2)]
    runs = [foretell.load(tmp_path / "trials" / f"fold-{fold}-seed-1") for fold in (1, 2, 3)]
    tested = [{example.where for example in read_split(run.recipe, "test")} for run in runs]
    assert len(set.union(*tested)) == sum(map(len, tested)) == 32
    assert [found["results"][run.run.path.name]["test"]["accuracy"] for run in runs] == [
        run.evaluate("test")["accuracy"] for run in runs
    ]


def test_a_set_without_a_test_split_is_summed_up_by_validation() -> None:
    results = [{"valid": {"accuracy": x, "loss": 1.0}, "test": None} for x in (0.2, 0.8, 0.4, 0.5)]
    found = summarise([*results, {"error": "killed"}])
    assert found["summary"].keys() == {"valid"}
    assert found["summary"]["valid"]["accuracy"]["median"] == pytest.approx(0.45)
    assert (found["trained"], found["failed"]) == (4, 1)
    assert summarise([{"error": "killed"}])["summary"] == {}


def test_one_value_has_no_deviation() -> None:
    assert spread([2.0]) == {"median": 2.0, "mean": 2.0, "lowest": 2.0, "highest": 2.0, "deviation": None}


def test_what_cannot_be_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"make several runs: call foretell\.trials"):
        foretell.train(tables(corpus, seeds=2), tmp_path / "run", quiet=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(ConfigError, match=r"exists and has no trials\.json"):
        foretell.trials(tables(corpus, seeds=2), tmp_path / "other", quiet=True)


@pytest.mark.parametrize("untestable", ["one", "all"])
def test_a_fold_that_cannot_be_tested_has_failed(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, untestable: str
) -> None:
    def child(verb: str, target: str, *options: str, quiet: bool) -> dict[str, Any]:
        if verb == "evaluate" and (untestable == "all" or Path(target).name == "fold-2"):
            raise subprocesses.Failed(verb, target, {"error": "label 'x' is in no training example"}, 2)
        return in_this_process(verb, target, *options, quiet=quiet)

    monkeypatch.setattr(subprocesses, "child", child)
    data = write_labelled("classification", tmp_path) | {"batches": {"kind": "examples", "batch": 8}}
    recipe = tables(corpus, folds=3, limit="2steps") | {"objective": {"kind": "classification"}}
    recipe["data"] = recipe["data"] | data
    found = foretell.trials(recipe, tmp_path / "trials", quiet=True)
    assert "label 'x' is in no training example" in found["results"]["fold-2"]["error"]
    text = " ".join(shown(found).split())
    assert "fold-2: cannot be tested: " in text and ", test split" in text
    if untestable == "all":
        assert (found["trained"], found["failed"], found["summary"]) == (0, 3, {})
        return
    assert (found["trained"], found["failed"]) == (2, 1)
    kept = [found["results"][name]["test"]["accuracy"] for name in ("fold-1", "fold-3")]
    assert found["summary"]["test"]["accuracy"]["mean"] == pytest.approx(sum(kept) / 2)


def test_seeds_are_tested_all_or_none() -> None:
    tested, not_tested = {"valid": {}, "test": {"accuracy": 0.5}}, {"valid": {}, "test": None, "untested": "no labels"}
    none = all_or_none({"a": not_tested, "b": not_tested}, folds=False)
    assert not any("error" in one for one in none.values())
    some = all_or_none({"a": not_tested, "b": tested}, folds=False)
    assert some["a"]["error"] == "cannot be tested: no labels" and "error" not in some["b"]
    record = {"trials": "t", "results": none, **summarise(none.values())}
    assert "no scores on the test split: no labels" in shown(record)
