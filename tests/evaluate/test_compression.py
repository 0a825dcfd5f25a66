"""Every model compresses to the size that `evaluate` measures, and gives back every byte, to its own run only."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import tables
from predictors import trained

import foretell
from foretell.coding import container
from foretell.coding.container import opened
from foretell.errors import ConfigError
from foretell.evaluate import compression

Runs = dict[str, foretell.Trained]
TEXTS = {
    "empty": b"",
    "one byte": b"\xff",
    "binary": bytes(range(256)),
    "no newline at the end": b"the cat sat on",
    "CRLF": b"the cat\r\nsat\r\n\r\n",
    "CJK": "貓坐在墊子上。\n".encode(),
}


@pytest.fixture(scope="module")
def runs(corpus: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("compression")
    return {name: trained(name, corpus, folder) for name in ("ngram", "lstm", "gpt", "context-mixing")}


def model_of(runs: Runs, name: str) -> Any:
    if name != "mixture":
        return runs[name]
    return foretell.mix([runs["lstm"], runs["ngram"], runs["context-mixing"]], [0.2, 0.3, 0.5])


@pytest.mark.parametrize("name", ["ngram", "lstm", "gpt", "context-mixing", "mixture"])
def test_every_model_gives_back_every_byte(runs: Runs, name: str) -> None:
    model = model_of(runs, name)
    for text in TEXTS.values():
        assert model.decompress(model.compress(text)) == text
    if model.learns_as_it_reads:
        text = TEXTS["CJK"] * 8
        static = model.compress(text, static=True)
        assert model.decompress(static) == text and len(static) > len(model.compress(text))


@pytest.mark.parametrize("name", ["ngram", "lstm", "gpt", "context-mixing", "mixture"])
def test_the_size_is_what_evaluate_measures(runs: Runs, corpus: dict[str, str], name: str) -> None:
    model, text = model_of(runs, name), Path(corpus["test"]).read_bytes()
    measured = model.evaluate("test")
    for static in (True, False) if model.learns_as_it_reads else (True,):
        figures = measured if static else model.learning().evaluate("test")
        bits = figures["bits_per_byte"] * len(text)
        assert abs(8 * len(model.compress(text, static=static)) - bits) <= 0.001 * bits + 800


def test_lines_start_afresh_as_in_evaluate(corpus: dict[str, str], tmp_path: Path) -> None:
    recipe = tables(corpus, data__tokenizer="byte", data__batches={"kind": "lines", "batch": 4})
    model, text = foretell.train(recipe, tmp_path / "run", quiet=True), Path(corpus["test"]).read_bytes()
    size = len(compressed := model.compress(text))
    assert model.decompress(compressed) == text
    assert 8 * size == pytest.approx(model.evaluate("test")["bits_per_byte"] * len(text), rel=0.001, abs=800)


def test_subwords_restore_their_text_or_refuse_it(corpus: dict[str, str], tmp_path: Path) -> None:
    subwords = trained("ngram", corpus, tmp_path, {"kind": "bpe", "size": 300})
    for text in ("the cat\r\n  sat — 貓\n\n", "<|endofdoc|>\nthe", "\ufeffthe", ""):
        assert subwords.decompress(subwords.compress(text.encode())) == text.encode()
    with pytest.raises(
        ConfigError, match=r"^content: is not UTF-8 .byte 4., and the tokens of .* are not bytes; use a run"
    ):
        subwords.compress(b"the \xff cat")


def test_words_that_are_lost_are_refused(corpus: dict[str, str], tmp_path: Path) -> None:
    words = trained("ngram", corpus, tmp_path, {"kind": "word"})
    text = Path(corpus["test"]).read_bytes()
    assert words.decompress(words.compress(text)) == text
    with pytest.raises(ConfigError, match=r"^notes:2: the tokens of .* do not restore this line"):
        words.compress(b"the cat\nthe zebra\n", name="notes")


def test_only_its_own_model_opens_a_file(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    compressed = runs["lstm"].compress(b"the cat sat\n")
    with pytest.raises(ConfigError, match="compressed by another model than"):
        runs["gpt"].decompress(compressed)
    with pytest.raises(ConfigError, match="compressed by one run or a mixture with --log"):
        foretell.mix([runs["lstm"], runs["ngram"]], [0.5, 0.5]).decompress(compressed)
    together = foretell.mix([runs["lstm"], runs["ngram"]], [0.4, 0.6]).compress(b"the cat sat\n")
    with pytest.raises(ConfigError, match="a mixture of 2 runs: name the others with --mix"):
        runs["lstm"].decompress(together)
    assert foretell.mix([runs["lstm"], runs["ngram"]], [1, 0]).decompress(together) == b"the cat sat\n"
    with pytest.raises(ConfigError, match=r"another model .* the order of its runs counts"):
        foretell.mix([runs["ngram"], runs["lstm"]], [0.6, 0.4]).decompress(together)


def test_another_machine_and_another_outcome_are_refused(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    model = runs["lstm"]
    compressed = model.compress(b"the cat sat\n")
    with monkeypatch.context() as patch:
        patch.setattr(compression, "machine", lambda: b"elsewhere"[:8])
        with pytest.raises(ConfigError, match="another kind of processor"):
            model.decompress(compressed)
    header, message = opened(compressed, "")
    forged = replace(header, digest=container.digest_of(b"other")).seal(message)
    with pytest.raises(ConfigError, match="comes back altered"):
        model.decompress(forged)


def test_line_ends_are_those_of_the_spelling(runs: Runs) -> None:
    assert np.flatnonzero(compression.line_ends(runs["lstm"].tokenizer)).tolist() == [11]


def test_a_file_that_claims_more_tokens_than_it_can_hold_is_refused(runs: Runs) -> None:
    model = runs["context-mixing"]
    header, message = opened(model.compress(b"the cat"), "content")
    for tokens in (1 << 31, (1 << 64) - 1):
        with pytest.raises(ConfigError, match="cannot hold as many tokens as it says"):
            model.decompress(replace(header, tokens=tokens).seal(message))


def test_runs_that_start_afresh_in_different_places_are_not_coded_together(corpus: dict[str, str], runs: Runs) -> None:
    recipe = tables(corpus, data__tokenizer="byte", data__batches={"kind": "lines", "batch": 4}, limit="12steps")
    lines = foretell.train(recipe, runs["lstm"].run.path.parent / "lines", quiet=True)
    for mixed in (foretell.mix([lines, runs["lstm"]]), foretell.mix([runs["ngram"], lines], online=True)):
        with pytest.raises(ConfigError, match="read each line from a fresh state and others do not"):
            mixed.compress(b"the cat\n")
