"""Bits are coded in the compiled loop: the size of the message is the score, and decoding learns what encoding did."""

import math

import numpy as np
import pytest

from foretell.models.context_mixing import coding
from foretell.models.context_mixing.coding import BitCoder
from foretell.models.context_mixing.model import ContextMixing, ContextMixingConfig
from foretell.types import no_progress

TEXT = np.frombuffer(b"she sells sea shells on the sea shore\n" * 10, np.uint8).astype(np.uint16) + 1


@pytest.fixture(scope="module")
def model() -> ContextMixing:
    return ContextMixingConfig(table_bits=10).fit(TEXT, np.zeros(0, np.int64), 0, 257)


def tokens_of(text: bytes) -> np.ndarray:
    return np.frombuffer(text, np.uint8).astype(np.uint16) + np.uint16(1)


@pytest.mark.parametrize("learn", [False, True])
@pytest.mark.parametrize(
    "text", [b"", b"s", b"sea shells on\r\n the \xff\x00shore", b"qqzz 0815\n" * 40, bytes(range(256))]
)
def test_texts_come_back(model: ContextMixing, text: bytes, learn: bool) -> None:
    coder, tokens = BitCoder(model, learn=learn), tokens_of(text)
    message = coder.encode(tokens, no_progress)
    np.testing.assert_array_equal(coder.decode(message, len(tokens), no_progress), tokens)
    assert coder.encode(tokens, no_progress) == message  # nothing was kept


def test_the_size_is_the_score(model: ContextMixing) -> None:
    tokens = tokens_of(b"on the shore she sells shells; shells she sells\n" * 30)
    learned = model.copy().beside(len(tokens) + 2)
    learned.follow(np.array([0]))
    bits = -float(learned.learn(tokens).sum()) / math.log(2)
    assert abs(8 * len(BitCoder(model, learn=True).encode(tokens, no_progress)) - bits) < 0.001 * bits + 16
    static = -float(model.scores_after(np.zeros(0, np.int64), np.append(0, tokens[:-1]).astype(np.int64), tokens).sum())
    size = len(BitCoder(model, learn=False).encode(tokens, no_progress))
    assert abs(8 * size - static / math.log(2)) < 0.001 * static + 16


def test_ends_of_documents_and_blocks(model: ContextMixing, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = np.concatenate([tokens_of(b"she sells\n"), [0], tokens_of(b"sea shells\n"), [0, 0]]).astype(np.uint16)
    coder = BitCoder(model, learn=True)
    whole, shares = coder.encode(tokens, no_progress), list[float]()
    monkeypatch.setattr(coding, "BLOCK", 7)
    assert coder.encode(tokens, shares.append) == whole and shares == [k * 7 / len(tokens) for k in range(4)]
    np.testing.assert_array_equal(coder.decode(whole, len(tokens), no_progress), tokens)
