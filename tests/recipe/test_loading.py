"""Recipes by name, by path and from tables, with bases and overrides."""

from pathlib import Path
from typing import Any

import pytest
from builders import tables

import foretell
from foretell.errors import ConfigError
from foretell.recipe.loading import load_recipe, opened_by, recipe_at
from foretell.recipe.recipe import Recipe


def test_a_mistake_in_a_later_stage_is_one_now(tmp_path: Path) -> None:
    stages = [{"name": "warm", "limit": "1epochs"}, {"name": "main", "limit": "1epochs", "set": {"model.layrs": 3}}]
    with pytest.raises(ConfigError, match=r"stage 'main': model\.layrs: no such setting; did you mean 'layers'"):
        load_recipe({"stages": stages})
    file = tmp_path / "stages.toml"
    file.write_text('base = "char-lstm"\n[[stages]]\nname = "a"\nlimit = "1steps"\nset = { "optimizer.kind" = "x" }\n')
    with pytest.raises(ConfigError, match=r"stages\.toml: stage 'a': optimizer") as raised:
        load_recipe(file)
    assert raised.value.file == file


def test_a_recipe_is_loaded_of_anything(tmp_path: Path) -> None:
    recipe = load_recipe({"name": "a", "model": {"hidden": 12}}, ["seed=4"])
    (tmp_path / "a.toml").write_text(recipe.text())
    assert load_recipe(recipe) == load_recipe(recipe.tree()) == load_recipe(tmp_path / "a.toml") == recipe
    assert load_recipe(recipe, {"model.hidden": 13}).model.hidden == 13


def test_what_an_init_has_is_taken_where_nothing_is_named(corpus: dict[str, str], tmp_path: Path) -> None:
    before = foretell.train(tables(corpus, limit="1steps", head__tied=True), tmp_path / "run", quiet=True).run.path
    given = {"init": str(before), "data": {"corpus": corpus}}
    found = load_recipe(given)
    first = load_recipe(before)
    assert (found.model, found.head) == (first.model, first.head) and found.head.tied
    other = load_recipe(given | {"model": {"kind": "recurrent", "hidden": 3}})
    assert other.model.hidden == 3 and other.data.tokenizer == found.data.tokenizer
    own = load_recipe(given, {"data.tokenizer": {"kind": "byte"}})
    assert own.data.tokenizer.kind_name() == "byte" and own.model == first.model
    assert recipe_at("runs/char-lstm") == load_recipe("char-lstm")


def test_the_tokenizer_of_a_run_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.toml").write_text('[data.tokenizer]\nkind = "file"\npath = "tokenizer.json"\n')
    assert load_recipe(tmp_path / "a.toml").data.tokenizer.path == "tokenizer.json"
    (tmp_path / "tokenizer.json").touch()
    assert load_recipe(tmp_path / "a.toml").data.tokenizer.path == str(tmp_path / "tokenizer.json")


def test_everything_that_a_recipe_opens_is_known() -> None:
    assert opened_by(Recipe().tree()) == opened_by({"data": {"corpus": "ptb"}}) == {}
    stage = {"name": "b", "limit": "1steps", "set": {"data.corpus": "other.txt"}}
    tree = {
        "init": "runs/a",
        "data": {"corpus": {"train": "a.txt", "valid": "hf:b"}, "tokenizer": {"kind": "file", "path": "t.json"}},
        "stages": [stage],
    }
    assert opened_by(tree) == {
        "a.txt": "data.corpus=…",
        "hf:b": "data.corpus=…",
        "runs/a": "init=…",
        "t.json": "data.tokenizer={kind=…}",
        "other.txt": "stages=…",
    }


def test_what_counted_models_cannot_have() -> None:
    counted = {"model": {"kind": "ngram", "order": 2}}
    with pytest.raises(ConfigError, match="seeds = 2 would count the same n-grams each time; leave seeds out"):
        load_recipe(counted | {"seeds": 2})
    load_recipe(counted | {"seeds": 1})


@pytest.mark.parametrize(
    "settings", [["model.layer=3"], {"model.layer": 3}, ["model={layer=3}"], ["seed=1", "model.layer=3"]]
)
def test_a_wrong_setting_is_not_blamed_on_the_recipe(settings: Any, tmp_path: Path) -> None:
    """The file is named where the mistake is in it."""
    with pytest.raises(ConfigError) as caught:
        load_recipe("awd-lstm-tiny", settings)
    assert str(caught.value).startswith("model.layer: no such setting")
    (tmp_path / "mine.toml").write_text('base = "awd-lstm-tiny"\n[model]\nlayer = 3\n')
    with pytest.raises(ConfigError) as caught:
        load_recipe(str(tmp_path / "mine.toml"), ["seed=1"])
    assert str(caught.value).startswith(f"{tmp_path}/mine.toml: model.layer: no such setting")


def test_settings_are_checked_before_a_table_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("one,two\n1,2\n")
    with pytest.raises(ConfigError, match=r"^model.layer: no such setting"):
        load_recipe("classify", {"data.corpus": str(tmp_path / "a.csv"), "model.layer": 3})


def test_what_a_table_holds_reaches_the_objective(tmp_path: Path) -> None:
    """Tags that are plain classes, and several labels of a text, are learned as such."""
    (tmp_path / "pos.conll").write_text("the DET\ndog NOUN\nbarks VERB\n\n" * 5)
    given = {"data": {"corpus": str(tmp_path / "pos.conll"), "batches": {"kind": "examples"}}}
    guessed = load_recipe(given | {"objective": "tagging"})
    assert guessed.data.reader.scheme == guessed.objective.scheme == "none"  # type: ignore[union-attr]
    assert guessed.objective.metric == "accuracy"  # type: ignore[attr-defined]
    named = load_recipe(given | {"objective": {"kind": "tagging", "scheme": "iob2"}})
    assert named.objective.scheme == "iob2"  # type: ignore[attr-defined]
    (tmp_path / "own.csv").write_text("text,label\n" + "a b c,x;y\nd e f,x\n" * 5)
    given = {
        "data": {"corpus": str(tmp_path / "own.csv"), "batches": {"kind": "examples"}},
        "objective": "classification",
    }
    several = load_recipe(given, ["data.reader.labels=several", "data.reader.separator=';'"])
    assert several.objective.multi_label  # type: ignore[attr-defined]


def test_settings_of_a_reader_are_those_of_its_task(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("the DET x\ndog NOUN y\nbarks VERB z\n\n" * 5)
    given = {"objective": "tagging", "data": {"corpus": str(tmp_path / "a.conll"), "batches": {"kind": "examples"}}}
    reader = load_recipe(given, ["data.reader.tag=1"]).data.reader
    assert reader is not None and (reader.kind_name(), reader.tag, reader.scheme) == ("columns", 1, "none")  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match="did you mean 'tag'"):
        load_recipe(given, ["data.reader.tga=1"])
