"""n-grams of a text, against a plain count of tuples."""

from collections import Counter

import numpy as np
import pytest

from foretell.kernels.ngram_sort import ngrams, sort

BOUNDARY, VOCABULARY = 2, 5


def ending_at(text: list[int], starts: list[int], place: int) -> tuple[int, ...]:
    """The words back to the beginning of the sentence, last word first, and the boundary before them."""
    words = [text[place]]
    while place > 0 and place not in starts and text[place - 1] != BOUNDARY:
        place -= 1
        words.append(text[place])
    return (*words, BOUNDARY)


@pytest.mark.parametrize("order", [1, 2, 3, 5, 9])
@pytest.mark.parametrize("seed", range(4))
def test_ngrams_are_those_of_a_plain_count(seed: int, order: int) -> None:
    random = np.random.default_rng(seed)
    tokens = random.integers(0, VOCABULARY, random.integers(1, 80)).astype(np.uint16)
    starts = np.unique(random.integers(0, len(tokens) + 1, 4))
    whole = [ending_at(tokens.tolist(), starts.tolist(), place) for place in range(len(tokens))]
    text = sort(tokens, starts, BOUNDARY, VOCABULARY, order)
    assert [whole[row][:order] for row in text.rows] == sorted(words[:order] for words in whole)
    below, here = [(word,) for word in range(VOCABULARY)], tokens.astype(np.int32)
    for number in range(1, order):
        found, here = ngrams(text, number, here)
        counted = Counter(words[: number + 1] for words in whole if len(words) > number)
        listed = [(*below[shorter], first) for shorter, first in zip(found.shorter, found.first, strict=True)]
        assert listed == sorted(counted)
        assert found.occurrences.tolist() == [counted[words] for words in listed]
        assert [below[context] for context in found.context] == [words[1:] for words in listed]
        reached = [place for place, words in enumerate(whole) if len(words) > number]
        assert [listed[here[place]] for place in reached] == [whole[place][: number + 1] for place in reached]
        below = listed


def test_a_token_beyond_the_vocabulary_is_refused() -> None:
    with pytest.raises(ValueError, match="token 9 is beyond the vocabulary of 3"):
        sort(np.array([1, 9], np.uint16), np.zeros(0, np.int64), 0, 3, 2)
