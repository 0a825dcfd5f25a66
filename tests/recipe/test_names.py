"""Recipes checked before torch is imported, against the full check, which needs it."""

import json
from pathlib import Path

import pytest

from foretell.errors import ConfigError
from foretell.recipe.files import recipe_names
from foretell.recipe.loading import load_recipe
from foretell.recipe.names import SCHEMA, check_recipe, check_training, check_word, words
from foretell.tools.look.schema import schema
from foretell.tools.look.sections import sections


def test_the_schema_is_that_of_the_recipe() -> None:
    """Otherwise: foretell show schema > foretell/recipe/schema.json"""
    assert json.loads(SCHEMA.read_text()) == json.loads(json.dumps(schema()))


@pytest.mark.parametrize("name", recipe_names())
def test_names_of_shipped_recipes_are_known(name: str) -> None:
    check_recipe(name, [])


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
    "limit=10x",
    "limit=0epochs",
    "limit=3",
    "seed=1.5",
    "seeds=0",
    "model.layers=two",
    "model.layers=-1",
    "model.layers=2e9",
    "model.dropout.input=1.5",
    "model.dropout.input=nan",
    "model.dropout.locked=1",
    "head.tied=yes",
    "folds=2",
    "training.precision=fp61",
    "averaging.kind=nt-asgd averaging.from=x",
    "init=3",
]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_as_by_the_full_check(mistake: str) -> None:
    overrides = mistake.split(" ", 1) if " " in mistake and "stages" not in mistake else [mistake]
    with pytest.raises(ConfigError) as quick:
        check_recipe("char-lstm", overrides)
    with pytest.raises(ConfigError) as full:
        load_recipe("char-lstm", overrides)
    assert str(quick.value) == str(full.value)


@pytest.mark.parametrize(
    "right",
    [
        "model.cell={kind='outside:Cell', whatever=1}",
        "objective.kind=outside:Objective",
        "model.hidden=[3, 4]",
        "optimizer=3",
        "stages=[]",
        'stages=[{name="a", limit="1steps", set={"model.lyers"=1}}]',
    ],
)
def test_what_only_the_full_check_decides(right: str) -> None:
    check_recipe("char-lstm", [right])


def test_kinds_that_init_decides_are_left_to_the_full_check(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('init = "runs/x"\n')
    check_recipe(str(tmp_path / "a.toml"), ["model={attention=1}", "head.x=1", "data.tokenizer={path='a'}"])
    with pytest.raises(ConfigError, match=r"data\.bathces: no such setting"):
        check_recipe(str(tmp_path / "a.toml"), ["data.bathces=1"])


def test_other_names_of_settings_are_known() -> None:
    for mistake, meant in {"optimizer.lr": "learning_rate", "model.n_layer": "layers", "epochs": "limit"}.items():
        with pytest.raises(ConfigError, match=f"no such setting; did you mean '{meant}'"):
            check_recipe("char-lstm", [f"{mistake}=1"])


def test_runs_and_texts_to_train_from_are_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").write_text("text")
    check_training("char-lstm", ["data.corpus=mine.txt"])
    check_training("char-lstm", ["data.corpus=wikitext-103"])  # by name, wherever its files are
    check_training("classify", ["data.corpus=sst2"])  # its init is the run of a shipped recipe
    for wrong, message in {
        "data.corpus=mein.txt": "corpus 'mein.txt': no such file or folder; did you mean 'mine.txt'",
        "data.corpus.train=mein.txt": "did you mean 'mine.txt'",
        "data.corpus=reviews:mein.txt#body": "did you mean 'mine.txt'",
        "data.corpus=tinyshakspeare": "did you mean 'tinyshakespeare'",
        "init=runs/nosuch": "runs/nosuch is not a run",
    }.items():
        with pytest.raises(ConfigError, match=message):
            check_training("char-lstm", [wrong])


def test_show_knows_every_section_and_kind() -> None:
    """Against the sections of the typed recipe."""
    for section in sections():
        kinds = [member.kind_name() for member in section.members if "kind" in member.model_fields]
        for word in (section.name, section.singular, section.key, *kinds, *(f"{section.key}.{kind}" for kind in kinds)):
            check_word(word)
    assert {*recipe_names(), "recipes", "schema"} <= {*words()}
    with pytest.raises(ConfigError, match="no recipe, run, section or kind 'lstn'; did you mean 'lstm'"):
        check_word("lstn")
