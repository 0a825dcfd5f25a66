"""Examples as text, and what may be a label."""

import logging
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretell.data.labelled.examples import (
    Choice,
    Example,
    Labelled,
    Question,
    Tagged,
    label_fault,
    looks,
    one_line,
    warn_alike,
)


@pytest.mark.parametrize(
    ("example", "text"),
    [
        (Labelled(("one", "two"), "x"), "one\ntwo"),
        (Choice("It rains.", ("He stays.", "He goes."), 1), "It rains. He goes."),
        (Choice("It rains.", ("He stays.", "He goes."), None), "It rains."),
        (Tagged(("a", "b"), ("O", "O")), "a b"),
        (Question("1", "?", "passage", ()), "passage"),
    ],
)
def test_what_a_language_model_reads(example: Example, text: str) -> None:
    assert example.prose == text


def test_the_text_that_keeps_examples_together() -> None:
    examples = [
        Labelled(("premise", "hypothesis"), "x"),
        Choice("context", ("one", "two"), 1),
        Tagged(("a", "b"), None),
        Question("1", "?", "passage", ()),
    ]
    assert [example.main_text for example in examples] == ["premise", "context", "a b", "passage"]


def test_where_an_example_is_from_makes_no_difference() -> None:
    assert Labelled(("a",), "x", where="a.tsv:1") == Labelled(("a",), "x", where="b.tsv:7")
    assert len({Choice("c", ("a", "b"), 0, where) for where in ("1", "2")}) == 1


@given(st.text(max_size=8))
def test_labels_that_are_no_fault_are_one_printed_field(label: str) -> None:
    printed = "" if label_fault(label) else label
    assert len(f"{printed}\tmore".splitlines()) == 1
    assert f"{printed}\tmore".split("\t") == [printed, "more"]
    assert (label_fault(label) == "is empty") == (label.strip() == "")
    assert len(one_line(label)) == len(label)
    assert not one_line(label).strip() or not label_fault(one_line(label))


@given(st.text(alphabet="aAäÄﬀ \u00ad\u200d1.", max_size=6))
def test_labels_look_alike_whatever_their_case_form_and_blanks(label: str) -> None:
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert looks(unicodedata.normalize(form, label)) == looks(label)
    assert looks(f" {label.upper()}\u200b ") == looks(label)


@pytest.mark.parametrize("unseen", ["\u200b", "\ufeff", "\xad", "\u200d", "\u2060", "\ufe0f", "\u034f", "\u3164"])
def test_labels_that_differ_in_what_is_not_seen_are_told(unseen: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "foretell"):
        warn_alike(["a", f"a{unseen}", "b"])
    escaped = ascii(unseen)[1:-1]
    assert caplog.messages == [f"the labels 'a', 'a{escaped}' are 2 classes; spell them alike if they are one"]


def test_labels_that_differ_in_blanks_or_width_are_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "foretell"):
        warn_alike(["a  b", "a b", "\uff21\xa0b", "é", "e"])
    assert [message.partition(";")[0] for message in caplog.messages] == [
        "the labels 'a  b', 'a b', '\uff21\\xa0b' are 3 classes"
    ]
