"""The next character against brute force: all token sequences that begin with the prompt, one by one."""

from collections import defaultdict
from typing import Any

import pytest
import torch
from predictors import trained
from torch import Tensor

import foretell
from foretell.data.tokenizers.kinds import BPEConfig
from foretell.data.tokenizers.tokenizer import Tokenizer
from foretell.evaluate.characters import first_character, next_characters

CPU = torch.device("cpu")


class Bigram:
    """Predicts by the last token."""

    independent = True

    def __init__(self, size: int, rare: list[int]) -> None:
        draw = 2 * torch.randn(size, size, generator=torch.Generator().manual_seed(4)).double()
        draw[:, rare] -= 6
        self.logp = torch.log_softmax(draw, -1)

    def begin(self, rows: int, tokens: int) -> Any:
        return None

    def next(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        return self.logp[tokens[:, -1]], torch.zeros(len(tokens), 1)


def by_force(bigram: Bigram, tokenizer: Tokenizer, base: str, rest: bytes) -> dict[str, float]:
    """P(character | base + rest), over all sequences of tokens that write `rest` and one more character."""
    spelled = [tokenizer.stream().spell(token, None) for token in range(tokenizer.size)]
    p, found = bigram.logp.exp().tolist(), defaultdict[str, float](float)

    def follow(written: bytes, before: int, mass: float) -> None:
        for token, text in enumerate(spelled):
            longer, own = written + text, mass * p[before][token]
            if own < 1e-10 or not (longer.startswith(rest) or rest.startswith(longer)):
                continue
            if not text:
                if written == rest:
                    found[""] += own
                continue
            try:
                more = longer[len(rest) :].decode()[:1]
            except UnicodeDecodeError as problem:
                more = longer[len(rest) :][: problem.start].decode()[:1]
                if not more and problem.reason != "unexpected end of data":
                    more = "\ufffd"
            if more:
                found[more] += own
            else:
                follow(longer, token, own)

    follow(b"", (tokenizer.encode(base) or [tokenizer.boundary])[-1], 1.0)
    total = sum(found.values())
    return {text: mass / total for text, mass in found.items()}


@pytest.mark.parametrize(("prompt", "base"), [("a cat sa", "a cat"), ("a cat ", "a cat"), ("the\n", "the\n"), ("", "")])
def test_subwords_against_brute_force(prompt: str, base: str) -> None:
    tokenizer = BPEConfig(size=290).train(["the cat sat on the mat and then the cat ran\n"] * 20)
    rare = [token for token in range(tokenizer.size) if not tokenizer.stream().spell(token, None).isascii()]
    bigram = Bigram(tokenizer.size, rare)
    found = dict(next_characters(bigram, tokenizer, prompt, CPU))
    wanted = by_force(bigram, tokenizer, base, prompt[len(base) :].encode())
    assert sum(found.values()) == pytest.approx(1)
    for text in {*found, *wanted}:
        assert found.get(text, 0) == pytest.approx(wanted.get(text, 0), abs=2e-6), text


def test_bytes_and_characters_are_read_off_the_distribution(corpus: dict[str, str], tmp_path: Any) -> None:
    byte = trained("ngram", corpus, tmp_path)
    scorer, prompt = byte.scorer(ranks=False), byte.prompt("the c")
    found = dict(next_characters(scorer, byte.tokenizer, "the c", CPU))
    p = scorer.next(torch.tensor([prompt]), None)[0][0].exp()
    assert found["a"] == pytest.approx(float(p[ord("a") + 1]), rel=1e-4) and sum(found.values()) == pytest.approx(1)
    assert found[""] == pytest.approx(float(p[0]), rel=1e-4)
    chain, so_far = 1.0, list(prompt)
    for piece in "é".encode():
        chain *= float(scorer.next(torch.tensor([so_far]), None)[0][0, piece + 1].exp())
        so_far.append(piece + 1)
    assert found.get("é", 0) == pytest.approx(chain, abs=1e-6)
    character = trained("ngram", corpus, tmp_path / "c", {"kind": "character"})
    likeliest = next_characters(character.scorer(ranks=False), character.tokenizer, "the c", CPU, floor=0.01)
    assert likeliest[0].character == "a" and all(one.probability >= 0.01 for one in likeliest)


@pytest.mark.parametrize(
    ("text", "first"),
    [(b"", None), (b"ab", "a"), ("é!".encode(), "é"), (b"\xe8\xb2", None), (b"\xe8b", "\ufffd"), (b"\x80", "\ufffd")],
)
def test_first_character(text: bytes, first: str | None) -> None:
    assert first_character(text) == first


def test_tokens_that_only_a_library_decodes_are_refused() -> None:
    class Foreign:
        kind, size = "file", 3

        def stream(self) -> object:
            return object()

    with pytest.raises(foretell.ConfigError, match="cannot spell out one by one; name a run of bytes"):
        next_characters(Bigram(3, []), Foreign(), "", CPU)  # type: ignore[arg-type]
