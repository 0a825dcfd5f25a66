"""The compiled kernel computes what the plain reference does."""

import math

import numpy as np
import pytest

from foretell.models.context_mixing import compiled, contexts, selectors
from foretell.models.context_mixing.reference import Reference
from foretell.models.context_mixing.tables import Tables, empty, with_room

CODES, MATCHES = [context.code for context in contexts.ALL], (5, 12)
MIXERS = [(mixer.code, mixer.rows) for mixer in selectors.ALL]
TEXT = (b"The cat sat on the mat.\nThe dog sat on the log.\n\n  x = [1, 2, 3]\n  y = [4, 5, 6]\n" * 5)[:400]
TOKENS = np.array([*(b + 1 for b in TEXT[:250]), 0, *(b + 1 for b in TEXT[100:220]), 0], np.uint16)


def untrained(room: int = 1000) -> Tables:
    return with_room(empty(CODES, MIXERS, MATCHES, 14), room)


@pytest.fixture(scope="module")
def trained() -> Tables:
    tables = untrained()
    compiled.read(tables, TOKENS, np.zeros(len(TOKENS)))
    return tables


def test_every_token_has_the_probability_of_the_reference() -> None:
    logp, reference = np.zeros(len(TOKENS)), Reference(CODES, [code for code, _ in MIXERS], MATCHES)
    compiled.read(untrained(), TOKENS, logp)
    expected = np.array([reference.score(int(token)) for token in TOKENS])
    np.testing.assert_allclose(logp, expected, atol=5e-3)  # single precision moves some stretches to the next step
    assert np.median(np.abs(logp - expected)) < 1e-4
    assert logp[-100:].mean() > -1.5  # the repetition was found: a table that learned nothing has -5.5


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
    compiled.read(whole, TOKENS, logp)
    for k in range(len(TOKENS)):
        compiled.read(apart, TOKENS[k : k + 1], one)
        assert one[0] == logp[k]
    for name, part in whole._asdict().items():
        np.testing.assert_array_equal(part, getattr(apart, name), err_msg=name)
