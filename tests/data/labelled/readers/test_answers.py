"""Answers as spans of a passage, against all substrings of short passages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretell.data.labelled.examples import Answer
from foretell.data.labelled.readers.answers import answers_in, only_place, placed
from foretell.data.labelled.readers.lines import Unfit

short = st.text(alphabet="ab ", min_size=1, max_size=8)


@given(short, short.filter(lambda text: len(text) < 4), st.integers(0, 9))
def test_an_answer_is_where_the_passage_has_it(passage: str, text: str, start: int) -> None:
    places = [i for i in range(len(passage)) if passage[i:].startswith(text)]
    for stored in (start, float(start), f" {start} "):
        if start in places:
            assert placed(passage, text, stored, "start") == Answer(text, start)
            continue
        with pytest.raises(Unfit, match=f"it is at {places[0]}" if places else "it is nowhere"):
            placed(passage, text, stored, "start")


@pytest.mark.parametrize("start", [-1, 1.5, float("nan"), True, None, "", "x", "-1", "1.0", "\u0661", [0]])
def test_what_is_no_place(start: object) -> None:
    with pytest.raises(Unfit, match=r"^'start' is .*, not a number of characters$"):
        placed("aaa", "a", start, "start")


@pytest.mark.parametrize(("passage", "times"), [("Bob", "0 times"), ("Ann and Ann", "2 times")])
def test_without_a_place_an_answer_occurs_once(passage: str, times: str) -> None:
    assert only_place("so Ann sings", "Ann") == Answer("Ann", 3)
    with pytest.raises(Unfit, match=f"the answer 'Ann' occurs in its context {times}; name a column"):
        only_place(passage, "Ann")


@given(st.lists(st.integers(0, 3), max_size=4))
def test_answers_in_two_lists_are_those_in_one(starts: list[int]) -> None:
    passage = "abcd"
    texts = [passage[start:] for start in starts]
    one = [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]
    expected = tuple(map(Answer, texts, starts))
    assert answers_in(passage, one) == answers_in(passage, {"text": texts, "answer_start": starts}) == expected
    with pytest.raises(Unfit, match="no lists of equal length under 'text' and 'answer_start'"):
        answers_in(passage, {"text": [*texts, "a"], "answer_start": starts})


@pytest.mark.parametrize("given", [None, {}, "Ann", [3], [{"text": "a"}], {"text": ["a"]}])
def test_what_is_no_list_of_answers(given: object) -> None:
    with pytest.raises(Unfit):
        answers_in("a", given)
