"""Counting n-grams: one pass, one checkpoint, measured as everything else."""

from pathlib import Path

import pytest
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
