"""A run is whole: moved, without its cache, and beside a text that was edited it gives the same figures."""

import logging
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from builders import attending, averaging, masking, outcome, replacing, tables, write_corpus
from labelled import task_tables, write_labelled

import foretell
from foretell.errors import ConfigError
from foretell.training.trainer import Trainer

Recipe = dict[str, Any]
WORDPIECE = {"kind": "wordpiece", "size": 60, "specials": "bert"}

FAMILIES: dict[str, Callable[[dict[str, str]], Recipe]] = {
    "lstm-word": lambda corpus: averaging(corpus, limit="20steps"),
    "qrnn-bpe": lambda corpus: tables(corpus, model__cell="qrnn", data__tokenizer={"kind": "bpe", "size": 300}),
    "mlstm-byte": lambda corpus: tables(corpus, model__cell="mlstm", data__tokenizer="byte"),
    "gpt-character": lambda corpus: attending(corpus, data__tokenizer="character", limit="12steps"),
    "bert-wordpiece": lambda corpus: masking(corpus, data__tokenizer=WORDPIECE, limit="12steps"),
    "albert-unigram": lambda corpus: masking(
        corpus,
        limit="12steps",
        data__tokenizer={"kind": "unigram", "size": 60, "specials": "bert"},
        model={"kind": "transformer", "direction": "both", "hidden": 8, "layers": 2, "heads": 2, "context": 12}
        | {"groups": 1, "embedding_dim": 6},
    ),
    "electra-wordpiece": lambda corpus: replacing(corpus, data__tokenizer=WORDPIECE, limit="12steps"),
    "ngram-word": lambda corpus: tables(corpus, model={"kind": "ngram", "order": 3}),
}


@pytest.fixture(params=FAMILIES)
def recipe(request: pytest.FixtureRequest, tmp_path: Path) -> Recipe:
    (tmp_path / "text").mkdir()
    return FAMILIES[request.param](write_corpus(tmp_path / "text"))


def no_cache(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """As on the next morning: nothing that was prepared before is there."""
    monkeypatch.setenv("FORETELL_CACHE", str(folder))


def stopped_at(step: int, recipe: Recipe, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train and be interrupted there; an n-gram model is counted in one go."""
    original = Trainer.step

    def patched(self: Trainer, *args: Any) -> None:
        if self.position.step == step:
            os.kill(os.getpid(), signal.SIGTERM)
        original(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", patched)
        try:
            foretell.train(recipe, out, quiet=True)
        except foretell.Interrupted:
            return
    assert recipe["model"]["kind"] == "ngram"


def figures(run: Path, split: str = "valid") -> dict[str, Any]:
    """What is measured on a split, without what a clock says."""
    found = foretell.load(run, which="last", quiet=True).evaluate(split)
    kept = ("loss", "bits_per_byte", "masked_loss", "replaced_loss", "tokens", "unknown_rate", "accuracy")
    return {name: found[name] for name in kept if name in found}


def edit(path: str | Path) -> None:
    """Other words at the beginning, so that tokens of a vocabulary made anew are others."""
    text = Path(path).read_text()
    Path(path).write_text("tree tree zebra mat zebra\n" * 40 + text)


def test_moved_and_without_a_cache_it_goes_on_to_the_last_bit(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foretell.train(recipe, tmp_path / "whole", quiet=True)
    stopped_at(5, recipe, tmp_path / "begun", monkeypatch)
    shutil.move(tmp_path / "begun", tmp_path / "elsewhere")
    no_cache(monkeypatch, tmp_path / "other-cache")
    foretell.train(tmp_path / "elsewhere", tmp_path / "elsewhere", resume=True, quiet=True)
    assert outcome(tmp_path / "elsewhere") == outcome(tmp_path / "whole")
    assert figures(tmp_path / "elsewhere") == figures(tmp_path / "whole")


def test_of_an_edited_text_the_rest_is_measured_alike_and_nothing_is_learned(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stopped_at(5, recipe, tmp_path / "run", monkeypatch)
    before = figures(tmp_path / "run")
    edit(recipe["data"]["corpus"]["train"])
    no_cache(monkeypatch, tmp_path / "other-cache")
    assert figures(tmp_path / "run") == before
    if recipe["model"]["kind"] != "ngram":
        with pytest.raises(ConfigError, match=r"the train text of .* has changed since this run began; restore it"):
            foretell.train(recipe, tmp_path / "run", resume=True, quiet=True)
    assert not caplog.records
    edit(recipe["data"]["corpus"]["valid"])
    edited = foretell.load(tmp_path / "run", which="last", quiet=True).evaluate("valid")
    assert edited["corpus"] == "changed since this run began"
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        f"{tmp_path / 'run'}: the valid text has changed since this run began"
    ]
    # and what it says of it is what it says of the same text as a file
    alone = foretell.load(tmp_path / "run", which="last", quiet=True).evaluate(str(recipe["data"]["corpus"]["valid"]))
    assert {name: alone[name] for name in before} == {name: edited[name] for name in before}


def test_a_task_whose_labels_changed_is_not_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_labelled("classification", tmp_path)
    train = Path(data["corpus"]["train"]).with_name("train.tsv")
    shutil.copy(data["corpus"]["train"], train)
    data["corpus"]["train"] = str(train)
    recipe = task_tables("classification", "recurrent", data, limit="12steps")
    stopped_at(5, recipe, tmp_path / "run", monkeypatch)
    before = figures(tmp_path / "run")
    text = train.read_text()
    names = sorted(foretell.load(tmp_path / "run", which="last").labels)
    swapped = text.replace(names[0], "\0").replace(names[1], names[0]).replace("\0", names[1])
    assert swapped != text
    train.write_text(swapped)
    assert figures(tmp_path / "run") == before
    with pytest.raises(ConfigError, match=r"the train text of .* has changed since this run began"):
        foretell.train(recipe, tmp_path / "run", resume=True, quiet=True)
    train.write_text(text)
    foretell.train(recipe, tmp_path / "run", resume=True, quiet=True)


def test_a_store_in_tokens_of_another_vocabulary_is_refused(corpus: dict[str, str], tmp_path: Path) -> None:
    from foretell.data.opening import open_corpus
    from foretell.data.store.store import prepare
    from foretell.data.tokenizers.kinds import ByteConfig, WordConfig

    text = open_corpus(corpus)
    words = WordConfig().train(piece.text for piece in text.pieces("train"))
    prepare(text, words, tmp_path / "store")
    foretell.train(
        tables({}, **{"data.corpus": str(tmp_path / "store"), "limit": "2steps"}), tmp_path / "run", quiet=True
    )
    before = figures(tmp_path / "run")
    shutil.move(tmp_path / "store", tmp_path / "words")
    prepare(text, ByteConfig().train(()), tmp_path / "store")
    with pytest.raises(ConfigError, match="of another tokenizer than the run's"):
        figures(tmp_path / "run")
    shutil.rmtree(tmp_path / "store")
    shutil.move(tmp_path / "words", tmp_path / "store")
    assert figures(tmp_path / "run") == before
