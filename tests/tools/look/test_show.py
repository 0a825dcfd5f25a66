import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from labelled import task_tables, write_labelled
from rich.console import Console

import foretell
from foretell.data.preparing import prepared
from foretell.data.tokenizers.kinds import CharacterConfig, WordConfig
from foretell.errors import ConfigError
from foretell.recipe.files import recipe_names
from foretell.recipe.loading import load_recipe
from foretell.run import Run
from foretell.tools.look.show import describe, render
from foretell.training.checkpoint import save

SMALL = {"model": {"embedding_dim": 8, "hidden": 16, "layers": 2, "output": 8}}
TIED = {"head": {"tied": True}, "data": {"tokenizer": "byte"}}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORETELL_CACHE", str(tmp_path / "cache"))


def shown(what: dict[str, Any], width: int = 80) -> list[str]:
    console = Console(width=width, highlight=False, color_system=None)
    with console.capture() as capture:
        console.print(render(what))
    return [line.rstrip() for line in capture.get().splitlines()]


def recipe_file(folder: Path, **tables: Any) -> str:
    path = folder / "mine.toml"
    path.write_text(load_recipe(tables).text(), encoding="utf-8")
    return str(path)


def lstm(inputs: int, hidden: int) -> int:
    """Four gates, each with both weights and both biases of the fused kernels."""
    return 4 * hidden * (inputs + hidden + 2)


# Recipes


def test_a_tied_head_is_counted_once_and_multiplied_by(tmp_path: Path) -> None:
    result = describe(recipe_file(tmp_path, **SMALL, **TIED))
    assert (result["vocabulary"], result["vocabulary_source"]) == (257, "bytes and the boundary")
    parts = {part["part"]: part for part in result["parts"]}
    assert parts["head"] == {"part": "head", "parameters": 257, "shared": 257 * 8}
    assert result["parameters"] == 257 * 8 + lstm(8, 16) + lstm(16, 8) + 257
    assert result["flops_per_token"]["forward"] == 2 * (4 * 16 * 24 + 4 * 8 * 24 + 257 * 8)
    assert any("2,056 shared with the embedding" in line for line in shown(result))


def test_the_toml_shown_is_the_resolved_recipe(tmp_path: Path) -> None:
    path = recipe_file(tmp_path, **SMALL)
    result = describe(path, ["model.cell=gru"])
    assert load_recipe(tomllib.loads(result["toml"])) == load_recipe(path, ["model.cell=gru"])
    assert result["vocabulary"] == 16384 and "at most" in result["vocabulary_source"]


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_is_described(name: str) -> None:
    result = describe(name, vocabulary=100_000)
    if load_recipe(name).model.counted:
        assert "parameters" not in result  # they follow from the text
        return
    assert sum(part["parameters"] for part in result["parts"]) == result["parameters"]
    assert max(map(len, shown(result))) <= 80
    json.dumps(result)


# The vocabulary


def corpus(folder: Path) -> Path:
    (folder / "text").mkdir()
    for split in ("train", "valid", "test"):
        (folder / "text" / f"{split}.txt").write_text("a b c\nd a\n")
    return folder / "text"


def test_words_of_a_small_corpus_are_counted(tmp_path: Path) -> None:
    path = recipe_file(tmp_path, data={"corpus": str(corpus(tmp_path)), "tokenizer": "word"})
    result = describe(path)
    assert (result["vocabulary"], result["vocabulary_source"]) == (6, "counted now")  # <unk>, <eos>
    assert not (tmp_path / "cache").exists()


def test_a_prepared_vocabulary_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = str(corpus(tmp_path))
    path = recipe_file(tmp_path, data={"corpus": text, "tokenizer": "character"})
    monkeypatch.setattr("foretell.tools.look.show.QUICKLY_COUNTED", 0)
    unknown = describe(path)
    assert unknown["vocabulary"] is None and "unknown until prepared" in unknown["vocabulary_source"]
    assert "parameters" not in unknown
    assert any(re.match(r"vocabulary +\? +unknown", line) for line in shown(unknown))
    store = prepared(text, CharacterConfig())
    result = describe(path)
    assert (result["vocabulary"], result["vocabulary_source"]) == (8, "prepared before")
    again = describe(recipe_file(tmp_path, data={"corpus": str(store.path)}))
    assert (again["vocabulary"], again["vocabulary_source"]) == (8, "the prepared store")


def test_a_corpus_that_is_not_there_leaves_the_vocabulary_unknown(tmp_path: Path) -> None:
    path = recipe_file(tmp_path, data={"corpus": str(tmp_path / "no"), "tokenizer": "word"})
    result = describe(path)
    assert result["vocabulary"] is None and "nearest existing folder" in result["vocabulary_source"]
    shown(result)


# Runs


def test_a_run_is_described_with_its_own_vocabulary_and_its_best_and_last(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", recipe=load_recipe(SMALL).text(), resume=False)
    WordConfig().train(["a b c\n"]).save(run.tokenizer_file)
    run.seal(run.tokenizer_file)
    for step, loss, names in ((2, 2.0, ("last", "best")), (3, 2.5, ("last",))):
        record = {"kind": "valid", "step": step, "epoch": 1.0, "loss": loss}
        run.append(record | {"loss": 0.1})  # these records have no checksum
        pointers = {name: {"step": step, "weights": "raw"} for name in names}
        facts = {"position": {}, "pointers": pointers, "validation": record}
        save(run, step, {"model": {"w": torch.zeros(2)}}, facts)
    run.append({"kind": "train", "stage": "", "step": 4, "epoch": 1.0, "tokens": 8, "seconds": 1.0, "loss": 9.0})
    result = describe(str(run.path))
    assert result["what"] == "run"
    assert (result["vocabulary"], result["vocabulary_source"]) == (5, "the run's tokenizer")
    assert result["best"]["step"] == 2 and result["last"]["step"] == 4
    assert result["checkpoints"] == {name: {"step": s, "weights": "raw"} for name, s in (("best", 2), ("last", 3))}
    assert any(re.match(r"best loss +2\.0000  step 2", line) for line in shown(result))


def test_a_task_is_shown_with_its_labels_and_its_metric(tmp_path: Path) -> None:
    tables = task_tables("classification", "recurrent", write_labelled("classification", tmp_path), limit="2steps")
    run = foretell.train(tables, tmp_path / "run", quiet=True)
    result = describe(str(run.run.path))
    assert result["parameters"] == run.parameters
    assert any(re.match(r"best accuracy +0\.\d{4}  step 2", line) for line in shown(result))


def test_a_model_without_a_loss_per_token_is_shown_with_that_of_its_objective(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", recipe=load_recipe(SMALL).text(), resume=False)
    record = {"kind": "valid", "step": 2, "epoch": 1.0, "loss": None, "objective_loss": 1.5}
    pointers = {name: {"step": 2, "weights": "raw"} for name in ("best", "last")}
    save(run, 2, {}, {"position": {}, "pointers": pointers, "validation": record})
    assert any(re.match(r"best loss +1\.5000  step 2", line) for line in shown(describe(str(run.path))))


# Words


def test_the_word_goes_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(recipe_file(tmp_path, **SMALL)).rename("lstm")
    assert describe("lstm")["what"] == "kind"
    assert describe("./lstm")["what"] == "recipe"


def test_mistakes_say_what_was_meant() -> None:
    with pytest.raises(ConfigError, match="did you mean 'lstm'"):
        describe("lsmt")
    with pytest.raises(ConfigError, match="did you mean 'zaremba-small-ptb'"):
        describe("zaremba-small-pbt")
    with pytest.raises(ConfigError, match="did you mean 'optimizer'"):
        describe("optimiser")
    with pytest.raises(ConfigError, match="settings do not change it"):
        describe("lstm", ["model.layers=2"])
    with pytest.raises(ConfigError, match="give the number of tokens"):
        describe("zaremba-small-ptb", vocabulary=1)
