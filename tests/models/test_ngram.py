"""Looking words up, their ranks and whole distributions agree with one another."""

import math
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from foretell.errors import ConfigError
from foretell.models.ngram import BEST, PARTS, NGram, NGramConfig

BOUNDARY, VOCABULARY, ORDER = 0, 12, 4


@pytest.fixture(scope="module")
def model() -> NGram:
    tokens = np.minimum(np.random.default_rng(0).geometric(0.25, 3000), VOCABULARY - 1) - 1
    return NGramConfig(order=ORDER).fit(tokens.astype(np.uint16), np.zeros(0, np.int64), BOUNDARY, VOCABULARY)


def texts(rows: int = 40, steps: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Text [B, order - 1 + T] and the words [B, T] that follow each place."""
    random = np.random.default_rng(1).integers(0, VOCABULARY, (rows, ORDER - 1 + steps + 1))
    return random[:, :-1], random[:, ORDER:]


def test_distributions_hold_the_looked_up_probabilities_and_sum_to_one(model: NGram) -> None:
    text, words = texts()
    logp, _ = model.logp(text, words)
    for step in range(words.shape[1]):
        every = model.distribution(text[:, : ORDER + step])
        np.testing.assert_allclose(np.exp(every.astype(np.float64)).sum(1), 1, atol=1e-6)
        np.testing.assert_allclose(every[np.arange(len(every)), words[:, step]], logp[:, step], atol=1e-5)


def test_ranks_are_those_of_the_distributions(model: NGram) -> None:
    text, words = texts()
    rank = model.ranks(text, words)
    for step in range(words.shape[1]):
        every = model.distribution(text[:, : ORDER + step])
        own = every[np.arange(len(every)), words[:, step]]
        wanted = np.minimum((every > own[:, None] + 1e-6).sum(1), BEST)
        assert rank[:, step].tolist() == wanted.tolist()
    assert set(rank.ravel().tolist()) == {0, 1, 2, 3, 4, 5}


def test_what_is_saved_is_what_is_loaded(model: NGram) -> None:
    text, words = texts()
    again = NGram.load(model.tensors(), BOUNDARY)
    np.testing.assert_array_equal(again.logp(text, words)[0], model.logp(text, words)[0])
    assert again.parameters == model.parameters


def changed(name: str, place: int, value: float) -> Callable[[dict], None]:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors[name][place] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.clear(), "orders 1 to at most 15"),
        (lambda t: t.pop("2.logp"), "orders 1 to at most 15"),
        (lambda t: t.update({"x": t["1.logp"]}), "orders 1 to at most 15"),
        (lambda t: t.update({"5.logp": t.pop("4.logp")}), "orders 1 to at most 15"),
        (lambda t: t.update({f"{n}.{k}": t[f"2.{k}"] for n in range(5, 17) for k in PARTS}), "orders 1 to at most 15"),
        (lambda t: t.update({"2.logp": t["2.logp"].double()}), "2.logp is torch.float64"),
        (lambda t: t.update({"2.logp": t["2.logp"].bfloat16()}), "2.logp is torch.bfloat16"),
        (lambda t: t.update({"2.first": t["2.first"].float()}), "2.first is torch.float32"),
        (lambda t: t.update({"1.first": t["1.first"][None]}), "1.first is torch.int32 \\[1, 12\\]"),
        (lambda t: t.update({k: v[:-1] for k, v in t.items() if k[0] == "1"}), "they hold 11 words, the tokenizer 12"),
        (lambda t: t.update({"3.first": t["3.first"][:-1]}), "order 3 differ in length"),
        (lambda t: t.update({"3.logp": t["3.logp"][:-1]}), "order 3 differ in length"),
        (lambda t: t.update({"3.backoff": t["3.backoff"][:-1]}), "3.backoff has"),
        (lambda t: t.update({"4.backoff": t["4.logp"]}), "4.backoff has"),
        (changed("2.first", 3, VOCABULARY), "2.first has indices outside"),
        (changed("2.first", 3, -1), "2.first has indices outside"),
        (changed("3.shorter", -1, 1 << 30), "3.shorter has indices outside"),
        (changed("1.shorter", 0, 1), "1.shorter has indices outside"),
        (changed("1.first", 1, 0), "order 1 are not in order"),
        (lambda t: t.update({"2.first": t["2.first"].flip(0)}), "order 2 are not in order"),
        (lambda t: t.update({"3.shorter": t["3.shorter"].flip(0)}), "order 3 are not in order"),
        (changed("2.logp", 5, math.nan), "2.logp has values"),
        (changed("2.logp", 5, -math.inf), "2.logp has values"),
        (changed("1.logp", 5, 0.25), "1.logp has values"),
        (changed("2.backoff", 5, math.inf), "2.backoff has values"),
    ],
)
def test_damaged_tensors_are_refused(model: NGram, change: Callable[[dict], None], said: str) -> None:
    tensors = {name: tensor.clone() for name, tensor in model.tensors().items()}
    change(tensors)
    with pytest.raises(ConfigError, match=said):
        NGram.load(tensors, BOUNDARY, VOCABULARY)


def test_contexts_that_are_not_there_are_refused(model: NGram) -> None:
    """Unlike endings, beginnings are looked up only when whole distributions are asked for."""
    tensors = {name: tensor.clone() for name, tensor in model.tensors().items()}
    kept = torch.ones(len(tensors["3.first"]), dtype=torch.bool)
    first, _, last = model.words(3).T
    kept[np.flatnonzero((first == BOUNDARY) & (last != BOUNDARY))[0]] = False  # it begins 4-grams and ends none
    tensors["4.shorter"] = (kept.cumsum(0).int() - 1)[tensors["4.shorter"].long()].int()
    for part in PARTS:
        tensors[f"3.{part}"] = tensors[f"3.{part}"][kept]
    damaged = NGram.load(tensors, BOUNDARY, VOCABULARY)
    with pytest.raises(ConfigError, match="order 4 have no prefix of order 3"):
        damaged.distribution(texts()[0])


def test_the_boundary_is_a_word(model: NGram) -> None:
    with pytest.raises(ConfigError, match="boundary 12 is not among"):
        NGram.load(model.tensors(), VOCABULARY)


def test_pruning_leaves_fewer_n_grams_and_a_distribution(model: NGram) -> None:
    tokens = np.minimum(np.random.default_rng(0).geometric(0.25, 3000), VOCABULARY - 1) - 1
    pruned = NGramConfig(order=ORDER, prune=(0, 0, 1)).fit(
        tokens.astype(np.uint16), np.zeros(0, np.int64), BOUNDARY, VOCABULARY
    )
    assert len(pruned.orders[1]) == len(model.orders[1])
    assert all(len(pruned.orders[i]) < len(model.orders[i]) for i in (2, 3))
    text, _ = texts()
    np.testing.assert_allclose(np.exp(pruned.distribution(text).astype(np.float64)).sum(1), 1, atol=1e-6)
    assert not math.isnan(float(pruned.distribution(text).sum()))


@pytest.mark.parametrize(
    "settings",
    [
        {"order": 0},
        {"order": 16},
        {"prune": (1,)},
        {"prune": (0, 2, 1)},
        {"fallback": (2.0, 1.0, 1.5)},
        {"fallback": (0.0, 1.0, 1.5)},
    ],
)
def test_senseless_settings_are_refused(settings: dict) -> None:
    with pytest.raises(ValidationError):
        NGramConfig(**settings)


@settings(max_examples=60, deadline=None)
@given(
    order=st.integers(1, 5),
    text=st.lists(st.integers(0, 4), min_size=1, max_size=200),
    every=st.integers(1, 40),
    prune=st.lists(st.integers(0, 2), max_size=3).map(sorted),
    omit_newest=st.booleans(),
)
def test_after_every_context_a_counted_model_sums_to_one(
    order: int, text: list[int], every: int, prune: list[int], omit_newest: bool
) -> None:
    config = NGramConfig(order=order, prune=tuple([0, *prune][:order]), omit_newest=omit_newest)
    starts = np.arange(0, len(text), every, dtype=np.int64)
    fitted = config.fit(np.array(text, dtype=np.uint16), starts, BOUNDARY, 5)
    contexts = np.array(list(product(range(5), repeat=max(order - 1, 1))))
    np.testing.assert_allclose(np.exp(fitted.distribution(contexts).astype(np.float64)).sum(1), 1, atol=1e-5)
