"""Validations under a time limit: small enough, the same after an interruption, and right about what they measure."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from builders import masking, tables

import foretell
from foretell.config import Amount
from foretell.evaluate.scoring import score_tokens
from foretell.learning.kinds import data_module
from foretell.learning.text import LikelihoodEvaluator, TextModule
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


RECIPES = {
    "streams": {},
    "lines": {"data__batches": {"kind": "lines", "batch": 3, "length": 5}},
    "overlapping": {"model": TRANSFORMER, "data__batches": {"kind": "crops", "batch": 4, "length": 16}},
}


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_a_share_of_a_text_is_measured_as_in_a_whole_pass(name: str, share: float, corpus: Corpus) -> None:
    evaluator, _ = evaluator_of(tables(corpus, evaluation__length=3, **RECIPES[name]))
    assert isinstance(evaluator, LikelihoodEvaluator) and isinstance(evaluator.data, TextModule)
    evaluator.columns = 4
    text = evaluator.data.valid
    windows = evaluator.windows(text)
    whole = score_tokens(evaluator.scorer, windows, CPU).logp
    numbers = getattr(windows.part(share), "numbers")  # noqa: B009
    read = np.concatenate([windows.target_positions(k).ravel() for k in numbers])
    read = np.sort(read[read >= 0])
    evaluator.share = share
    measured = evaluator.evaluate("valid")
    assert 0.5 * share <= len(numbers) / len(windows) <= max(share, 1 / len(windows))
    assert measured["tokens"] == len(read) == len(set(read.tolist()))
    assert measured["loss"] == pytest.approx(-whole[read].mean(), rel=1e-6)
    ratio = len(text.tokens) / text.counts.bytes
    assert measured["bits_per_byte"] == pytest.approx(measured["loss"] * ratio / np.log(2))


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


def test_rows_at_even_distances(corpus: Corpus) -> None:
    evaluator, _ = evaluator_of(masking(corpus))
    whole = evaluator.evaluate("valid")
    evaluator.share = 0.5
    part = evaluator.evaluate("valid")
    assert 0 < part["masked_targets"] < whole["masked_targets"]


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
