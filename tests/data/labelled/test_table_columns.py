"""What a column of a table could be."""

from collections.abc import Iterator
from typing import Any

import pytest

from foretell.data.labelled.examples import BadRow
from foretell.data.labelled.table_columns import ROWS, Column, columns_in, split_meant


def column(values: list[Any], name: str = "x") -> Column:
    found, _, _ = columns_in((number, {name: value}) for number, value in enumerate(values))
    return found[0]


def test_all_rows_are_counted_and_some_are_kept_from_all_over() -> None:
    def rows() -> Iterator[Any]:
        for number in range(10 * ROWS):
            yield number, {"id": str(number), "half": "ab"[number >= 5 * ROWS], "empty": " "}
            if number % 100 == 0:
                yield BadRow("x", "y")

    (ids, half), bad, good = columns_in(rows())
    assert (len(bad), good) == (100, 10 * ROWS)
    assert half.counts == {"a": 5 * ROWS, "b": 5 * ROWS} and ids.counts is None
    kept = [int(value) for value in ids.values]
    assert len(kept) == len(set(kept)) == ROWS
    assert abs(sum(kept) / ROWS - 5 * ROWS) < 4 * (10 * ROWS / 12**0.5) / ROWS**0.5  # four standard errors of a mean


@pytest.mark.parametrize(
    ("values", "sign"),
    [
        (["a", "b", "a;b"] * 9, ";"),
        (["a", "b|c", "c", "b"] * 9, "|"),
        (["a", "b", "a b", "b a"] * 9, " "),
        (["good", "very good", "bad"] * 9, ""),  # very is no label
        (["not good", "good", "very good", "bad", "very bad"] * 9, ""),
        (["1,66", "2,5", "2", "5"] * 9, ""),
        (["Smith, John", "Doe, Jane"] * 9, ""),
        ([["a", "b"], ["a"]] * 9, ""),
    ],
)
def test_signs_between_labels(values: list[Any], sign: str) -> None:
    assert column(values).separator == sign


@pytest.mark.parametrize(
    ("word", "split"),
    [
        ("Training", "train"),
        ("entraînement", "train"),
        ("validación", "valid"),
        ("Hold-out", "valid"),
        ("PublicTest", "test"),
        ("tram", ""),
        ("", ""),
    ],
)
def test_words_for_splits(word: str, split: str) -> None:
    assert split_meant(word) == split


@pytest.mark.parametrize(
    ("name", "values", "found"),
    [
        ("fold", ["0", "1", "2"], True),
        ("is_test", ["0", "1"], True),
        ("CV_fold_id", ["0", "1"], True),
        ("Teil", ["a", "b"], True),
        ("label", ["train", "test"], False),
        ("fold", [str(n) for n in range(200)], False),
        ("split", ["train"], False),
        ("vehicle", ["train", "tram"], False),
        ("part", ["a", "b"], False),
    ],
)
def test_columns_of_splits(name: str, values: list[Any], found: bool) -> None:
    assert column(values * 3, name).names_splits == found
