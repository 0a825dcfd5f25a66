"""Runs with different tokenizers in one mixture: byte by byte, with the figures of each run over its own tokens."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from predictors import trained
from typer.testing import CliRunner

import foretell
from foretell.api.over_bytes import OverBytes, in_one_vocabulary
from foretell.cli import app

BPE = {"kind": "bpe", "size": 280}
Runs = dict[str, foretell.Trained]


@pytest.fixture(scope="module")
def runs(corpus: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("members")
    return {
        "mixing": trained("context-mixing", corpus, folder),
        "lstm": trained("lstm", corpus, folder, BPE),
        "ngram": trained("ngram", corpus, folder / "other", {"kind": "bpe", "size": 270}),
    }


@pytest.mark.parametrize("name", ["lstm", "ngram"])
def test_a_run_over_bytes_is_no_worse_than_over_its_tokens(runs: Runs, name: str) -> None:
    """Other ways to write a text only add to its probability, but for what was dropped and the floor."""
    own, over = runs[name].evaluate("test"), OverBytes(runs[name]).evaluate("test", audit=True)
    assert over["audit"]["passed"]
    assert own["bits_per_byte"] - 0.2 < over["bits_per_byte"] < own["bits_per_byte"] + 2e-3


@pytest.mark.parametrize("how", [False, True, "gated", "logistic"])
def test_runs_with_different_tokenizers_are_mixed(runs: Runs, tmp_path: Path, how: Any) -> None:
    mixed = foretell.mix([*runs.values()], online=how, out=tmp_path / "mixture")
    found = mixed.evaluate("test", audit=True)
    figures = found["adaptive"] if how else found
    assert figures["audit"]["passed"] and np.isfinite(figures["bits_per_byte"])
    assert mixed.tokenizer.kind == "byte"
    opened = foretell.load(tmp_path / "mixture")
    assert opened.evaluate("test")["loss"] == found["loss"] and opened.digest == mixed.digest
    assert opened.generate("the cat", tokens=5, seed=1) == mixed.generate("the cat", tokens=5, seed=1)
    assert opened.decompress(opened.compress(b"the cat\n")) == b"the cat\n"


@pytest.mark.parametrize("resets", ["lines", "documents"])
def test_runs_that_begin_anew_at_lines_or_documents(
    runs: Runs, corpus: dict[str, str], tmp_path: Path, resets: str
) -> None:
    run = trained("ngram", corpus, tmp_path, BPE, data__batches=resets)
    assert foretell.mix([run, runs["mixing"]]).evaluate("test", audit=True)["audit"]["passed"]
    own, over = run.evaluate("test"), OverBytes(run).evaluate("test")
    assert own["bits_per_byte"] - 0.2 < over["bits_per_byte"] < own["bits_per_byte"] + 2e-3


@pytest.mark.parametrize("arguments", [["--prompt", "the c"], ["--prompt", "the c", "--characters"]])
def test_several_texts_are_continued_side_by_side(runs: Runs, arguments: list[str]) -> None:
    first, second = str(runs["lstm"].run.path), str(runs["ngram"].run.path)
    mixed = ["--mix", second, "--mix-weights", "0.5,0.5"]
    found = CliRunner().invoke(app, ["next", first, *mixed, *arguments])
    assert found.exit_code == 0 and found.stdout.startswith("the c"), found.output
    texts = CliRunner().invoke(app, ["generate", first, *mixed, "--prompt", "the cat", "--tokens", "8", "--count", "2"])
    assert texts.exit_code == 0, texts.output


def test_what_adapts_is_refused(runs: Runs) -> None:
    adapted = runs["lstm"].adapted(
        dynamic={"rule": "sgd", "learning_rate": 0.1, "decay": 0.0, "segment": 5}, quiet=True
    )
    with pytest.raises(foretell.ConfigError, match="cannot adapt"):
        foretell.mix([runs["mixing"], adapted])


def test_one_vocabulary_stays_as_it_is(runs: Runs) -> None:
    assert in_one_vocabulary([runs["lstm"], runs["lstm"]]) == [runs["lstm"], runs["lstm"]]
    first, second = in_one_vocabulary([runs["lstm"], runs["ngram"]])
    assert isinstance(first, OverBytes) and isinstance(second, OverBytes)
    assert first.parameters == runs["lstm"].parameters and not first.adapts and first.digest == runs["lstm"].digest


def test_words_cannot_be_mixed_with_bytes(runs: Runs, corpus: dict[str, str], tmp_path: Path) -> None:
    word = trained("ngram", corpus, tmp_path, "word")
    with pytest.raises(foretell.ConfigError, match="do not spell every text; train one with the tokenizer"):
        foretell.mix([runs["mixing"], word])
