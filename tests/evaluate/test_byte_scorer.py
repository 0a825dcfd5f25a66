"""Models over tokens as models over bytes, against the sum over all token sequences that begin with a text."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluate.test_characters import Bigram
from predictors import trained
from torch import Tensor

from foretell.data.tokenizers.kinds import BPEConfig, WordConfig
from foretell.data.tokenizers.tokenizer import Tokenizer
from foretell.errors import ConfigError
from foretell.evaluate.byte_scorer import FLOOR, ByteScorer, Sorted
from foretell.types import IGNORED, Inputs

LINES = ["the cat sat on the mat and then the cat ran\n"] * 20


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return BPEConfig(size=290).train(LINES)


def bigram(tokenizer: Tokenizer) -> Bigram:
    return Bigram(tokenizer.size, [t for t in range(tokenizer.size) if not tokenizer.stream().spell(t, None).isascii()])


def by_force(model: Bigram, tokenizer: Tokenizer, text: bytes, *, whole: bool = False) -> float:
    """The probability that a document begins with a text, or is the `whole` of it."""
    spelled = [tokenizer.stream().spell(token, None) for token in range(tokenizer.size)]
    p = model.logp.exp().tolist()

    @cache
    def rest(place: int, before: int) -> float:
        left, total = text[place:], 0.0
        if not left:
            return p[before][tokenizer.boundary] if whole else 1.0
        for token, written in enumerate(spelled):
            if written and left.startswith(written):
                total += p[before][token] * rest(place + len(written), token)
            elif not whole and written.startswith(left):
                total += p[before][token]
        return total

    return rest(0, tokenizer.boundary)


def row_of(text: bytes) -> Tensor:
    return torch.tensor([[0, *(byte + 1 for byte in text)]])


@pytest.mark.parametrize("text", [b"", b"the cat sat", b"then  ThE\nma", "caf\u00e9 \u20ac".encode(), b"\xff\x00the"])
def test_bytes_have_the_probability_of_all_ways_to_write_them(tokenizer: Tokenizer, text: bytes) -> None:
    model = bigram(tokenizer)
    logp, _ = ByteScorer(model, tokenizer, kept=0.0, most=10_000).next(row_of(text), None)
    wanted = np.array(
        [by_force(model, tokenizer, text, whole=True)]
        + [by_force(model, tokenizer, text + bytes([byte])) for byte in range(256)]
    )
    np.testing.assert_allclose(logp[0].exp().numpy(), wanted / wanted.sum(), atol=2 * FLOOR)


@pytest.mark.parametrize("flatness", [1.0, 4.0])
def test_ways_that_are_dropped_cost_little(tokenizer: Tokenizer, flatness: float) -> None:
    """Of a flat model many ways to write a text are about as likely."""
    model, row = bigram(tokenizer), row_of(LINES[0].encode())
    model.logp = torch.log_softmax(model.logp / flatness, -1)
    exact, _ = ByteScorer(model, tokenizer, kept=1e-9, most=1000).score(Inputs(tokens=row[:, :-1]), row[:, 1:], None)
    found, _ = ByteScorer(model, tokenizer).score(Inputs(tokens=row[:, :-1]), row[:, 1:], None)
    assert abs(float((found.logp - exact.logp).mean())) < 2e-3
    few, _ = ByteScorer(model, tokenizer, kept=0.5, most=1).score(Inputs(tokens=row[:, :-1]), row[:, 1:], None)
    assert float(few.logp.sum()) < float(exact.logp.sum())


def test_after_a_byte_that_only_dropped_ways_have_it_goes_on(tokenizer: Tokenizer) -> None:
    scorer = ByteScorer(bigram(tokenizer), tokenizer, kept=0.5, most=1)
    row = row_of(b"\xfe\xfdthqz\xfcthe cat")
    distributions, _ = scorer.distributions(Inputs(tokens=row), row, None)
    np.testing.assert_allclose(distributions.exp().sum(-1).numpy(), 1, atol=1e-12)
    assert float(distributions[0, -2, 1 + ord("t")]) > np.log(1e-3)


def test_windows_continue_and_states_can_be_taken_again(tokenizer: Tokenizer) -> None:
    scorer, row = ByteScorer(bigram(tokenizer), tokenizer), row_of(b"the cat\n")
    row = torch.cat([row, row_of(b"sat")], 1)  # two documents
    whole, _ = scorer.distributions(Inputs(tokens=row), row, None)
    targets = row[:, 1:].clone()
    targets[0, -2:] = IGNORED
    first, state = scorer.score(Inputs(tokens=row[:, :5]), targets[:, :5], None)
    second, _ = scorer.score(Inputs(tokens=row[:, 5:-1]), targets[:, 5:], state)
    found = torch.cat([first.logp, second.logp], 1)[0]
    own = whole[0, :-1].gather(1, row[0, 1:, None])[:, 0]
    torch.testing.assert_close(found[:-2], own[:-2], rtol=0, atol=0)
    assert (found[-2:] == 0).all()
    again, _ = scorer.next(row[:, 5:7], state)
    torch.testing.assert_close(again[0], whole[0, 6], rtol=0, atol=0)
    fresh, _ = scorer.next(row_of(b"s"), None)
    torch.testing.assert_close(whole[0, 10], fresh[0], rtol=0, atol=0)  # a bigram knows no more of the first document


def test_tokens_that_lose_text_are_refused() -> None:
    words = WordConfig().train(LINES)
    with pytest.raises(ConfigError, match="do not spell every text"):
        ByteScorer(bigram(words), words)


def test_rows_are_read_side_by_side(tokenizer: Tokenizer) -> None:
    scorer, texts = ByteScorer(bigram(tokenizer), tokenizer), (b"the cat s", b"ThE\xffzz at")
    both, state = scorer.next(torch.cat([row_of(text) for text in texts]), None)
    further, _ = scorer.next(row_of(b"a")[:, 1:].expand(2, 1), state)
    for k, text in enumerate(texts):
        alone, _ = scorer.next(row_of(text), None)
        torch.testing.assert_close(both[k], alone[0], rtol=0, atol=1e-12)
        alone, _ = scorer.next(row_of(text + b"a"), None)
        torch.testing.assert_close(further[k], alone[0], rtol=0, atol=1e-12)


def test_the_longest_tokens_of_a_text() -> None:
    tokens = Sorted([b"", b"a", b"ab", b"abc", b"b", b"cd"])
    assert [tokens.order[at] for at in tokens.longest(b"ababcb")] == [2, 3, 4]
    assert tokens.longest(b"abd") == []


@pytest.mark.parametrize("name", ["gpt", "lstm", "ngram"])
def test_runs_over_subwords(corpus: dict[str, str], tmp_path: Path, name: str) -> None:
    run = trained(name, corpus, tmp_path, {"kind": "bpe", "size": 280})
    scorer, row = ByteScorer(run.scorer(ranks=False), run.tokenizer), row_of(b"the cat sat\non")
    logp, _ = scorer.distributions(Inputs(tokens=row), row, None)
    np.testing.assert_allclose(logp.exp().sum(-1).numpy(), 1, atol=1e-6)
    for place in (3, 9):
        again, _ = scorer.next(row[:, : place + 1], None)
        np.testing.assert_allclose(again[0].numpy(), logp[0, place].numpy(), atol=1e-5)
