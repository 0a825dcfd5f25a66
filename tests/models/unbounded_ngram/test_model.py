"""The model counts, opens what it saved, and refuses what is damaged."""

import numpy as np
import pytest
import torch

from foretell.errors import ConfigError
from foretell.models.unbounded_ngram.config import UnboundedNGramConfig
from foretell.models.unbounded_ngram.model import UnboundedNGram, with_resets

STARTS = np.zeros(0, np.int64)
TEXT = np.frombuffer(b"to be, or not to be, that is the question\n" * 12, np.uint8).astype(np.uint16) + 1


@pytest.fixture(scope="module")
def model() -> UnboundedNGram:
    return UnboundedNGramConfig().fit(TEXT, STARTS, 0, 257)


def after(model: UnboundedNGram, text: bytes) -> np.ndarray:
    place = model.start()
    place.follow(np.frombuffer(text, np.uint8).astype(np.int64) + 1)
    return place.distribution()


def test_an_opened_model_predicts_alike(model: UnboundedNGram) -> None:
    again = UnboundedNGramConfig().load(model.tensors(), 0, 257)
    np.testing.assert_array_equal(after(again, b"that is"), after(model, b"that is"))
    assert again.parameters == model.parameters
    np.testing.assert_array_equal(model.text(), [*TEXT, 257])


def test_the_longest_context_decides(model: UnboundedNGram) -> None:
    assert int(after(model, b"or not to b").argmax()) == ord("e") + 1
    assert int(after(model, b"that is the ").argmax()) == ord("q") + 1


def test_words_are_tokens_too() -> None:
    words = np.tile(np.arange(300, dtype=np.uint16), 4)
    model = UnboundedNGram.fit(words, STARTS, 0, 300)
    place = model.start()
    place.follow(np.array([7, 8]))
    assert int(place.distribution().argmax()) == 9 and model.static.counts.types.dtype == np.int32


def test_contexts_end_where_texts_begin() -> None:
    text = np.array([1, 2, 3, 1, 2, 0, 4, 1], np.int32)
    assert with_resets(text, np.array([0, 3, 6]), 0, 5).tolist() == [1, 2, 3, 5, 0, 1, 2, 0, 4, 1, 5]
    lines = np.frombuffer(b"ab\ncd\n" * 30, np.uint8).astype(np.uint16) + 1
    model = UnboundedNGram.fit(lines, np.arange(0, len(lines), 3), 0, 257)
    place = model.start()
    place.follow(np.array([0]))
    first = np.exp(place.distribution())
    assert {int(token) for token in first.argsort()[-2:]} == {ord("a") + 1, ord("c") + 1}
    assert np.exp(after(model, b"ab\n"))[0] < 0.1  # the boundary between lines is no text


@pytest.mark.parametrize("text", [b"", b"a", b"aa"])
def test_texts_of_hardly_any_tokens(text: bytes) -> None:
    tokens = np.frombuffer(text, np.uint8).astype(np.uint16) + 1
    model = UnboundedNGram.fit(tokens, STARTS, 0, 257)
    assert abs(np.exp(after(model, b"ab")).sum() - 1) < 1e-9


def test_tensors_that_are_no_model_are_refused(model: UnboundedNGram) -> None:
    good = model.tensors()
    bad = [
        {"weight": torch.zeros(3)},
        good | {"follows": good["follows"].flip(0)},
        good | {"total": torch.zeros_like(good["total"])},
        good | {"length": good["length"][1:]},
        good | {"static.logits": good["static.logits"][1:]},
        good | {"growing.squares": torch.zeros_like(good["growing.squares"])},
    ]
    for tensors in bad:
        with pytest.raises(ConfigError, match="n-gram model of unbounded order"):
            UnboundedNGramConfig().load(tensors, 0, 257)
    with pytest.raises(ConfigError, match="n-gram model of unbounded order"):
        UnboundedNGramConfig().load(good, 0, 300)


def test_learning_weights_helps() -> None:
    random = np.random.default_rng(0)
    text = np.minimum(random.geometric(0.3, 6000), 19).astype(np.int32)
    model = UnboundedNGram.of(np.append(text[:5000], np.int32(20)), 0, 20)
    before = score(model, text[5000:])
    model.learn_weights(text[5000:].astype(np.int64))
    assert score(model, text[5000:]) > before + 0.01


def score(model: UnboundedNGram, text: np.ndarray) -> float:
    tokens = text.astype(np.int64)
    return float(model.start().score(tokens[:-1], tokens[1:]).mean())
