"""Answers as spans of a passage, in their stored forms."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from foretell.data.labelled.examples import Answer
from foretell.data.labelled.readers.lines import Unfit
from foretell.data.labelled.readers.values import text_in, value_in
from foretell.strict_json import shown
from foretell.units import counted

DIGITS = re.compile(r" *[0-9]{1,18} *")


def answers_in(passage: str, given: Any) -> tuple[Answer, ...]:
    """Answers as a list, `[{"text": …, "answer_start": …}]`, or in two, `{"text": […], "answer_start": […]}`."""
    if isinstance(given, Mapping) and given:
        texts, starts = value_in(given, "text"), value_in(given, "answer_start")
        if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
            raise Unfit("'answers' has no lists of equal length under 'text' and 'answer_start'")
        given = [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]
    if not isinstance(given, list):
        raise Unfit("'answers' is not a list")
    return tuple(answer_in(passage, answer) for answer in given)


def answer_in(passage: str, answer: Any) -> Answer:
    """An answer, checked against its passage."""
    if not isinstance(answer, Mapping):
        raise Unfit("an answer is a JSON object {…}")
    text, start = text_in(answer, "text"), value_in(answer, "answer_start")
    return placed(passage, text, start, "answer_start")


def placed(passage: str, text: str, start: Any, column: str) -> Answer:
    """An answer at a character of its passage: an integer, or its digits."""
    if isinstance(start, float) and start.is_integer():
        start = int(start)
    if isinstance(start, str) and DIGITS.fullmatch(start):
        start = int(start)
    if not isinstance(start, int) or isinstance(start, bool) or start < 0:
        raise Unfit(f"{column!r} is {shown(start)}, not a number of characters")
    found = passage[start : start + len(text)]
    if found != text:
        elsewhere = passage.find(text)
        hint = f"it is at {elsewhere}" if elsewhere >= 0 else "it is nowhere in its context"
        raise Unfit(f"the answer {text[:40]!r} is not at {start} ({found[:40]!r}); {hint}")
    return Answer(text, start)


def only_place(passage: str, text: str) -> Answer:
    """An answer without a position: it has to occur exactly once."""
    count = passage.count(text)
    if count != 1:
        raise Unfit(
            f"the answer {text[:40]!r} occurs in its context {counted(count, 'time')}; name a column with its first "
            "character as start"
        )
    return Answer(text, passage.index(text))
