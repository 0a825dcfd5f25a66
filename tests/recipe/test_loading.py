"""Recipes by name, by path and from tables, with bases and overrides."""

from pathlib import Path

import pytest
from builders import tables

import foretell
from foretell.errors import ConfigError
from foretell.recipe.loading import LONGEST_CHAIN, find_recipe, load_recipe, opened_by, recipe_at, recipe_folder
from foretell.recipe.recipe import Recipe


def test_a_chain_of_bases(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('seed = 3\n[model]\nkind = "recurrent"\nhidden = 5\nlayers = 2\n')
    (tmp_path / "b.toml").write_text('base = "c.toml"\n[model]\nhidden = 6\n')
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.toml").write_text('base = "../b.toml"\nseed = 4\n[optimizer]\nkind = "sgd"\n')
    recipe = load_recipe(tmp_path / "sub" / "a.toml", ["model.layers=1"])
    assert (recipe.seed, recipe.model.hidden, recipe.model.layers, recipe.name) == (4, 6, 1, "a")
    assert recipe.optimizer.kind == "sgd"


def test_a_base_may_be_a_shipped_recipe(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('base = "awd-lstm-ptb"\nseed = 9\n')
    recipe = load_recipe(tmp_path / "mine.toml")
    assert (recipe.seed, recipe.model.hidden, recipe.name) == (9, 1150, "mine")


def test_bases_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('base = "b.toml"')
    (tmp_path / "b.toml").write_text('base = "a.toml"')
    with pytest.raises(ConfigError, match="refers back to it"):
        load_recipe(tmp_path / "a.toml")


def test_a_recipe_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="no recipe 'awd-lstm-bpt'; did you mean 'awd-lstm-ptb'"):
        load_recipe("awd-lstm-bpt")


def test_a_mistake_in_a_later_stage_is_one_now(tmp_path: Path) -> None:
    stages = [{"name": "warm", "limit": "1epochs"}, {"name": "main", "limit": "1epochs", "set": {"model.layrs": 3}}]
    with pytest.raises(ConfigError, match=r"stage 'main': model\.layrs: no such setting; did you mean 'layers'"):
        load_recipe({"stages": stages})
    file = tmp_path / "stages.toml"
    file.write_text('base = "char-lstm"\n[[stages]]\nname = "a"\nlimit = "1steps"\nset = { "optimizer.kind" = "x" }\n')
    with pytest.raises(ConfigError, match=r"stages\.toml: stage 'a': optimizer") as raised:
        load_recipe(file)
    assert raised.value.file == file


def test_a_chain_of_bases_is_not_endless(tmp_path: Path) -> None:
    for number in range(LONGEST_CHAIN):
        (tmp_path / f"{number}.toml").write_text(f'base = "{number + 1}.toml"\n')
    last = tmp_path / f"{LONGEST_CHAIN}.toml"
    last.write_text("seed = 7\n")
    assert load_recipe(tmp_path / "1.toml").seed == 7
    with pytest.raises(ConfigError, match=f"a chain of more than {LONGEST_CHAIN} recipes"):
        load_recipe(tmp_path / "0.toml")
    last.write_text("base = 3\n")
    with pytest.raises(ConfigError, match=r"base should be the name of a recipe, not 3"):
        load_recipe(last)


def test_a_path_goes_before_a_shipped_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_recipe("char-lstm") == find_recipe("char-lstm.toml") == recipe_folder() / "char-lstm.toml"
    (tmp_path / "char-lstm.toml").write_text("seed = 5\n")
    assert load_recipe("char-lstm.toml").seed == 5
    assert load_recipe("char-lstm").seed == 1


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
