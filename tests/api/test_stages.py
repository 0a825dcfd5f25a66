"""Stages: assembled from a recipe and its data, and begun from the right weights."""

from pathlib import Path

import pytest
import torch
from builders import masking, tables

import foretell
from foretell.api.stages import build_stage
from foretell.learning.kinds import data_module
from foretell.recipe.loading import load_recipe
from foretell.training.state_dict import weights

Corpus = dict[str, str]
CPU = torch.device("cpu")


def test_a_stage_of_text_logs_bits_per_byte(corpus: Corpus) -> None:
    config, recipe = load_recipe(tables(corpus)).resolved_stages()[0]
    data = data_module(recipe)
    stage = build_stage(config, recipe, data, CPU, None)
    words = Path(corpus["train"]).read_text(encoding="utf-8")
    tokens = len(words.split()) + words.count("\n")
    assert stage.bytes_per_token == pytest.approx(len(words) / tokens)
    assert stage.evaluator.evaluate("valid")["tokens"] == len(data.store.split("valid").tokens)
    assert stage.evaluator.expected_seconds("valid") > 0


def test_a_stage_of_rows_does_not(corpus: Corpus) -> None:
    config, recipe = load_recipe(masking(corpus)).resolved_stages()[0]
    stage = build_stage(config, recipe, data_module(recipe), CPU, None)
    assert stage.bytes_per_token is None and stage.evaluator.context == "rows of 12 tokens, full"


def test_only_what_is_trainable_is_given_to_the_optimiser(corpus: Corpus) -> None:
    config, recipe = load_recipe(tables(corpus, trainable={"kind": "top", "layers": 0})).resolved_stages()[0]
    stage = build_stage(config, recipe, data_module(recipe), CPU, None)
    given = {p for group in stage.optimizer.param_groups for p in group["params"]}
    assert given == {p for p in stage.objective.parameters() if p.requires_grad}
    assert given and len(given) < len(list(stage.objective.parameters()))


def test_a_later_stage_starts_from_the_best_or_the_last_weights(corpus: Corpus, tmp_path: Path) -> None:
    """The first stage ends worse than its best: a high rate spoils its last steps."""
    still = {"optimizer.learning_rate": 1e-12}
    for start in ("best", "last"):
        stages = [
            {"name": "one", "limit": "6steps", "set": {"evaluation.every": "2steps"}},
            {"name": "two", "limit": "1steps", "start": start, "set": still},
        ]
        recipe = tables(corpus, stages=stages, optimizer={"kind": "sgd", "learning_rate": 20.0})
        run = foretell.train(recipe, tmp_path / start, quiet=True)
        records = [r for r in run.run.metrics() if r["kind"] == "valid"]
        at_best, at_end, second = records[0]["loss"], records[2]["loss"], records[-1]["loss"]
        assert at_best < at_end
        assert second == pytest.approx(at_best if start == "best" else at_end, rel=1e-5)
    assert weights(run.objective)
