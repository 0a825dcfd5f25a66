"""The index of contexts, against a search of the text itself."""

import numpy as np
import pytest

from foretell.kernels.suffix_index import LEVELS, Index, index_of, is_sound, read, start, text_of

Tokens = list[int]


def intervals(text: Tokens, rows: list[int], context: Tokens) -> list[tuple[int, int, int]]:
    """The rows of every ending of a context that occurs, each interval once, with the longest such ending."""
    found: list[tuple[int, int, int]] = []
    for length in range(len(context) + 1):
        ending = context[len(context) - length :]
        here = [row for row, i in enumerate(rows) if i >= length and text[i - length : i] == ending]
        if not here:
            break
        assert here == list(range(here[0], here[-1] + 1))
        if found and found[-1][:2] == (here[0], here[-1] + 1):
            found.pop()
        found.append((here[0], here[-1] + 1, length))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_paths_are_the_intervals_of_all_endings(seed: int) -> None:
    random = np.random.default_rng(seed)
    symbols = int(random.integers(1, 5))
    text = random.integers(0, symbols, random.integers(0, 50)).astype(np.int32)
    index, places = index_of(text, symbols + 1)
    whole = text.tolist()
    assert places.tolist() == sorted(range(len(text) + 1), key=lambda i: whole[:i][::-1])
    assert text_of(index).tolist() == whole
    assert is_sound(index, symbols + 1)
    path, context = start(index), []
    for token in random.integers(0, symbols + 1, 30).tolist():  # the last symbol is not in the text
        read(index, path, token)
        context.append(token)
        depth = int(path.depth[0])
        mine = list(zip(*(part[:depth].tolist() for part in path[:3]), strict=True))
        assert mine == intervals(whole, places.tolist(), context)


def test_a_run_of_one_token_has_the_shortest_contexts() -> None:
    index, _ = index_of(np.zeros(200, np.int32), 1)
    path = start(index)
    for _ in range(150):
        read(index, path, 0)
    assert path.length.tolist() == list(range(LEVELS))


@pytest.mark.parametrize("symbols", [300, 70_000])
def test_tokens_beyond_a_byte(symbols: int) -> None:
    text = np.random.default_rng(0).permutation(symbols).astype(np.int32)
    index, places = index_of(text, symbols)
    assert text_of(index).tolist() == text.tolist()
    assert places[1:].tolist() == sorted(range(1, symbols + 1), key=lambda i: int(text[i - 1]))


def test_what_is_no_index_is_recognised() -> None:
    index, _ = index_of(np.array([0, 1, 0, 2], np.int32), 3)
    assert is_sound(index, 3)
    for place, row in ((0, 9), (0, -1), (1, 0)):
        follows = index.follows.copy()
        follows[place] = row
        assert not is_sound(Index(follows, index.first), 3)
    for place, row in ((0, 0), (1, 9), (3, 4)):
        first = index.first.copy()
        first[place] = row
        assert not is_sound(Index(index.follows, first), 3)
    assert not is_sound(index, 4)
    assert not is_sound(Index(index.follows.astype(np.int64), index.first), 3)
