"""The data module of a recipe, one from outside included."""

from pathlib import Path
from typing import Any

import pytest
from builders import masking, tables
from outside_way import PassagesModule

import foretell
from foretell.errors import ConfigError
from foretell.learning.kinds import data_module, module_class
from foretell.learning.rows import RowsModule
from foretell.learning.text import TextModule
from foretell.recipe.loading import load_recipe

Corpus = dict[str, str]
TRANSFORMER = {"kind": "transformer", "hidden": 8, "layers": 1, "heads": 2, "context": 16}


def passages(corpus: Corpus, **changes: Any) -> dict[str, Any]:
    """A recipe that learns in a way from outside the package."""
    batches = {"kind": "outside_way:PassagesConfig", "batch": 4, "length": 16}
    objective = {"kind": "outside_way:PassagesObjectiveConfig"}
    return tables(corpus, model=TRANSFORMER, data__batches=batches, objective=objective, limit="4steps", **changes)


def test_a_recipe_selects_its_module(corpus: Corpus) -> None:
    assert type(data_module(load_recipe(tables(corpus)))) is TextModule
    assert type(data_module(load_recipe(masking(corpus)))) is RowsModule
    assert type(data_module(load_recipe(passages(corpus)))) is PassagesModule


def test_a_way_from_outside_trains_and_is_measured_after_opening(corpus: Corpus, tmp_path: Path) -> None:
    run = foretell.train(passages(corpus), tmp_path / "run", quiet=True)
    valid = [record for record in run.run.metrics() if record["kind"] == "valid"][-1]
    measured = foretell.load(tmp_path / "run", quiet=True).evaluate("valid")
    assert measured["windows"] == valid["windows"] > 0
    assert measured["objective_loss"] == pytest.approx(valid["objective_loss"], rel=1e-6)
    with pytest.raises(ConfigError, match=r"learns with objective.kind = .*assigns no probability to text"):
        run.scorer()


def test_batches_of_another_kind_are_refused(corpus: Corpus) -> None:
    recipe = passages(corpus) | {"objective": {"kind": "causal"}}
    with pytest.raises(ConfigError, match="streams"):
        load_recipe(recipe)
    other = passages(corpus)
    other["data"] = other["data"] | {"batches": {"kind": "crops", "batch": 4, "length": 16}}
    with pytest.raises(ConfigError, match=r'learns from passages, and data.batches.kind = "crops" gives next tokens'):
        load_recipe(other)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("metric", "is not a data module"),
        ("outside_way:PassagesConfig", "is not a data module"),
        ("outside_way:Nothing", "cannot be loaded"),
        ("no_such_module:Thing", "cannot be loaded"),
    ],
)
def test_what_is_not_a_data_module_is_named(name: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        module_class(name)
