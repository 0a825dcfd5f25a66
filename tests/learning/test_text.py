"""Running text: every token is measured once, by whatever windows, and sums to what a plain pass gives."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders import attending, tables

import foretell
from foretell.learning.kinds import data_module
from foretell.learning.text import LikelihoodEvaluator, TextModule
from foretell.recipe.loading import load_recipe

Corpus = dict[str, str]
KINDS = {"streams": {}, "documents": {}, "lines": {}, "crops": {}}


@pytest.fixture(scope="module")
def runs(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> dict[str, foretell.Trained]:
    folder = tmp_path_factory.mktemp("text")
    recipes: dict[str, dict[str, Any]] = {
        kind: tables(corpus, limit="3steps", data__batches={"kind": kind, "batch": 3, "length": 7}) for kind in KINDS
    }
    recipes["attention"] = attending(corpus, limit="3steps")
    return {name: foretell.train(recipe, folder / name, quiet=True) for name, recipe in recipes.items()}


@pytest.mark.parametrize("name", [*KINDS, "attention"])
def test_every_token_is_measured_once_for_any_batch(runs: dict[str, foretell.Trained], name: str) -> None:
    run = runs[name]
    with run.text("test") as text:
        tokens, size = len(text.tokens), text.counts.bytes
    figures = [run.evaluate("test", batch=batch) for batch in (1, 2, 5)]
    assert {record["tokens"] for record in figures} == {tokens}
    first = figures[0]["loss"]
    assert [record["loss"] for record in figures] == pytest.approx([first] * 3, abs=1e-6)
    assert first * tokens / math.log(2) / size == pytest.approx(figures[0]["bits_per_byte"])


@pytest.mark.parametrize("name", [*KINDS, "attention"])
def test_the_loss_is_the_mean_of_token_scores(runs: dict[str, foretell.Trained], name: str) -> None:
    run = runs[name]
    with run.text("valid") as text:
        scores = run.token_scores(text)
    assert -scores.logp.mean() == pytest.approx(run.evaluate("valid")["loss"], abs=1e-7)
    assert (scores.logp < 0).all() and len(scores.logp) == run.evaluate("valid")["tokens"]


def test_the_context_says_where_the_state_starts_anew(runs: dict[str, foretell.Trained]) -> None:
    assert runs["streams"].context() == "carried state"
    assert runs["streams"].context(3) == "carried state in 3 columns"
    assert runs["lines"].context() == "state reset at lines"
    assert runs["attention"].context() == "windows of 10 tokens that overlap by 5"


def test_training_and_loading_measure_alike(runs: dict[str, foretell.Trained]) -> None:
    for run in runs.values():
        assert run.evaluate("valid")["loss"] == pytest.approx(run.validation()["loss"], abs=1e-7)


def test_a_module_reads_no_more_than_it_is_asked_for(corpus: Corpus, tmp_path: Path) -> None:
    recipe = load_recipe(tables({**corpus, "valid": str(tmp_path / "missing.txt")}))
    module = TextModule(recipe)  # nothing is opened yet
    with pytest.raises(foretell.ConfigError, match=r"missing\.txt"):
        _ = module.train


def test_counts_and_fingerprints_follow_from_the_text(corpus: Corpus) -> None:
    module = data_module(load_recipe(tables(corpus)))
    words = Path(corpus["train"]).read_text(encoding="utf-8").split()
    counts = module.token_counts()
    assert counts[module.tokenizer.spellings["cat"]] == words.count("cat")
    assert set(module.fingerprints) == {"train", "valid", "test"} and module.labels == ()


def test_windows_of_a_validation_are_made_once(runs: dict[str, foretell.Trained]) -> None:
    evaluator = runs["streams"].likelihood()
    with runs["streams"].text("valid") as text:
        assert evaluator.windows(text) is evaluator.windows(text)


def test_a_loss_that_is_no_number_is_refused(runs: dict[str, foretell.Trained]) -> None:
    evaluator = LikelihoodEvaluator(runs["lines"].text_module, runs["lines"].scorer(), torch.device("cpu"))
    for loss in (math.nan, math.inf):
        with pytest.raises(foretell.ConfigError, match="runs/a"):
            evaluator.refuse_undefined({"loss": loss}, "runs/a")
    evaluator.refuse_undefined({"loss": float(np.float32(2.0))}, "runs/a")
