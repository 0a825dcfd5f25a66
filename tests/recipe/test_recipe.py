"""The recipe: its text, its stages, its trials, and what makes two of them comparable."""

import math
import tomllib
from typing import Any

import pytest
from builders import tables
from pydantic import BaseModel

import foretell
from foretell import config
from foretell.config import validate
from foretell.data.labelled.folds import FoldConfig
from foretell.errors import ConfigError
from foretell.recipe.loading import load_recipe
from foretell.recipe.recipe import LONGEST_NAME, Recipe, as_name

Corpus = dict[str, str]


def test_outside_classes_go_through_text_and_back() -> None:
    given = {"model": {"kind": "outside:PairsConfig", "width": 12}, "objective": "outside:TwofoldConfig"}
    recipe = load_recipe(given)
    assert type(recipe.model).__name__ == "PairsConfig"
    assert recipe.tree()["model"] == {"kind": "outside:PairsConfig", "width": 12, "reads": ["causal", "lengths"]}
    assert validate(Recipe, tomllib.loads(recipe.text()), "text") == recipe


def test_a_recipe_is_its_text() -> None:
    """Every default, amounts and nested kinds included."""
    recipe = load_recipe(
        {
            "limit": "1234567steps",
            "model": {"cell": "gru", "dropout": {"weight": 0.5}},
            "objective": {"penalties": ["activation", {"kind": "temporal", "weight": 0.1}]},
            "schedule": {"kind": "steps", "at": ["3epochs", "5e6tokens"]},
            "stages": [{"name": "one", "limit": "10m", "set": {"head.tied": True, "model.output": 400}}],
        }
    )
    again = validate(Recipe, tomllib.loads(recipe.text()), "text")
    assert again == recipe
    assert again.text() == recipe.text()


def test_stages_keep_their_limits_to_the_last_digit() -> None:
    recipe = load_recipe({"stages": [{"name": "one", "limit": "12345678steps"}]})
    assert recipe.resolved_stages()[0][1].limit.value == 12345678
    assert math.isfinite(recipe.resolved_stages()[0][1].limit.value)


def test_every_setting_is_explained_or_plain() -> None:
    """No empty docstrings on settings: what is there says something."""

    def fields(cls: type[BaseModel]) -> Any:
        for name, field in cls.model_fields.items():
            yield f"{cls.__name__}.{name}", field.description
            for inner in config.configs_in(field.annotation):
                yield from fields(inner)

    assert [name for name, description in fields(Recipe) if description is not None and not description.strip()] == []


def test_settings_in_seconds_by_name(corpus: Corpus) -> None:
    plain = tables(corpus, limit="2steps")
    assert foretell.load_recipe(plain).on_the_clock() == []
    stages = [
        {"name": "a", "limit": "3steps"},
        {"name": "b", "limit": "10s", "set": {"averaging": {"kind": "swa", "start": "2m"}, "evaluation.every": "1m"}},
    ]
    found = foretell.load_recipe(plain | {"stages": stages}).on_the_clock()
    assert sorted(found) == ["averaging.start", "evaluation.every", "limit"]
    assert foretell.load_recipe({"model": {"kind": "ngram", "order": 2}, "limit": "10s"}).on_the_clock() == []


def test_trials_are_every_fold_with_every_seed() -> None:
    task = {"objective": "classification", "data": {"batches": {"kind": "examples"}}}
    recipe = load_recipe(task | {"seed": 5, "seeds": 2, "folds": 3})
    trials = recipe.trials()
    assert list(trials) == [f"fold-{fold}-seed-{seed}" for fold in (1, 2, 3) for seed in (5, 6)]
    one = trials["fold-2-seed-6"]
    assert (one.seed, one.data.fold, one.trials()) == (6, FoldConfig(number=2, of=3), {})
    assert one == load_recipe(task | {"seed": 6}, {"data.fold": {"number": 2, "of": 3}})
    assert list(load_recipe({"seeds": 3}).trials()) == ["seed-1", "seed-2", "seed-3"]
    assert list(load_recipe(task | {"folds": 3}).trials()) == ["fold-1", "fold-2", "fold-3"]
    assert load_recipe({}).trials() == {}


MASKED: dict[str, Any] = {
    "objective": "masked",
    "model": {"kind": "recurrent", "direction": "both"},
    "data": {"tokenizer": {"kind": "bpe", "specials": "bert"}, "batches": {"kind": "full", "length": 16}},
}


TASK: dict[str, Any] = {
    "objective": {"kind": "classification"},
    "data": {"corpus": "trec", "batches": {"kind": "examples"}},
}


@pytest.mark.parametrize(
    ("given", "change", "alike"),
    [
        ({}, {"model.hidden": 7}, True),
        ({}, {"optimizer.kind": "sgd"}, True),
        ({}, {"data.batches.length": 9, "data.batches.batch": 3}, True),
        ({}, {"data.batches.kind": "crops"}, False),
        ({}, {"data.corpus": "ptb"}, False),
        ({}, {"data.tokenizer.size": 400}, False),
        ({}, {"evaluation.columns": 4}, False),
        (MASKED, {"data.batches.batch": 3}, True),
        (MASKED, {"data.batches.length": 9}, False),
        (MASKED, {"objective.masking.rate": 0.4}, False),
        (MASKED, {"objective.pair_weight": 0.5}, False),
        (MASKED | {"objective": "replaced"}, {"objective.weight": 1.0}, False),
        (MASKED | {"objective": "replaced"}, {"optimizer.learning_rate": 0.5}, True),
        (TASK, {"objective.metric": "macro_f1"}, False),
        (TASK, {"objective.outputs.dropout": 0.3}, True),
    ],
)
def test_losses_that_are_comparable(given: dict[str, Any], change: dict[str, Any], alike: bool) -> None:
    one, other = load_recipe(given), load_recipe(given, change)
    assert one != other
    assert one.measures_like(other) == other.measures_like(one) == alike


def test_what_a_stage_keeps_belongs_to_the_same_weights() -> None:
    stages = [
        {"name": "a", "limit": "1steps", "set": {"trainable": {"kind": "top", "layers": 1}}},
        {"name": "b", "limit": "1steps", "keep": ["optimizer", "schedule"]},
    ]
    with pytest.raises(ConfigError, match=r"stage 'b': trainable selects other weights .* keep at most \"schedule\""):
        load_recipe({"stages": stages})
    stages[1]["keep"] = ["schedule"]
    (_, first), (_, second) = load_recipe({"stages": stages, "seed": 4}).resolved_stages()
    assert (first.trainable.kind_name(), second.trainable.kind_name()) == ("top", "full")
    assert (first.seed, second.seed, first.stages) == (4, 4, ())


@pytest.mark.parametrize("name", ["a/b", "..", ".", "a\\b", "a\nb", "x" * 300, "a\x1b[2J"])
def test_any_text_becomes_a_name(name: str) -> None:
    made = as_name(name)
    assert 0 < len(made) <= LONGEST_NAME
    assert load_recipe({"name": made}).name == made
    if "\x1b" not in name:
        with pytest.raises(ConfigError, match="is not a folder name"):
            load_recipe({"name": name})


def test_an_ngram_model_is_not_built() -> None:
    with pytest.raises(ConfigError, match="an n-gram model is counted"):
        load_recipe({"model": {"kind": "ngram", "order": 2}}).build(10)
