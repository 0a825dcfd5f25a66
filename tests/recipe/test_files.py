"""Recipe files: names and bases."""

from pathlib import Path

import pytest

from foretell.errors import ConfigError
from foretell.recipe.files import LONGEST_CHAIN, find_recipe, recipe_folder
from foretell.recipe.loading import load_recipe


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
