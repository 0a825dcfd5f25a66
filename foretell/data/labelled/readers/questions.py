"""Questions on passages, one per row of a table: SQuAD as in the `datasets` library, or answers in columns."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator
from typing_extensions import override

from foretell.data.labelled.examples import Answer, Question
from foretell.data.labelled.readers.answers import answers_in, only_place, placed
from foretell.data.labelled.readers.rows import RowsReader
from foretell.data.labelled.readers.values import Fields, name_in, text_in, value_in


class QuestionsConfig(RowsReader):
    """Questions with their passage and answer, one per row."""

    kind: Literal["questions"] = "questions"
    question: str = "question"
    context: str = "context"
    """the column of the passage"""
    id: str | None = None
    """column of the id of a question; absent: its place in the file"""
    answers: str = "answers"
    """column of all answers, `{"text": […], "answer_start": […]}` or a list of `{"text": …, "answer_start": …}`"""
    answer: str | None = None
    """instead: column of one answer, empty if the passage has none"""
    start: str | None = None
    """column of its first character, from 0; absent: the answer has to occur exactly once"""

    @model_validator(mode="after")
    def _has_an_answer(self) -> Self:
        if self.start is not None and self.answer is None:
            raise ValueError("start is where an answer begins; name its column as answer")
        return self

    @override
    def needed(self, labelled: bool) -> tuple[str, ...]:
        label = [self.answers] if self.answer is None else [self.answer, *([self.start] if self.start else [])]
        return (*([self.id] if self.id else []), self.question, self.context, *(label if labelled else []))

    @override
    def example(self, row: Fields, where: str, labelled: bool) -> Question:
        name = name_in(row, self.id) if self.id else where
        asked, passage = text_in(row, self.question), text_in(row, self.context)
        answers = self.answers_of(row, passage) if labelled else ()
        return Question(name, asked, passage, answers, labelled and not answers, where)

    def answers_of(self, row: Fields, passage: str) -> tuple[Answer, ...]:
        """The answers in a row."""
        if self.answer is None:
            return answers_in(passage, value_in(row, self.answers))
        if value_in(row, self.answer) in (None, ""):
            return ()
        text = text_in(row, self.answer)
        if self.start is None:
            return (only_place(passage, text),)
        return (placed(passage, text, value_in(row, self.start), self.start),)
