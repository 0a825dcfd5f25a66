"""Recipe files: names, bases, and the check of names before torch is imported."""

import json
from pathlib import Path

import pytest
from builders import run_command

from foretell.errors import ConfigError
from foretell.recipe.files import LONGEST_CHAIN, SCHEMA, check_names, find_recipe, recipe_folder, recipe_names
from foretell.recipe.loading import load_recipe
from foretell.tools.look.schema import schema


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


# --- names of settings ----------------------------------------------------------------------------


def test_the_schema_is_that_of_the_recipe() -> None:
    """Otherwise: foretell show schema > foretell/recipe/schema.json"""
    assert json.loads(SCHEMA.read_text()) == json.loads(json.dumps(schema()))


@pytest.mark.parametrize("name", recipe_names())
def test_names_of_shipped_recipes_are_known(name: str) -> None:
    check_names(name, [])


MISTAKES = [
    "modle.layers=3",
    "model.lyers=3",
    "model.cell=qrn",
    "model.cell.zoneuot=1",
    "model.dropout.betwen=1",
    "optimizer=admw",
    "optimizer.lr=1",
    "optimizer.kind=sgd optimizer.betas=[1, 2]",
    "head=adaptve",
    "data.batch=3",
    "data.tokenizer.kind=bep",
    "data.reader.kind=tabel",
    "data.ramp={tims=2}",
    "training.clip=1",
    "schedule.kind=cosin",
    "objective.kind=masked objective.masking.shre=1",
    'stages=[{name="a", limit="1steps", strat="best"}]',
    "evaluation.evry=1",
    "xyz=1",
]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_as_by_the_full_check(mistake: str) -> None:
    overrides = mistake.split(" ", 1) if " " in mistake and "stages" not in mistake else [mistake]
    with pytest.raises(ConfigError) as quick:
        check_names("char-lstm", overrides)
    with pytest.raises(ConfigError) as full:
        load_recipe("char-lstm", overrides)
    assert str(quick.value) == str(full.value)


@pytest.mark.parametrize(
    "right",
    [
        "model.cell={kind='outside:Cell', whatever=1}",
        "objective.kind=outside:Objective",
        "data.corpus={train='a', valid='b'}",
        "data.corpus.train=a",
        "model.layers=-1",
        "optimizer=3",
        "stages=[]",
        'stages=[{name="a", limit="1steps", set={"model.lyers"=1}}]',
    ],
)
def test_values_are_left_to_the_full_check(right: str) -> None:
    check_names("char-lstm", [right])


def test_kinds_that_init_decides_are_left_to_the_full_check(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('init = "runs/x"\n')
    check_names(str(tmp_path / "a.toml"), ["model={attention=1}", "head.x=1", "data.tokenizer={path='a'}"])
    with pytest.raises(ConfigError, match=r"data\.bathces: no such setting"):
        check_names(str(tmp_path / "a.toml"), ["data.bathces=1"])


def test_other_names_of_settings_are_known() -> None:
    for mistake, meant in {"optimizer.lr": "learning_rate", "model.n_layer": "layers", "epochs": "limit"}.items():
        with pytest.raises(ConfigError, match=f"no such setting; did you mean '{meant}'"):
            check_names("char-lstm", [f"{mistake}=1"])


@pytest.mark.parametrize(
    "words", ["train gtp", "train gpt model.lyers=3", "evaluate nosuch", "train gpt --device cdua"]
)
def test_mistakes_are_told_before_torch_is_imported(words: str) -> None:
    code, imports_torch, errors = run_command(words)
    assert code == "2" and not imports_torch and errors.startswith("error: ")
