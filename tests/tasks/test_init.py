"""What a task takes over from the run that `init` names: model, head, tokenizer, weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from builders import attending, masking, tables
from labelled import write_labelled

import foretell
from foretell.errors import ConfigError
from foretell.recipe.loading import load_recipe


@pytest.fixture(scope="module")
def runs(corpus: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recurrent model, a GPT, and a BERT that has learnt pairs, of a few steps each."""
    folder = tmp_path_factory.mktemp("runs")
    pairs = {"kind": "sentence-pair", "pairs": "sop", "batch": 4, "length": 16}
    both = {
        "kind": "transformer",
        "direction": "both",
        "hidden": 8,
        "layers": 1,
        "heads": 2,
        "context": 16,
        "segments": 2,
    }
    for name, recipe in {
        "lstm": tables(corpus, limit="2steps"),
        "gpt": attending(corpus, limit="2steps", model__context=32),
        "bert": masking(corpus, limit="2steps", data__batches=pairs, model=both),
    }.items():
        foretell.train(recipe, folder / name, quiet=True)
    return folder


def begun(runs: Path, init: str, folder: Path, **changes: Any) -> foretell.Trained:
    """A run of a task that is what it began as, as far as it began with something."""
    data = write_labelled("classification", folder)
    recipe = {
        "init": str(runs / init),
        "limit": "1steps",
        "data": {"batches": {"kind": "examples", "batch": 4, "length": 16}, **data},
        "objective": {"kind": "classification"},
        "optimizer": {"kind": "sgd", "learning_rate": 1e-30},
    }
    return foretell.train(load_recipe(recipe, changes), folder / "run", quiet=True)


@pytest.mark.parametrize("init", ["lstm", "gpt", "bert"])
def test_model_tokenizer_and_weights_go_on(runs: Path, init: str, tmp_path: Path) -> None:
    before, after = foretell.load(runs / init), begun(runs, init, tmp_path)
    assert after.settings.model == before.settings.model
    assert after.tokenizer.fingerprint == before.tokenizer.fingerprint
    mine, its = after.objective.backbone.state_dict(), before.objective.backbone.state_dict()
    assert mine.keys() == its.keys() and all(torch.equal(mine[name], its[name]) for name in its)
    (record,) = [r for r in after.run.metrics() if r["kind"] == "init"]
    assert record["new_weights"] == ["outputs.1.bias", "outputs.1.weight"]
    assert any(name.startswith("head.") for name in record["left_weights"]) == (init != "gpt")  # whose head is tied


def test_the_pooler_of_a_bert_goes_on(runs: Path, tmp_path: Path) -> None:
    before, after = foretell.load(runs / "bert"), begun(runs, "bert", tmp_path)
    assert torch.equal(after.objective.pooler.weight, before.objective.pooler.weight)


def test_the_head_goes_on_where_tokens_are_predicted_beside(runs: Path, tmp_path: Path) -> None:
    before = foretell.load(runs / "gpt")
    after = begun(runs, "gpt", tmp_path, **{"objective.language_weight": 0.5})
    assert after.objective.head.weight is after.objective.backbone.embedding.weight  # tied, as there
    assert torch.equal(after.objective.head.weight, before.objective.head.weight)


def test_single_settings_are_changed_without_a_kind(runs: Path, tmp_path: Path) -> None:
    after = begun(runs, "lstm", tmp_path, **{"model.dropout.output": 0.3})
    before = foretell.load(runs / "lstm").settings.model
    assert after.settings.model == before.model_copy(
        update={"dropout": before.dropout.model_copy(update={"output": 0.3})}
    )


def test_new_marks_begin_at_the_mean(runs: Path, tmp_path: Path) -> None:
    before = foretell.load(runs / "gpt")
    after = begun(runs, "gpt", tmp_path, **{"data.tokenizer.specials": "gpt", "objective.pooling": "extract"})
    old, new = before.objective.backbone.embedding.weight, after.objective.backbone.embedding.weight
    assert len(new) == len(old) + 3
    torch.testing.assert_close(new[: len(old)], old)
    torch.testing.assert_close(new[len(old) :], old.mean(0).expand(3, -1))
    specials = after.tokenizer.specials
    assert {specials.begin, specials.separator, specials.extract} == set(range(len(old), len(old) + 3))


def test_what_is_said_of_labels_goes_on_only_with_the_same_labels(runs: Path, tmp_path: Path) -> None:
    first = begun(runs, "lstm", tmp_path)
    (tmp_path / "again").mkdir()
    again = begun(tmp_path, "run", tmp_path / "again", seed=2)
    assert torch.equal(again.objective.outputs[1].weight, first.objective.outputs[1].weight)
    (tmp_path / "other").mkdir()
    other = tmp_path / "other.tsv"
    other.write_text("text\tlabel\nthe cat\tA\na dog\tB\na tree\tC\n")
    corpus = {"train": str(other), "valid": str(other)}
    changed = begun(tmp_path, "run", tmp_path / "other", seed=3, **{"data.corpus": corpus})
    assert not torch.equal(changed.objective.outputs[1].weight, first.objective.outputs[1].weight)
    (record,) = [r for r in changed.run.metrics() if r["kind"] == "init"]
    assert "outputs.1.weight" in record["new_weights"]


def test_a_run_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shipped recipe shows what it would be; to train it, the run has to be made."""
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe("bert-finetune-sst2")
    assert recipe.model.layers == 4 and recipe.data.tokenizer.path == "runs/bert-wiki-mini"
    data = {f"data.{key}": value for key, value in write_labelled("classification", tmp_path).items()}
    with pytest.raises(ConfigError, match=r"foretell import FOLDER .* foretell train bert-wiki-mini"):
        foretell.train(load_recipe("bert-finetune-sst2", data), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match="runs/none is not a run"):
        load_recipe("bert-finetune-sst2", {"init": "runs/none"})


def test_an_n_gram_model_is_refused(corpus: dict[str, str], tmp_path: Path) -> None:
    foretell.train(tables(corpus, model={"kind": "ngram", "order": 2}), tmp_path / "ngram", quiet=True)
    with pytest.raises(ConfigError, match="an n-gram model has none"):
        begun(tmp_path, "ngram", tmp_path)


def test_text_that_is_not_there_leaves_no_folder_behind(tmp_path: Path) -> None:
    with pytest.raises(foretell.ConfigError, match="no such"):
        foretell.train("lstm-small", tmp_path / "run", data__corpus=str(tmp_path / "none.txt"), quiet=True)
    assert not (tmp_path / "run").exists()
