"""One run on several labelled sets: which there are, how each is learnt, and the table."""

from pathlib import Path
from typing import Any

import pytest
from builders import attending, masking, tables
from rich.console import Console

import foretell
from foretell.api.train import run_recipe
from foretell.data.labelled.datasets import SETS, available_sets
from foretell.errors import ConfigError
from foretell.recipe.loading import load_recipe, unfreezing
from foretell.tools import subprocesses
from foretell.tools.train.transfer import recipe_for, render, transfer

Corpus = dict[str, str]
TINY = ["data.batches.batch=8", "optimizer.learning_rate=0.01"]


def in_this_process(verb: str, target: str, *options: str, quiet: bool) -> dict[str, Any]:
    """What a child process would print."""
    given = dict(zip(options[::2], options[1::2], strict=False))
    if verb == "train":
        return run_recipe(load_recipe(target), given["--out"], resume=True, quiet=quiet).summary()
    return foretell.load(target).evaluate(given["--split"])


@pytest.fixture
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SST-2 and TREC as they are stored, with a few examples each."""
    monkeypatch.setenv("FORETELL_DATA", str(tmp_path / "data"))
    for folder in ("sst", "trec"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for split, rows in {"train": 12, "dev": 6, "test": 6}.items():
        lines = [f'{n % 2},"{split} the cat {"sat" if n % 2 else "ran"} {n}"' for n in range(rows)]
        file = tmp_path / "data" / "sst" / f"{split}_binary_sent.csv"
        file.write_text("\n".join(["label,sentence", *lines]) + "\n")
    for split, rows in {"train": 30, "test": 6}.items():
        kinds = [("LOC:city", "sat") if n % 2 else ("NUM:date", "ran") for n in range(rows)]
        lines = [f"{label} {split} the dog {word} {n}" for n, (label, word) in enumerate(kinds)]
        (tmp_path / "data" / "trec" / f"TREC.{split}").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def runs(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of each kind of model."""
    folder = tmp_path_factory.mktemp("runs")
    recipes = {
        "recurrent": tables(corpus, limit="2steps", model__layers=2),
        "causal": attending(corpus, limit="2steps", model__context=24),
        "masked": masking(corpus, limit="2steps"),
        "counted": {"data": {"corpus": corpus, "tokenizer": "word"}, "model": {"kind": "ngram", "order": 2}},
    }
    return {name: foretell.train(recipe, folder / name, quiet=True).run.path for name, recipe in recipes.items()}


def test_available_sets(sets: None) -> None:
    assert available_sets([]) == ["sst2", "trec", "trec-fine"]
    assert available_sets(["trec"]) == ["trec"]
    with pytest.raises(ConfigError, match="no labelled data set 'trek'; did you mean 'trec'"):
        available_sets(["trek"])
    with pytest.raises(ConfigError, match="imdb"):
        available_sets(["imdb"])


def test_what_is_learnt_of_each_set() -> None:
    found = {name: entry.reader.task for name, entry in SETS.items()}
    assert {name for name, task in found.items() if task == "tagging"} == {"conll2003", "ncbi-disease", "wnut17"}
    assert {name for name, task in found.items() if task == "answering"} == {"squadshifts", "xquad"}
    assert {name for name, task in found.items() if task == "similarity"} == {"stsb"}
    assert {name for name, task in found.items() if task == "choice"} == {"storycloze"}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("kind", ["recurrent", "causal", "masked"])
def test_every_set_has_a_recipe_for_every_model(runs: dict[str, Path], kind: str, name: str) -> None:
    recipe = recipe_for(runs[kind], name, [])
    assert (recipe.data.corpus, recipe.init) == (name, str(runs[kind]))
    assert recipe.objective.kind == SETS[name].reader.task
    recipe.build(50)


def test_words_are_told_where_they_are_known(runs: dict[str, Path]) -> None:
    found = {kind: recipe_for(runs[kind], "conll2003", []).objective.at for kind in ("recurrent", "causal", "masked")}
    assert found == {"recurrent": "last", "causal": "last", "masked": "first"}


def test_recurrent_models_are_unfrozen_layer_by_layer(runs: dict[str, Path]) -> None:
    stages = recipe_for(runs["recurrent"], "sst2", []).resolved_stages()
    tunings = [settings.trainable for _, settings in stages]
    assert [(one.kind, getattr(one, "layers", None)) for one in tunings] == [
        ("top", 0),
        ("top", 1),
        ("top", 2),
        ("full", None),
    ]
    assert len(unfreezing(3, "5epochs")) == 5
    whole = recipe_for(runs["recurrent"], "sst2", ["limit=2epochs"])
    assert (whole.stages, str(whole.limit)) == ((), "2epochs")


def test_an_ngram_model_has_nothing_to_tune(runs: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match="a model of kind 'ngram' has no layers to fine-tune"):
        recipe_for(runs["counted"], "sst2", [])


@pytest.mark.parametrize("kind", ["recurrent", "causal"])
def test_every_set_is_a_row(
    kind: str, sets: None, runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocesses, "child", in_this_process)
    course = {"seeds": 2, "out": tmp_path / "out", "quiet": True}
    settings = [*TINY, "limit=8steps", "trainable=full"]
    found = transfer(runs[kind], ["trec", "sst2"], settings, resume=False, **course)
    assert list(found["results"]) == ["trec", "sst2"]
    for name, row in found["results"].items():
        assert (row["task"], row["metric"], row["trained"], row["failed"]) == ("classification", "accuracy", 2, 0)
        measured = [
            foretell.load(tmp_path / "out" / name / f"seed-{seed}").evaluate("test")["accuracy"] for seed in (1, 2)
        ]
        assert row["test"]["median"] == pytest.approx(sum(measured) / 2)
        assert row["bag_of_words"]["accuracy"] == 1  # a word tells
    for width in (60, 80, 120):
        with (console := Console(width=width)).capture() as printed:
            console.print(render(found))
        assert "…" not in printed.get() and max(map(len, printed.get().splitlines())) <= width
        text = " ".join(printed.get().split())
        assert all(name in text for name in ("trec", "sst2", "bag of", "accuracy", f"{row['test']['median']:.4f}"))
    monkeypatch.setattr(subprocesses, "child", lambda *_, **__: pytest.fail("nothing is left to do"))
    again = transfer(runs[kind], ["trec", "sst2"], settings, resume=True, **course)
    assert again["results"] == found["results"]
