"""Choices between options: those with another number of options than most are named row by row."""

import pytest

from foretell.data.labelled.examples import Choice
from foretell.errors import ConfigError
from foretell.tasks.multiple_choice import ChoiceConfig, Chosen

TWO, THREE = ("a", "b"), ("a", "b", "c")
EXAMPLES = [Choice("c", options, 0, f"a.jsonl:{line}") for line, options in enumerate([THREE, TWO, TWO, THREE, TWO], 1)]


def test_the_number_that_most_have_is_read(caplog: pytest.LogCaptureFixture) -> None:
    task = ChoiceConfig()
    labels = task.labels(EXAMPLES)
    assert labels == ("0", "1")
    with pytest.raises(ConfigError) as problem:
        task.usable_examples(EXAMPLES, labels)
    head, *rows = str(problem.value).split("\n  ")
    assert "2 of 5 rows cannot be used" in head
    assert rows == [f"a.jsonl:{line}: 3 options, where most examples have 2" for line in (1, 4)]
    assert task.usable_examples(EXAMPLES, labels, skip_bad=True) == [EXAMPLES[i] for i in (1, 2, 4)]


def test_a_text_that_holds_lines_stays_on_one() -> None:
    assert Chosen(1, "two\nlines\tand \x1b[2J", (0.25, 0.75)).line() == "1\t0.7500\ttwo lines and  [2J"


def test_mistakes_name_the_right_option() -> None:
    example = Choice("c", ("left", "right"), 1, "a.jsonl:1")
    (mistake,) = ChoiceConfig().mistakes([example], [found := Chosen(0, "left", (0.75, 0.25))])
    assert mistake == ("right", "left", 0.75, "c\tleft\tright", "a.jsonl:1", 0.75)
    assert ChoiceConfig().confidences([example], [found]) == [(0.75, False)]
