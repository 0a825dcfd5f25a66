"""Runs uploaded to the hub are what a name on the hub opens."""

import json
import shutil
from pathlib import Path

import pytest
from builders import tables
from hub_server import Hub, online
from typer.testing import CliRunner

import foretell
from foretell.cli import app
from foretell.errors import ConfigError
from foretell.tools.use.convert import import_path
from foretell.tools.use.hugging_face import export_folder
from foretell.tools.use.push import card_of, push
from foretell.training.checkpoint import files_of

pytest.importorskip("huggingface_hub")
__all__ = ["online"]  # a fixture
TO = "hf:me/lstm"


@pytest.fixture(scope="module")
def trained(corpus: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> foretell.Trained:
    every = {"checkpoint": {"every": "4steps", "keep": 3}, "evaluation": {"every": "4steps"}}
    return foretell.train(tables(corpus, limit="12steps", **every), tmp_path_factory.mktemp("push") / "run", quiet=True)


def test_a_run_comes_back_as_it_was(
    online: Hub, trained: foretell.Trained, corpus: dict[str, str], tmp_path: Path
) -> None:
    (trained.run.path / "notes.txt").write_text("mine")
    pushed = push(trained, TO, public=False)
    there = online.repositories["me/lstm"]
    assert pushed["files"] == len(there) and online.visibility == {"me/lstm": "private"}
    assert "notes.txt" not in there and there["recipe.toml"] == trained.run.recipe_file.read_bytes()
    for which in ("best", "last"):
        again = foretell.load(TO, which=which, quiet=True)
        mine = foretell.load(trained.run.path, which=which, quiet=True)
        assert {name: tensor.tolist() for name, tensor in again.weights.items()} == {
            name: tensor.tolist() for name, tensor in mine.weights.items()
        }
    assert again.evaluate(corpus["test"])["loss"] == pytest.approx(mine.evaluate(corpus["test"])["loss"])
    further = foretell.train(tables(corpus, init=TO, limit="1steps"), tmp_path / "further", quiet=True)
    assert foretell.load_recipe(further.run.path).init == TO
    asked = len(online.asked)
    done = CliRunner().invoke(app, ["evaluate", TO, "--split", corpus["test"], "--json"])
    assert json.loads(done.stdout)["split"] == corpus["test"]
    assert len(online.asked) == asked  # from the cache


def test_a_run_from_elsewhere_fetches_nothing(
    online: Hub, trained: foretell.Trained, corpus: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(trained, TO, public=False)
    further = foretell.train(tables(corpus, init=TO, limit="1steps"), tmp_path / "further", quiet=True)
    shutil.rmtree(tmp_path / "cache")
    monkeypatch.setenv("FORETELL_STATE", str(tmp_path / "another account"))
    asked = len(online.asked)
    with pytest.raises(ConfigError, match=rf"open .*{TO}"):
        foretell.train(further.run.path, further.run.path, resume=True, quiet=True)
    assert foretell.load(further.run.path, quiet=True).evaluate(corpus["test"])["loss"] > 0
    assert len(online.asked) == asked


def test_the_card_says_what_it_is(trained: foretell.Trained) -> None:
    card = card_of(trained, TO)
    assert 'library_name: "foretell"' in card and "pipeline_tag" not in card
    assert f"`foretell generate {TO}`" in card and f"{trained.parameters:,}" in card
    assert f"{trained.summary()['bits_per_byte']:.4f}" in card


def test_only_the_best_and_the_last_checkpoint_are_uploaded(trained: foretell.Trained) -> None:
    files = files_of(trained.run)
    steps = {name.split("/")[1] for name in files if name.startswith("checkpoints/")}
    assert len(steps) <= 2 and f"step-{trained.run.saved['last']:08}" in "".join(steps)
    assert {"recipe.toml", "checksums.json", "tokenizer.json", "metrics.jsonl"} <= files.keys()


def test_a_checkpoint_of_transformers_is_imported_by_its_name(
    online: Hub, corpus: dict[str, str], tmp_path: Path
) -> None:
    model = {"kind": "transformer", "layers": 1, "hidden": 16, "heads": 2, "context": 16}
    recipe = tables(corpus, model=model, head={"bias": False}, limit="2steps")
    run = foretell.train(recipe, tmp_path / "gpt", quiet=True)
    export_folder(run, tmp_path / "folder")
    online.repositories["me/gpt"] = {
        file.name: file.read_bytes() for file in (tmp_path / "folder").iterdir() if file.is_file()
    }
    import_path(Path("hf:me/gpt"), tmp_path / "imported", "python-docs", None)
    again = foretell.load(tmp_path / "imported", quiet=True)
    lines = ["one line"]
    assert again.score(lines)[0].logp == pytest.approx(run.score(lines)[0].logp, abs=1e-4)
    with pytest.raises(ConfigError, match="is not a run"):
        foretell.load("hf:me/gpt")


def test_a_wrong_name_is_found_before_anything_is_loaded(tmp_path: Path) -> None:
    from foretell.cli.checks import check_hub_name

    with pytest.raises(ConfigError, match="write hf:OWNER/NAME"):
        check_hub_name("me/lstm")
