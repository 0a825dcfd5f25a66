"""Counts of nodes, against sets of contexts."""

import numpy as np
import pytest
from models.unbounded_ngram.reference import Context, pairs_of

from foretell.kernels.suffix_index import index_of
from foretell.models.unbounded_ngram.counting import LONGEST, Counts, counts_of, is_consistent


def nodes(text: list[int], rows: list[int]) -> dict[tuple[int, int], int]:
    """The rows of each context that branches, and its length."""
    found = {}
    for end in range(len(text) + 1):
        for length in range(end + 1):
            ending = text[end - length : end]
            here = [row for row, i in enumerate(rows) if i >= length and text[i - length : i] == ending]
            before = {text[rows[row] - length - 1] if rows[row] > length else -1 for row in here}
            if len(before) > 1:
                found[here[0], here[-1] + 1] = length
    return found


@pytest.mark.parametrize("seed", range(6))
def test_counts_are_those_of_the_definition(seed: int) -> None:
    random = np.random.default_rng(seed)
    symbols = int(random.integers(2, 5))
    text = random.integers(0, symbols, random.integers(1, 40)).astype(np.int32)
    _, places = index_of(text, symbols)
    counts = counts_of(text, places, symbols)  # the last symbol counts for nothing where it follows
    assert is_consistent(counts, len(text))
    whole, rows = text.tolist(), places.tolist()
    found = nodes(whole, rows)
    parents = {node: min((o for o in found if o != node and o[0] <= node[0] and o[1] >= node[1]), default=None,
                         key=lambda o: o[1] - o[0]) for node in found}  # fmt: skip
    for (begin, end), length in found.items():
        parent = parents[begin, end]
        at = end - 1 if parent is not None and parent[0] == begin else begin
        place = rows[begin]
        one = Context(pairs_of(whole, ended=True), tuple(whole[place - length : place][::-1]), symbols - 1)
        assert (counts.length[at], counts.types[at], counts.total[at]) == (length, one.types, one.total)
        assert counts.branches[at] == len(
            {whole[rows[r] - length - 1] if rows[r] > length else -1 for r in range(begin, end)}
        )


def test_longer_repeats_than_are_counted() -> None:
    text = np.tile(np.arange(50, dtype=np.int32), 20)
    _, places = index_of(text, 51)
    counts = counts_of(text, places, 51)
    assert counts.length.max() == LONGEST + 1 and is_consistent(counts, len(text))


def test_what_are_no_counts_is_recognised() -> None:
    text = np.array([0, 1, 0, 1], np.int32)
    counts = counts_of(text, index_of(text, 3)[1], 3)
    assert not is_consistent(counts, 5)
    assert not is_consistent(counts._replace(total=counts.total - 1), 4)
    assert not is_consistent(Counts(*(part.astype(np.int64) for part in counts)), 4)
