"""Questions on passages, in the JSON of SQuAD 1.1 and 2.0, nested or flat as the `datasets` library has it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

from typing_extensions import override

from foretell.data.labelled.examples import BadRow, Example, Question
from foretell.data.labelled.readers.answers import answers_in
from foretell.data.labelled.readers.lines import LinesReader, Unfit, at
from foretell.data.labelled.readers.values import name_in, text_in, value_in
from foretell.errors import ConfigError
from foretell.strict_json import parse_json, shown

ID = re.compile(r'"id"\s*:\s*')
NEAR = 20
"""largest number of "id" keys searched for that of a question; answers may have some as well"""
FORM = (
    '{"data": [{"paragraphs": [{"context": "…", "qas": [{"id": "…", "question": "…", "answers": [{"text": "…", '
    '"answer_start": 0}]}]}]}]}'
)


class Asked(NamedTuple):
    """A stored question."""

    value: Any
    passage: Any
    place: str
    """its place, by numbers from 1"""


class SquadConfig(LinesReader):
    """SQuAD's JSON: articles with paragraphs with questions, or a list of questions with their passages."""

    kind: Literal["squad"] = "squad"

    @property
    @override
    def task(self) -> str:
        return "answering"

    def read(self, path: Path, labelled: bool = True) -> Iterator[Example | BadRow]:
        """JSON may be a single line, so reasons name the question too."""
        text = self.text(path)
        seen: dict[str, str] = {}
        position = line = 0
        several = "\n" in text.strip()
        for asked in questions(self.parsed(text, path), path):
            name = asked.value.get("id") if isinstance(asked.value, Mapping) else None
            if found := id_in(text, asked.value, position):
                line += text.count("\n", position, found)
                position = found
            where = at(path, line + 1) if several else f"{path}, {asked.place}"
            try:
                example = question_of(asked, where, labelled)
                if example.id in seen:
                    raise Unfit(f"the id is that of another question, at {seen[example.id]}")
                seen[example.id] = where
                yield example
            except Unfit as problem:
                yield BadRow(where, f"question {shown(name)}: {problem}" if name else f"{asked.place}: {problem}")

    def text(self, path: Path) -> str:
        """The questions of a file."""
        lines = list(self.lines(path))
        for line in lines:
            if isinstance(line, BadRow):
                raise ConfigError(str(line))
        return "\n".join(line[1] for line in lines if not isinstance(line, BadRow))

    def parsed(self, text: str, path: Path) -> Any:
        """The value of a JSON text."""
        try:
            return parse_json(text, path, lenient=True)
        except ConfigError as problem:
            if not problem.what.startswith("not valid JSON: Extra data"):
                raise
            remedy = 'read an object a line by data.reader.kind = "questions"'
            raise ConfigError(problem.what, file=path, line=problem.line, remedy=remedy) from None


def questions(value: Any, path: Path) -> Iterator[Asked]:
    """Each question with its passage."""
    articles = value.get("data") if isinstance(value, Mapping) else value
    for i, article in numbered(articles, "a list of articles under 'data'", "", path):
        if "paragraphs" not in article and "question" in article:
            yield Asked(article, article.get("context"), f"question {i}")
            continue
        paragraphs = article.get("paragraphs")
        for j, paragraph in numbered(paragraphs, "a list under 'paragraphs'", f" in article {i}", path):
            where = f"paragraph {j} of article {i}"
            if "context" not in paragraph:
                raise no_squad("'context' is missing", f" in {where}", path)
            for k, question in enumerate(listed(paragraph.get("qas"), "a list under 'qas'", f" in {where}", path), 1):
                yield Asked(question, paragraph["context"], f"question {k} of {where}")


def numbered(value: Any, wanted: str, where: str, path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The objects in a list, numbered from 1."""
    for number, item in enumerate(listed(value, wanted, where, path), 1):
        if not isinstance(item, Mapping):
            raise no_squad(f"item {number} of {wanted} is {shown(item)}", where, path)
        yield number, item


def listed(value: Any, wanted: str, where: str, path: Path) -> list[Any]:
    """A list, or an error."""
    if not isinstance(value, list):
        raise no_squad(f"{wanted} is missing", where, path)
    return value


def no_squad(what: str, where: str, path: Path) -> ConfigError:
    """The error of a file in another form."""
    return ConfigError(f"not SQuAD's JSON, {what}{where}", file=path, remedy=f"write {FORM}")


def id_in(text: str, question: Any, position: int) -> int:
    """The position after `position` where the id of a question is written; 0 if it has none."""
    if not isinstance(question, Mapping) or "id" not in question:
        return 0
    name = question["id"]
    scalar = isinstance(name, str | int)
    written = tuple({json.dumps(name, ensure_ascii=ascii) for ascii in (True, False)}) if scalar else ("",)
    keys = (found.end() for found in islice(ID.finditer(text, position), NEAR))
    return next((end for end in keys if text.startswith(written, end)), 0)


def question_of(asked: Asked, where: str, labelled: bool) -> Question:
    """The example of a question."""
    question = asked.value
    if not isinstance(question, Mapping):
        raise Unfit("a question is a JSON object {…}")
    name, words = name_in(question, "id"), text_in(question, "question")
    passage = text_in({"context": asked.passage}, "context")
    if not labelled:
        return Question(name, words, passage, (), False, where)
    given = value_in(question, "answers")
    answers = answers_in(passage, given)
    marked = question.get("is_impossible")
    if not isinstance(marked, bool | None):
        raise Unfit(f"'is_impossible' is {shown(marked)}, not true or false")
    impossible = isinstance(given, Mapping) and not answers if marked is None else marked
    if bool(answers) == impossible:
        raise Unfit(
            "is marked impossible but has an answer" if answers else "has no answer and is not marked impossible"
        )
    return Question(name, words, passage, answers, impossible, where)
