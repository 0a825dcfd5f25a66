"""Surprisal of words: against sums over the next tokens, and alike for vocabularies that say the same."""

import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from predictors import trained
from torch import Tensor

import foretell
from foretell.evaluate.words import WordReader
from foretell.types import Inputs, Scores

CPU = torch.device("cpu")
BLANK = [b + 1 for b in b" \t\n\r\v\f"] + [0]


@pytest.fixture(scope="module")
def runs(corpus: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, foretell.Trained]:
    folder = tmp_path_factory.mktemp("words")
    tokenizers: dict[str, Any] = {"byte": "byte", "bpe": {"kind": "bpe", "size": 300}, "word": {"kind": "word"}}
    return {name: trained("ngram", corpus, folder / name, kind) for name, kind in tokenizers.items()}


def reader(run: foretell.Trained) -> WordReader:
    return WordReader(run.scorer(ranks=False), run.tokenizer, CPU)


def logp_after(run: foretell.Trained, ids: list[int]) -> np.ndarray:
    return run.scorer(ranks=False).next(torch.tensor([[run.tokenizer.boundary, *ids]]), None)[0][0].double().numpy()


@pytest.mark.parametrize("name", ["byte", "bpe"])
@pytest.mark.parametrize("text", ["a \u00a0 b\n", "\u3000\n", "\u00a0\t\u00e9 x\u2028y\n"])
def test_only_the_blanks_that_end_words_separate_them(runs: dict[str, foretell.Trained], name: str, text: str) -> None:
    found = list(reader(runs[name]).words(text))
    assert [one.word for one in found] == re.findall(r"[^ \t\n\r\v\f]+", text)
    assert all(text[one.start : one.end] == one.word for one in found)


def test_bytes_by_hand(runs: dict[str, foretell.Trained]) -> None:
    run, text = runs["byte"], "the  貓 sat\n"
    found = list(reader(run).words(text, 10))
    assert [(one.word, one.start, one.end) for one in found] == [("the", 10, 13), ("貓", 15, 16), ("sat", 17, 20)]
    ids = run.tokenizer.encode(text)

    def chain(begin: int, end: int) -> float:
        return sum(float(logp_after(run, ids[:i])[ids[i]]) for i in range(begin, end))

    def ending(place: int) -> float:
        return float(np.logaddexp.reduce(logp_after(run, ids[:place])[BLANK]))

    wanted = [
        chain(0, 3) + ending(3),
        chain(3, 8) + ending(8) - ending(3),
        chain(8, 12) + ending(12) - ending(8),
    ]
    np.testing.assert_allclose([one.bits for one in found], [-bits / math.log(2) for bits in wanted], rtol=1e-6)


@pytest.mark.parametrize("name", ["byte", "bpe", "word"])
def test_words_add_up_to_their_text(runs: dict[str, foretell.Trained], name: str) -> None:
    run, text = runs[name], "the cat sat on the mat\n"
    words = list(reader(run).words(text))
    assert [one.word for one in words] == text.split() and [text[one.start : one.end] for one in words] == text.split()
    scored = run.score([text])[0]
    newline = -scored.token_logp[-1] / math.log(2)
    ids = run.tokenizer.encode(text)[:-1]
    ends = [run.tokenizer.stream().spell(token, ids[-1]) for token in range(run.tokenizer.size)]
    blank = [not text or text[:1] in (b" ", b"\t", b"\n", b"\r", b"\v", b"\f") for text in ends]
    mass = float(np.logaddexp.reduce(logp_after(run, ids)[blank]))
    assert sum(one.bits for one in words) == pytest.approx(
        -scored.logp / math.log(2) - newline - mass / math.log(2), rel=1e-6
    )


def test_a_word_ends_with_certainty_where_a_token_is_a_word(runs: dict[str, foretell.Trained]) -> None:
    run = runs["word"]
    scored = run.score(["the cat sat\n"])[0]
    bits = [one.bits for one in reader(run).words("the cat sat\n")]
    np.testing.assert_allclose(bits, [-logp / math.log(2) for logp in scored.token_logp[:3]], atol=1e-6)


def test_text_goes_on_until_it_is_restarted(runs: dict[str, foretell.Trained]) -> None:
    run = runs["bpe"]
    whole = [one.bits for one in reader(run).words("the cat\nsat on\n")]
    carried = reader(run)
    parts = [one.bits for line in ("the cat\n", "sat on\n") for one in carried.words(line)]
    np.testing.assert_allclose(parts, whole, rtol=1e-9)
    carried.restart()
    assert [one.bits for one in carried.words("the cat\n")] == whole[:2]


class Chars:
    """A model over any tokens that spells text letter by letter: each character has the same probability."""

    independent = True
    each = math.log(0.125)

    def __init__(self, spelled: list[bytes]) -> None:
        lengths = torch.tensor([len(text) for text in spelled], dtype=torch.float64)
        self.logp = self.each * lengths

    def begin(self, rows: int, tokens: int) -> Any:
        return None

    def next(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        return self.logp.expand(len(tokens), -1), torch.zeros(len(tokens), 1)

    def score(self, inputs: Inputs, targets: Tensor, state: Any) -> tuple[Scores, Any]:
        return Scores(self.logp[targets]), torch.zeros(len(targets), 1)


def test_the_ends_of_tokens_in_a_word_cost_nothing(runs: dict[str, foretell.Trained]) -> None:
    tokenizer = runs["bpe"].tokenizer
    spelled = [tokenizer.stream().spell(token, None) for token in range(tokenizer.size)]
    found = list(WordReader(Chars(spelled), tokenizer, CPU).words("the zebra sat\n"))
    ends = sum(
        0.125 ** len(text) for text in spelled if not text or text[:1] in (b" ", b"\n", b"\t", b"\r", b"\v", b"\f")
    )
    assert found[1].bits == pytest.approx(3 * len(" zebra"))  # B before it and behind it cancel
    assert found[0].bits == pytest.approx(3 * len("the") - math.log2(ends))
