"""The growing tree has the counts of a text counted at once."""

import numpy as np
import pytest
from models.unbounded_ngram.reference import levels, pairs_of

from foretell.kernels.suffix_index import LEVELS
from foretell.models.unbounded_ngram.growing import Tree, append, count_in, enlarged, grow, has_room, seedling, walk


def grown(text: list[int], capacity: int) -> tuple[Tree, np.ndarray, np.ndarray, int]:
    """The tree of a text whose first token is context only, and the path of its end."""
    tree, nodes, lengths = seedling(capacity), np.zeros(LEVELS, np.int64), np.zeros(LEVELS, np.int64)
    while len(tree.text) == 0:
        tree = enlarged(tree)
    append(tree, text[0])
    for token in text[1:]:
        depth = walk(tree, nodes, lengths)
        while not has_room(tree, nodes[depth - 1]):
            tree = enlarged(tree)
        grow(tree, token, nodes, lengths, depth)
    return tree, nodes, lengths, walk(tree, nodes, lengths)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("capacity", [0, 100])
def test_counts_are_those_of_the_definition(seed: int, capacity: int) -> None:
    random = np.random.default_rng(seed)
    symbols = int(random.integers(1, 5))
    text = random.integers(0, symbols, random.integers(1, 45)).tolist()
    tree, nodes, lengths, depth = grown(text, capacity)
    wanted = levels(pairs_of(text, ended=False)[1:], text, -9)
    if len(text) == 1:
        assert depth == 1
        return
    assert lengths[:depth].tolist() == sorted(wanted)
    for node, length in zip(nodes[:depth], lengths[:depth], strict=True):
        one = wanted[int(length)]
        assert tree.types[node] == one.types
        if length == tree.length[node]:
            assert (one.is_node or length == 0) and tree.total[node] == one.total
            assert [count_in(tree, node, token) for token in range(symbols)] == [
                one.counts.get(token, 0) for token in range(symbols)
            ]
        else:
            assert not one.is_node


def test_a_context_as_long_as_counts_go_is_not_counted_twice() -> None:
    tree, _, lengths, depth = grown([1, *range(2, 302)] * 3, 8)
    assert depth < LEVELS and tree.used[0] == 903
    assert lengths[depth - 1] == 255
