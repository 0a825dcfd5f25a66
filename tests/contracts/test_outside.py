"""A kind of rows and an objective on a shared backbone, both from outside the package, with no change to it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders import write_corpus
from outside_rows import RECIPE, Sliding
from typer.testing import CliRunner

import foretell
from foretell.cli import app
from foretell.config import validate
from foretell.data.batches.batches import BatchesConfig
from foretell.data.batches.masking import Masked
from foretell.errors import ConfigError
from foretell.recipe.loading import load_recipe
from foretell.trees import override


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> foretell.Trained:
    folder = tmp_path_factory.mktemp("outside")
    recipe = override(RECIPE, {"data.corpus": write_corpus(folder)})
    return foretell.train(recipe, folder / "run", quiet=True)


def test_one_backbone_learns_from_both_terms(run: foretell.Trained) -> None:
    objective = run.objective
    assert type(objective).__name__ == "Repeated"
    assert objective.masked.backbone is objective.backbone and objective.masked.head is objective.head
    names = [name for name, _ in objective.named_parameters()]
    assert not any(name.startswith("masked.") for name in names)  # shared weights have one name
    assert objective.part_of("backbone.norm.weight") == "backbone"
    assert objective.part_of("occurs_again.weight") == "extra"


def test_it_is_evaluated_by_its_terms(run: foretell.Trained) -> None:
    measured = run.evaluate("valid")
    assert {"masked_loss", "masked_accuracy", "repeated_loss", "repeated_accuracy"} <= measured.keys()
    total = measured["masked_loss"] + 0.25 * measured["repeated_loss"]
    assert measured["objective_loss"] == pytest.approx(total)
    assert measured["loss"] is None and measured["context"] == "rows of 12 tokens, outside_rows:SlidingConfig"
    valid = [record["objective_loss"] for record in run.run.metrics() if record["kind"] == "valid"]
    assert len(valid) == 3 and valid[-1] < valid[0]


def test_the_log_has_each_term(run: foretell.Trained) -> None:
    last = [record for record in run.run.metrics() if record["kind"] == "train"][-1]
    assert {"masked_loss", "repeated_loss"} <= last.keys()


def test_opened_again_it_is_the_same(run: foretell.Trained) -> None:
    again = foretell.load(run.run.path)
    assert again.recipe == run.recipe == load_recipe(run.run.recipe_file)
    assert again.evaluate("valid")["objective_loss"] == run.evaluate("valid")["objective_loss"]
    assert again.features(["the cat sat"]).shape == (1, 16)


def test_the_command_line_shows_its_terms(run: foretell.Trained) -> None:
    shown = CliRunner().invoke(app, ["evaluate", str(run.run.path), "--split", "valid"]).stdout
    assert "repeated loss" in shown and "repeated accuracy" in shown
    found = json.loads(CliRunner().invoke(app, ["evaluate", str(run.run.path), "--split", "valid", "--json"]).stdout)
    assert 0 <= found["repeated_accuracy"] <= 1


def test_batches_are_a_function_of_their_number(run: foretell.Trained) -> None:
    with run.text("train") as text:
        rows, same = (run.recipe.data.batches.build(text, run.tokenizer.specials, seed=1) for _ in range(2))
    assert isinstance(rows, Sliding)
    far = same[7].inputs.tokens
    for k in range(8):
        batch = rows[k]
    assert torch.equal(batch.inputs.tokens, far)
    assert torch.equal(rows.pick(rows.rows(7)[1]).inputs.tokens, far)
    masked = run.recipe.objective.batches(rows, run.tokenizer, seed=1)
    assert isinstance(masked, Masked)
    hidden = masked[7]
    assert np.array_equal(np.where(hidden.targets != -100, hidden.targets, hidden.inputs.tokens), far)


CONFLICTS: list[tuple[dict[str, Any], str]] = [
    ({"objective": "causal"}, 'batches.kind = "outside_rows:SlidingConfig" gives rows for masked models'),
    ({"data.batches": {"kind": "streams", "length": 12}}, 'kind = "outside_rows:RepeatedConfig" reads rows of text'),
    ({"data.tokenizer.specials": "none"}, 'objective.kind = "outside_rows:RepeatedConfig" needs a mask token'),
    ({"objective.kind": "outside_rows:SlidingConfig"}, "is not a foretell.objectives.objective.ObjectiveConfig"),
]


@pytest.mark.parametrize(("changes", "why"), CONFLICTS)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        load_recipe(override(RECIPE, changes))


@pytest.mark.parametrize("target", ["replaced", "original"])
def test_an_objective_shares_electra_with_its_head(target: str, tmp_path: Path) -> None:
    """Replaced tokens weigh so much that the loss begins above three times that of a uniform guess of one token."""
    settings = {"data.corpus": write_corpus(tmp_path), "limit": "3steps", "objective": "outside_rows:HeavyConfig"}
    recipe = override(override(RECIPE, settings), {"objective.inner.target": target})
    trained = foretell.train(recipe, tmp_path / "run", quiet=True)
    first = next(record for record in trained.run.metrics() if record["kind"] == "train")
    objective = trained.objective
    assert (first["loss"] > 3 * objective.uniform_loss() + 10) == (target == "replaced") and first["parity_loss"] < 2
    assert objective.inner.backbone is objective.backbone
    if target == "original":
        assert objective.inner.head is objective.head


def test_rows_of_single_texts_are_the_kinds_to_offer(run: foretell.Trained) -> None:
    with pytest.raises(ConfigError, match='SlidingConfig" has no rows of single texts; override `one_text`'):
        run.pseudo_likelihood("valid", tokens=20)


def test_a_kind_of_batches_needs_its_sizes() -> None:
    class NoSizes(BatchesConfig):
        provides = "rows"

    with pytest.raises(ConfigError, match=r"batch: has to be given; also length: has to be given"):
        validate(NoSizes, {}, "data.batches")
