"""Counting n-grams: one pass, one checkpoint, measured as everything else."""

from pathlib import Path

import pytest
import torch
from builders import tables

import foretell

Corpus = dict[str, str]


def counted(corpus: Corpus, out: Path, **changes: object) -> foretell.Trained:
    recipe = tables(corpus, **{"limit": "1epochs", "model": {"kind": "ngram", "order": 3}} | changes)
    return foretell.train(recipe, out, quiet=True)


def test_it_is_saved_finished_and_measured_alike(corpus: Corpus, tmp_path: Path) -> None:
    run = counted(corpus, tmp_path / "run")
    assert run.ngram is not None and run.ngram.order == 3
    (saved,) = (tmp_path / "run" / "checkpoints").glob("step-*")
    assert saved.name == "step-00000000" and run.checkpoint.position().finished
    assert run.validation()["loss"] == pytest.approx(run.evaluate("valid")["loss"], abs=1e-9)


@pytest.mark.parametrize("kind", ["ngram", "unbounded-ngram", "context-mixing"])
def test_what_training_returns_is_what_was_saved(kind: str, corpus: Corpus, tmp_path: Path) -> None:
    changes = {"data__tokenizer": "byte"} if kind == "context-mixing" else {}
    run = counted(corpus, tmp_path / "run", model={"kind": kind}, **changes)
    again = foretell.load(tmp_path / "run")
    for model in (run, again):
        model.evaluate("test")  # which must not change it
    texts = ["the cat sat\n", "a dog"]
    assert run.score(texts) == again.score(texts)
    assert (run.digest, run.parameters) == (again.digest, again.parameters)
    now = {"peak_memory_bytes": 0}  # of this process, which may have grown
    assert run.summary() | now == again.summary() | now


def test_a_limit_in_tokens_counts_the_beginning(corpus: Corpus, tmp_path: Path) -> None:
    whole = counted(corpus, tmp_path / "whole")
    part = counted(corpus, tmp_path / "part", limit="100tokens")
    (record,) = (r for r in part.run.metrics() if r["kind"] == "fit")
    assert record["tokens"] == 100
    assert part.parameters < whole.parameters
    assert part.evaluate("test")["loss"] > whole.evaluate("test")["loss"]


def test_lines_are_counted_apart(corpus: Corpus, tmp_path: Path) -> None:
    """With the context reset at each line a line scores the same alone and behind others."""
    run = counted(corpus, tmp_path / "run", data__batches={"kind": "lines"})
    first, second = run.score(["the cat sat\n", "the dog ran\n"])
    assert [first.logp, second.logp] == [run.score([text])[0].logp for text in ("the cat sat\n", "the dog ran\n")]
    assert run.context() == "state reset at lines"


@pytest.mark.parametrize("model", [{"kind": "ngram", "order": 3}, {"kind": "unbounded-ngram"}])
@pytest.mark.parametrize("resets", ["streams", "documents", "lines"])
@pytest.mark.parametrize("bytewise", [False, True])
def test_more_text_is_counted_as_if_both_were_one(
    tmp_path: Path, model: dict[str, object], resets: str, bytewise: bool
) -> None:
    """`init` adds a text to that of a run; both in one folder give the same model to the last bit."""
    texts = ["the cat sat on the mat\nand slept\n", "a dog ran\nthe cat ran\n" * 3]
    held_out = {"valid": "the dog sat\n", "test": "the dog ran\n"}
    folders = {name: tmp_path / name for name in ("one", "two", "both")}
    for folder, parts in zip(folders.values(), (texts[:1], texts[1:], texts), strict=True):
        folder.mkdir()
        for number, part in enumerate(parts):
            (folder / f"train-{number}.txt").write_text(part)
        for split, part in held_out.items():
            (folder / f"{split}.txt").write_text(part)
    common = {"model": model, "limit": "1epochs", "data": {"batches": {"kind": resets}}}
    tokenizer = {"kind": "byte"} if bytewise else {"kind": "word"}

    def trained(name: str, tokens: dict[str, str], **more: str) -> foretell.Trained:
        data = {"corpus": str(folders[name]), "tokenizer": tokens, **common["data"]}
        return foretell.train(common | {"data": data} | more, tmp_path / f"run-{name}", quiet=True)

    whole = trained("both", tokenizer)
    its = {"kind": "file", "path": str(whole.run.tokenizer_file)}
    first = trained("one", its)
    second = foretell.train(
        common | {"data": {"corpus": str(folders["two"]), **common["data"]}, "init": str(first.run.path)},
        tmp_path / "run-second",
        quiet=True,
    )
    assert second.weights.keys() == whole.weights.keys()
    for name, tensor in whole.weights.items():
        assert torch.equal(second.weights[name], tensor), name


def test_counts_are_added_to_those_of_counted_runs_with_their_text(corpus: Corpus, tmp_path: Path) -> None:
    copied = {split: tmp_path / f"{split}.txt" for split in corpus}
    for split, path in copied.items():
        path.write_text(Path(corpus[split]).read_text())
    first = counted({split: str(path) for split, path in copied.items()}, tmp_path / "first")
    copied["train"].write_text("another text\n" * 20)
    with pytest.raises(foretell.ConfigError, match="has changed since it was counted"):
        counted(corpus, tmp_path / "second", init=str(first.run.path), data__tokenizer={})
    with pytest.raises(foretell.ConfigError, match="counts other tokens"):
        counted(corpus, tmp_path / "third", init=str(first.run.path), data__tokenizer={"kind": "character"})


def test_a_text_counted_before_and_another_kind_of_model_are_told(
    corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counted(corpus, tmp_path / "first")
    changes = {"limit": "1epochs", "model": {"kind": "unbounded-ngram"}, "init": str(tmp_path / "first")}
    recipe = changes | {"data": {"corpus": corpus}}
    foretell.train(recipe, tmp_path / "second")
    said = capsys.readouterr().err
    assert f"this text is counted twice: it is a text of {tmp_path / 'first'} already" in said
    assert "first is used, as ngram and unbounded-ngram have no counts in common" in said
    other = tmp_path / "other.txt"
    other.write_text("another text\n" * 9)
    foretell.train(recipe, tmp_path / "third", data__corpus=corpus | {"train": str(other)})
    assert "counted twice" not in capsys.readouterr().err
