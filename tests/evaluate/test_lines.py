"""Many texts side by side are scored as each would be alone, and carried texts as one."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import tables

import foretell
from foretell.evaluate.lines import Lines, Reader, score_texts
from foretell.types import Inputs

TEXTS = [
    "the cat sat on the mat\n",
    "",
    "a dog\n",
    "\n",
    "the unheard-of cat\n",
    "and then slept",
    "the dog ran on " * 60 + "\n",  # longer than a window
    "a\n",
    "x" * 70_000 + " cat\n",  # longer than a piece
]


@pytest.fixture(scope="module", params=["word", "character", "byte", {"kind": "bpe", "size": 290}], ids=str)
def run(request: Any, corpus: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> foretell.Trained:
    recipe = tables(corpus, data__tokenizer=request.param, optimizer={"kind": "adam", "learning_rate": 0.02})
    return foretell.train(recipe, tmp_path_factory.mktemp("run") / "run", quiet=True)


def alone(run: foretell.Trained, text: str) -> list[float]:
    """Token by token, each from the whole distribution."""
    state, given, found = None, run.tokenizer.boundary, []
    for token in run.tokenizer.encode(text):
        log_probs, state = run.scorer().next(torch.tensor([[given]]), state)
        found.append(float(log_probs[0, token]))
        given = token
    return found


def test_side_by_side_is_alone(run: foretell.Trained) -> None:
    texts = [text for text in TEXTS if len(text) < 10_000]
    for text, scored in zip(texts, run.score(texts), strict=True):
        expected = alone(run, text)
        assert scored.text == text
        assert scored.token_logp == pytest.approx(expected, abs=1e-6, rel=1e-6)
        assert scored.logp == pytest.approx(sum(expected), abs=1e-6, rel=1e-6)
        assert scored.tokens == tuple(run.tokenizer.token(i) for i in run.tokenizer.encode(text))
        (single,) = run.score([text])
        assert single.logp == pytest.approx(scored.logp, abs=1e-6, rel=1e-6)


def test_long_lines(run: foretell.Trained) -> None:
    (scored,) = run.score(TEXTS[-1:])
    ids = run.tokenizer.encode(TEXTS[-1])
    assert len(scored.tokens) == len(ids)
    inputs = torch.tensor([[run.tokenizer.boundary, *ids[:-1]]])
    whole, _ = run.scorer(ranks=False).score(Inputs(tokens=inputs), torch.tensor([ids]), None)
    assert scored.logp == pytest.approx(float(whole.logp.sum()), rel=1e-5)


def test_carried_is_one_text(run: foretell.Trained, corpus: dict[str, str]) -> None:
    """However the lines are handed over, and equal to what `evaluate` says of the file."""
    lines = Path(corpus["test"]).read_text().splitlines(keepends=True)
    whole = Reader(run.scorer(ranks=False), run.tokenizer, run.device).score(lines)
    reader = Reader(run.scorer(ranks=False), run.tokenizer, run.device, window=7)
    parts = [scored for begin in range(0, len(lines), 4) for scored in reader.score(lines[begin : begin + 4])]
    assert [s.logp for s in parts] == pytest.approx([s.logp for s in whole], rel=1e-5)
    assert [s.text for s in parts] == lines
    measured = run.evaluate("test")
    assert -sum(s.logp for s in whole) == pytest.approx(measured["loss"] * measured["tokens"], rel=1e-6)
    assert sum(len(s.tokens) for s in whole) == measured["tokens"]


def test_nothing_at_all(run: foretell.Trained) -> None:
    for scored in (*run.score(["", ""]), *Reader(run.scorer(), run.tokenizer, run.device).score([""])):
        assert (scored.logp, scored.tokens, scored.bits_per_byte, scored.perplexity) == (0, (), None, None)
    assert run.score([]) == []


def test_figures_by_hand(run: foretell.Trained) -> None:
    (scored,) = run.score(["the cät"])
    assert scored.bits == pytest.approx(-scored.logp / 0.6931471805599453)
    assert scored.bits_per_byte == pytest.approx(scored.bits / 8)
    assert scored.bits_per_character == pytest.approx(scored.bits / 7)
    assert scored.perplexity == pytest.approx(math.exp(-scored.logp / len(scored.tokens)))


def test_unknown_tokens_are_counted(run: foretell.Trained) -> None:
    unheard, known = run.score(["the zzz 4Q cat", "the cat"])
    expected = {"word": 2, "character": 5}.get(run.tokenizer.kind, 0)
    assert (unheard.unknown, known.unknown) == (expected, 0)


def test_texts_as_tokens(run: foretell.Trained) -> None:
    lines = Lines.encode(TEXTS, run.tokenizer)
    for text, begin, end in zip(TEXTS, lines.lines, lines.lines[1:], strict=False):
        assert lines.tokens[begin:end].tolist() == run.tokenizer.encode(text)
    assert len(score_texts(run.scorer(), run.tokenizer, TEXTS[:3], run.device)) == 3


def test_lone_surrogates_are_replaced_and_counted(run: foretell.Trained) -> None:
    """Those that Python keeps bytes with are a byte each, others three."""
    spoiled, plain, both = run.score(["the caf\udce9\n", "the caf\ufffd\n", "\ud800\udce9"])
    assert spoiled.text == plain.text and spoiled.logp == pytest.approx(plain.logp)
    assert (spoiled.bytes, plain.bytes, both.bytes) == (9, 11, 4)
    assert spoiled.lossy and both.lossy
    assert plain.lossy == (run.tokenizer.unknown is not None)
    assert len(run.features(["\ud800"])) == 1
    assert list(run.stream("the \ud800", 3))
