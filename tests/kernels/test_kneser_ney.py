"""Estimates of one order agree with sums in plain Python; whole models: tests/models/test_kneser_ney.py."""

import numpy as np
import pytest

from foretell.kernels import kneser_ney

CONTEXT = np.array([0, 2, 2, 0, 1, 2], np.int32)
SHORTER = np.array([0, 0, 1, 1, 3, 3], np.int32)
COUNTS = np.array([1, 2, 3, 7, 1, 5], np.int32)
KEPT = np.array([True, True, False, True, False, True])
DISCOUNT = np.array([0, 0.5, 1.0, 1.5])


@pytest.mark.parametrize("kind", [np.int32, np.int64])
def test_words_before_n_grams_are_counted_and_occurrences_are_kept_where_there_are_none(kind: type) -> None:
    found = kneser_ney.words_before(SHORTER, np.array([5, 6, 7, 8, 0], kind))
    assert found.tolist() == [2, 2, 7, 2, 0] and found.dtype == kind


def test_counts_of_five_and_more_are_counted_together() -> None:
    assert kneser_ney.counts_of_counts(np.append(COUNTS, 0)).tolist() == [1, 2, 1, 1, 0, 2]


def test_sums_and_probabilities_of_contexts() -> None:
    totals, freed = kneser_ney.context_sums(CONTEXT, COUNTS, KEPT, DISCOUNT, 4)
    assert totals.tolist() == [8, 1, 10, 0]
    assert freed.tolist() == [0.5 + 1.5, 1, 1 + 3 + 1.5, 0]  # whole counts of what is pruned
    below, backoff = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.25, 1.0, 0.55, 1.0])
    p = kneser_ney.interpolated(CONTEXT, SHORTER, COUNTS, DISCOUNT, totals, backoff, below)
    for ngram in range(6):
        here, count = CONTEXT[ngram], COUNTS[ngram]
        wanted = (count - DISCOUNT[min(count, 3)]) / totals[here] + backoff[here] * below[SHORTER[ngram]]
        assert p[ngram] == pytest.approx(wanted, rel=1e-15)
