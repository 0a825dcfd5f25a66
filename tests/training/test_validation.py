"""Validations under a time limit: small enough, the same after an interruption, and right about what they measure."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from builders import tables

import foretell
from foretell.config import Amount
from foretell.learning.kinds import data_module
from foretell.learning.text import LikelihoodEvaluator
from foretell.recipe.loading import load_recipe
from foretell.run import Run
from foretell.training.checkpoint import TrainState
from foretell.training.monitor import Monitor
from foretell.training.validation import bound_validation

Corpus = dict[str, str]
CPU = torch.device("cpu")
TRANSFORMER = {"kind": "transformer", "hidden": 8, "layers": 1, "heads": 2, "context": 16}


def evaluator_of(recipe: dict[str, Any]) -> tuple[Any, Any]:
    """The evaluator of an untrained model, and its objective."""
    settings = load_recipe(recipe)
    data = data_module(settings)
    torch.manual_seed(1)
    objective = settings.build(data.tokenizer.size, data.token_counts()).eval()
    return data.evaluator(objective, CPU), objective


def stage_of(evaluator: Any, objective: Any, limit: str) -> Any:
    return SimpleNamespace(evaluator=evaluator, objective=objective, limit=Amount.model_validate(limit))


def test_columns_come_before_a_smaller_share(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Expected seconds of 100 for one column, and half as many for four times the columns."""
    evaluator, objective = evaluator_of(tables(corpus))
    monkeypatch.setattr(
        LikelihoodEvaluator,
        "expected_seconds",
        lambda self, _: 100 / {1: 1, 4: 2, 16: 4, 64: 8}[self.columns] * self.share,
    )
    for limit, columns, share in (("1000s", 1, 1.0), ("300s", 16, 1.0), ("125s", 64, 1.0), ("50s", 64, 0.4)):
        evaluator.columns, evaluator.share, position = 1, 1.0, TrainState()
        expected = bound_validation(stage_of(evaluator, objective, limit), position, Monitor(quiet=True))
        assert (evaluator.columns, evaluator.share) == (columns, pytest.approx(share))
        assert expected <= float(limit[:-1]) / 10
        assert position.reduced == ({} if columns == 1 else {"columns": columns, "share": pytest.approx(share)})


def test_without_a_time_limit_all_is_measured(corpus: Corpus) -> None:
    evaluator, objective = evaluator_of(tables(corpus))
    assert bound_validation(stage_of(evaluator, objective, "9steps"), TrainState(), Monitor(quiet=True)) == 0.0
    assert (evaluator.columns, evaluator.share) == (1, 1.0)


def test_a_resumed_run_measures_the_same_part(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However fast the machine is then: figures of one run have to be comparable."""
    monkeypatch.setattr(LikelihoodEvaluator, "expected_seconds", lambda self, _: 10.0 * self.share)
    recipe = tables(corpus, limit="2s", evaluation__every="5steps", checkpoint__every="5steps")
    steps = 0

    def stop(run: Run, record: dict[str, Any], append: Any = Run.append) -> None:
        nonlocal steps
        append(run, record)
        steps += record["kind"] == "valid"
        if record["kind"] == "valid" and steps == 2:
            raise RuntimeError("stopped")

    monkeypatch.setattr(Run, "append", stop)
    with pytest.raises(RuntimeError):
        foretell.train(recipe, tmp_path / "run", quiet=True)
    monkeypatch.setattr(LikelihoodEvaluator, "expected_seconds", lambda self, _: 0.0)
    foretell.train(recipe, tmp_path / "run", resume=True, quiet=True)
    records = [record for record in Run(tmp_path / "run").metrics() if record["kind"] == "valid"]
    assert len(records) > 2
    assert {(record["columns"], round(record["share"], 6)) for record in records} == {(64, 0.02)}
