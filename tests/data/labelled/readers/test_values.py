"""Values of tables as texts, labels and scores."""

import json
import math
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from foretell.data.labelled.readers.lines import Unfit
from foretell.data.labelled.readers.values import Names, called, name_in, number_in, text_in, texts_in, word_in

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=3,
)


@given(anything)
def test_every_value_is_a_text_or_says_why_not(value: Any) -> None:
    """What is a text can be stored, printed and is not blank; what is a label is one line."""
    for read in (text_in, name_in):
        try:
            text = read({"a": value}, "a")
        except Unfit as problem:
            assert str(problem).startswith("'a' ") and str(problem).isprintable()
        else:
            assert text.strip() and text.encode()
            assert text == value or (read is name_in and int(text) == value)
    try:
        word = word_in(value, "a")
    except Unfit as problem:
        assert str(problem).startswith("'a' ") and str(problem).isprintable()
    else:
        assert word == word.strip() != "" and len(word.splitlines()) == 1
        assert word_in(word, "a") == word


def test_one_label_however_it_is_written() -> None:
    labels = [1, 1.0, "1", "caf\u00e9", "cafe\u0301", " caf\u00e9 ", True, 0.5]
    assert [word_in(label, "a") for label in labels] == ["1", "1", "1", "café", "café", "café", "true", "0.5"]


@given(st.text(min_size=1, max_size=6), st.floats(allow_nan=False, allow_infinity=False))
def test_labels_are_one_for_all_forms_of_unicode_and_of_numbers(text: str, number: float) -> None:
    try:
        word = word_in(text, "a")
    except Unfit:
        return
    assert {word_in(unicodedata.normalize(form, text), "a") for form in ("NFC", "NFD")} == {word}
    assert float(word_in(number, "a")) == number
    assert word_in(json.loads(json.dumps(number)), "a") == word_in(number, "a")


@given(st.floats() | st.integers() | st.text(max_size=4) | st.none())
def test_scores_are_what_float_reads_and_finite(value: Any) -> None:
    try:
        expected = float(value)
    except (TypeError, ValueError, OverflowError):
        expected = math.nan
    if math.isfinite(expected):
        assert number_in(value, "a") == expected
        return
    with pytest.raises(Unfit, match=r"^'a' is .*, not a (finite )?number$"):
        number_in(value, "a")


def test_scores_that_are_none() -> None:
    for value, reason in {
        "high": "'high', not a number",
        "nan": "'nan', not a finite",
        True: "True, not a fin",
    }.items():
        with pytest.raises(Unfit, match=f"'a' is {reason}"):
            number_in(value, "a")
    with pytest.raises(Unfit, match=r"^'a' is 1000") as caught:
        number_in(10**400, "a")
    assert len(str(caught.value)) < 100


def test_names_are_by_the_stored_form() -> None:
    names = TypeAdapter(Names).validate_python({" cafe\u0301 ": "x", "1": "y"})
    assert [called(word_in(stored, "a"), names) for stored in ("caf\u00e9", 1.0)] == ["x", "y"]
    with pytest.raises(Unfit, match="label 'tea' is none of café, 1"):
        called("tea", names)
    with pytest.raises(Unfit, match=r"and 5 more$"):
        called("tea", {str(number): "" for number in range(25)})
    assert called("tea", {}) == "tea"
    for wrong in ("", "a\tb"):
        with pytest.raises(ValueError, match="the label"):
            TypeAdapter(Names).validate_python({"x": wrong})


def test_a_list_of_texts_names_the_bad_one() -> None:
    assert texts_in({"a": "one"}, "a") == ["one"]
    assert texts_in({"a": ["one", "two"]}, "a") == ["one", "two"]
    with pytest.raises(Unfit, match=r"'a\[1\]' is empty"):
        texts_in({"a": ["one", " "]}, "a")
    with pytest.raises(Unfit, match="has no 'b'"):
        texts_in({"a": "one"}, "b")
