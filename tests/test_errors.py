"""Errors in one line, and suggestions for mistyped words."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretell.errors import SYNONYMS, ConfigError, did_you_mean, fields, printable


@given(st.text())
def test_an_error_is_one_line_without_control_characters(text: str) -> None:
    said = str(ConfigError(text, file=text, line=3, remedy=text))
    assert not any(ord(letter) < 32 for letter in said)
    said.encode()


def test_details_have_lines_of_their_own() -> None:
    error = ConfigError("is wrong", file="a.csv", line=2, remedy="mend it", details=["one", "two\n"])
    assert str(error) == "a.csv:2: is wrong; mend it\n  one\n  two\\n"
    assert error.record() == {"file": "a.csv", "line": 2, "what": "is wrong", "remedy": "mend it"}


@pytest.mark.parametrize(
    ("what", "remedy", "said"),
    [
        ("is wrong", "mend it", "is wrong; mend it"),
        ("which one: a, b?", "write x=a", "which one: a, b? Write x=a"),
        ("which one: a, b?", "x=a names one", "which one: a, b? x=a names one"),
        ("which one: a, b?", None, "which one: a, b?"),
    ],
)
def test_a_question_ends_its_sentence(what: str, remedy: str | None, said: str) -> None:
    assert str(ConfigError(what, remedy=remedy)) == said


def test_fields_keep_their_number() -> None:
    assert fields("a\tb", "c\n").split("\t") == ["a\\tb", "c\\n"]
    assert printable("a\tb\x1b", keep="\t") == "a\tb\\x1b"


KNOWN = ["learning_rate", "layers", "hidden", "dropout"]


@pytest.mark.parametrize("name", KNOWN)
@given(data=st.data())
def test_one_wrong_letter_is_forgiven(name: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(name) - 1))
    letter = data.draw(st.sampled_from(string.ascii_lowercase))
    assert did_you_mean(name[:place] + letter + name[place + 1 :], KNOWN) == f"; did you mean {name!r}?"


def test_names_from_other_programs() -> None:
    assert did_you_mean("LR", KNOWN) == "; did you mean 'learning_rate'?"
    assert did_you_mean("lr", ["momentum"]) == ""
    assert did_you_mean("adamW", ["adam", "adamw"]) == "; did you mean 'adamw'?"
    assert did_you_mean("n_layer", KNOWN) == "; did you mean 'layers'?"
    assert not set(SYNONYMS) & set(SYNONYMS.values())


def test_several_suggestions() -> None:
    assert did_you_mean("bert", ["bert-a", "bert-b", "gpt"], most=5) == "; did you mean 'bert-b' or 'bert-a'?"
    assert did_you_mean("zzz", KNOWN) == ""
