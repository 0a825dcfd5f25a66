"""Questions on passages, in the JSON of SQuAD 1.1 and 2.0."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from foretell.data.examples import Answer, BadRow, Example, Question
from foretell.data.readers.lines import LinesReader, Unfit, at
from foretell.data.readers.values import text_in, value_in
from foretell.errors import ConfigError


class SquadConfig(LinesReader):
    """SQuAD's JSON: articles with paragraphs with questions."""

    kind: Literal["squad"] = "squad"

    def read(self, path: Path, labelled: bool = True) -> Iterator[Example | BadRow]:
        """See `Reader`. JSON need have but one line, so reasons name the question too."""
        text = self.text(path)
        seen: dict[str, str] = {}
        position = line = 0
        for passage, question in questions(parsed(text, path), path):
            name = question.get("id") if isinstance(question, Mapping) else None
            found = text.find(f'"{name}"', position)
            if found >= 0:
                line += text.count("\n", position, found)
                position = found + 1
            where = at(path, line + 1)
            try:
                example = question_of(passage, question, where, labelled)
                if example.id in seen:
                    raise Unfit(f"the id is that of another question, at {seen[example.id]}")
                seen[example.id] = where
                yield example
            except Unfit as problem:
                yield BadRow(where, f"question {name!r}: {problem}" if name else str(problem))

    def text(self, path: Path) -> str:
        """All of a file."""
        lines = list(self.lines(path))
        for line in lines:
            if isinstance(line, BadRow):
                raise ConfigError(str(line))
        return "\n".join(line[1] for line in lines if not isinstance(line, BadRow))


def parsed(text: str, path: Path) -> Any:
    """The value of a JSON text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as problem:
        raise ConfigError(f"{at(path, problem.lineno)}: not valid JSON: {problem.msg}") from None


def questions(value: Any, path: Path) -> Iterator[tuple[Any, Any]]:
    """Each passage with each of its questions."""
    try:
        for article in value["data"]:
            for paragraph in article["paragraphs"]:
                for question in paragraph["qas"]:
                    yield paragraph["context"], question
    except (KeyError, TypeError) as problem:
        missing = problem.args[0] if isinstance(problem, KeyError) else "a list"
        raise ConfigError(
            f"{path}: not SQuAD's JSON, {missing!r} is missing somewhere; "
            '{"data": [{"paragraphs": [{"context": "…", "qas": [{"id": "…", "question": "…", "answers": [{"text": "…", '
            '"answer_start": 0}]}]}]}]}'
        ) from None


def question_of(passage: Any, question: Any, where: str, labelled: bool) -> Question:
    """The example of a question."""
    if not isinstance(question, Mapping):
        raise Unfit("a question is a JSON object {…}")
    name, asked = text_in(question, "id"), text_in(question, "question")
    passage = text_in({"context": passage}, "context")
    if not labelled:
        return Question(name, asked, passage, (), False, where)
    impossible = question.get("is_impossible", False)
    given = value_in(question, "answers")
    if not isinstance(given, list):
        raise Unfit("'answers' is no list")
    answers = tuple(answer_in(passage, answer) for answer in given)
    if bool(answers) == bool(impossible):
        raise Unfit(
            "is marked impossible but has an answer" if answers else "has no answer and is not marked impossible"
        )
    return Question(name, asked, passage, answers, bool(impossible), where)


def answer_in(passage: str, answer: Any) -> Answer:
    """An answer, which has to be where it says."""
    if not isinstance(answer, Mapping):
        raise Unfit("an answer is a JSON object {…}")
    text, start = text_in(answer, "text"), value_in(answer, "answer_start")
    if not isinstance(start, int) or start < 0:
        raise Unfit(f"'answer_start' is {start!r}, not a number of characters")
    found = passage[start : start + len(text)]
    if found != text:
        elsewhere = passage.find(text)
        hint = f"it is at {elsewhere}" if elsewhere >= 0 else "it is nowhere in its context"
        raise Unfit(f"the answer {text[:40]!r} is not at {start} ({found[:40]!r}); {hint}")
    return Answer(text, start)
