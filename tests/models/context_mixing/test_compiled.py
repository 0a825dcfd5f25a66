"""The compiled kernel computes what the plain reference does."""

import math

import numpy as np
import pytest

from foretell.models.context_mixing import compiled, contexts, selectors
from foretell.models.context_mixing.reference import Reference
from foretell.models.context_mixing.tables import NO_ADVICE, Tables, empty, with_experts, with_room

CODES, MATCHES = [context.code for context in contexts.ALL], (5, 12)
MIXERS = [(mixer.code, mixer.rows) for mixer in selectors.ALL]
TEXT = (b"The cat sat on the mat.\nThe dog sat on the log.\n\n  x = [1, 2, 3]\n  y = [4, 5, 6]\n" * 5)[:400]
TOKENS = np.array([*(b + 1 for b in TEXT[:250]), 0, *(b + 1 for b in TEXT[100:220]), 0], np.uint16)


def untrained(room: int = 1000) -> Tables:
    return with_room(empty(CODES, MIXERS, MATCHES, 14), room)


@pytest.fixture(scope="module")
def trained() -> Tables:
    tables = untrained()
    compiled.read(tables, TOKENS, np.zeros(len(TOKENS)), NO_ADVICE)
    return tables


def test_every_token_has_the_probability_of_the_reference() -> None:
    logp, reference = np.zeros(len(TOKENS)), Reference(CODES, [code for code, _ in MIXERS], MATCHES)
    compiled.read(untrained(), TOKENS, logp, NO_ADVICE)
    expected = np.array([reference.score(int(token)) for token in TOKENS])
    np.testing.assert_allclose(logp, expected, atol=5e-3)  # single precision moves some stretches to the next step
    assert np.median(np.abs(logp - expected)) < 1e-4
    assert logp[-100:].mean() > -1.5  # the repetition was found: a table that learned nothing has -5.5


def test_advice_is_weighed_as_by_the_reference() -> None:
    rng = np.random.default_rng(3)
    ids, advice = TOKENS[:200], rng.normal(0, 2, (200, 2, 8)).astype(np.float32)
    logp, reference = np.zeros(len(ids)), Reference(CODES, [code for code, _ in MIXERS], MATCHES)
    compiled.read(with_experts(untrained(), 2), ids, logp, advice)
    expected = np.array([reference.score(int(token), odds.tolist()) for token, odds in zip(ids, advice, strict=True)])
    np.testing.assert_allclose(logp, expected, atol=5e-3)
    assert np.median(np.abs(logp - expected)) < 1e-4
    alone = np.zeros(len(ids))
    compiled.read(untrained(), ids, alone, NO_ADVICE)
    assert np.abs(logp - alone).max() > 0.1


def test_a_distribution_holds_the_probability_of_each_token(trained: Tables) -> None:
    logp, one = np.zeros(257), np.zeros(1)
    compiled.distribution(trained, logp)
    assert math.isclose(np.exp(logp).sum(), 1, abs_tol=1e-6)
    for token in (0, 1, 11, ord("T") + 1, 256):
        one[:] = 0
        compiled.score(trained, np.full(1, -1), np.array([token]), one)
        assert math.isclose(one[0], logp[token], abs_tol=1e-12)


def test_scoring_without_learning_changes_no_table(trained: Tables) -> None:
    before = {name: part.copy() for name, part in trained._asdict().items()}
    compiled.score(trained, np.full(4, -1), np.array([5, 80, 0, 200]), np.zeros(4))
    compiled.distribution(trained, np.zeros(257))
    for name, part in trained._asdict().items():
        np.testing.assert_array_equal(part, before[name], err_msg=name)


def test_learning_is_the_same_in_one_pass_or_token_by_token() -> None:
    whole, apart, logp, one = untrained(), untrained(), np.zeros(len(TOKENS)), np.zeros(1)
    compiled.read(whole, TOKENS, logp, NO_ADVICE)
    for k in range(len(TOKENS)):
        compiled.read(apart, TOKENS[k : k + 1], one, NO_ADVICE)
        assert one[0] == logp[k]
    for name, part in whole._asdict().items():
        np.testing.assert_array_equal(part, getattr(apart, name), err_msg=name)


def test_a_crowded_table_predicts_as_it_books() -> None:
    """In a table of 16 places the buckets of a byte push each other out; they do so once the byte is known."""
    tables = with_room(empty(CODES, MIXERS, MATCHES, 4), 1000)
    distribution, one = np.zeros(257), np.zeros(1)
    for k, token in enumerate(TOKENS):
        compiled.distribution(tables, distribution)
        compiled.read(tables, TOKENS[k : k + 1], one, NO_ADVICE)
        assert math.isclose(one[0], distribution[token], abs_tol=1e-12)


def test_counting_fills_the_tables_of_contexts_as_learning_does(trained: Tables) -> None:
    tables = untrained()
    compiled.count(tables, TOKENS)
    for name in ("slots", "ends", "followers", "heads", "matches", "words", "history"):
        np.testing.assert_array_equal(getattr(tables, name), getattr(trained, name), err_msg=name)
    np.testing.assert_array_equal(tables.position[[0, 1, 2, 4, 5]], trained.position[[0, 1, 2, 4, 5]])
    assert tables.position[3] == 0 < trained.position[3]
    blank = untrained()
    for name in ("by_count", "by_history", "by_match", "mixers", "final", "refined"):
        np.testing.assert_array_equal(getattr(tables, name), getattr(blank, name), err_msg=name)
