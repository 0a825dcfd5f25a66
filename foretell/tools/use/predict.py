"""Predictions of a task, in the order of the input and in constant memory."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Literal

from foretell.api.trained import Trained
from foretell.data.labelled.examples import Example, one_line
from foretell.data.labelled.opening import read_examples, reads_like
from foretell.data.labelled.readers.rows import FORMATS
from foretell.data.labelled.sniffing import TASKS_OF
from foretell.data.labelled.words import Splitting
from foretell.data.text_files import Report, content_ending
from foretell.errors import ConfigError
from foretell.learning.task import reader_of, task_of
from foretell.run import Record
from foretell.tasks.predictor import Predictor
from foretell.tasks.task import Prediction, TaskConfig
from foretell.tools.measure.score import chunks, read_lines, warn

Form = Literal["lines", "data"]
Item = tuple[str, Example | None]
"""a text as it was read, and its example; None for an empty line"""


@dataclass(frozen=True)
class Source:
    """Examples to predict."""

    paths: Sequence[Path]
    """none: stdin"""
    form: Form | None = None
    """lines: an example per line; data: files in the format of the training data; None: as the files show"""
    skip_bad: bool = False
    """data: skip rows that are not valid examples"""
    words: Splitting | None = None
    """how lines are split into words; None: as the run has it"""


def print_predictions(model: Trained, source: Source, with_text: bool = False) -> Iterator[str]:
    """One line per example, one by one; an empty line for an empty line. `with_text` adds the text, after a tab."""
    report = Report()
    for text, prediction in predictions(model, source, report):
        line = prediction.line() if prediction else ""
        yield f"{line}\t{shown(text)}" if with_text else line
    warn(report)


def all_predictions(model: Trained, source: Source) -> Record:
    """All predictions with their texts as one JSON object, held in memory; those of empty lines are null."""
    report = Report()
    empty = task_of(model.settings).no_prediction()
    records: list[dict[str, Any]] = [
        {"text": text} | (prediction.record() if prediction else empty)
        for text, prediction in predictions(model, source, report)
    ]
    warn(report)
    return {"run": str(model.run.path), "task": model.settings.objective.kind_name(), "predictions": records}


def predictions(model: Trained, source: Source, report: Report) -> Iterator[tuple[str, Prediction | None]]:
    """Texts and their predictions; None for an empty line."""
    predictor = model.predictor
    task = task_of(model.settings) if source.words is None else predictor.config.splitting(source.words)
    if source.form == "data" and not source.paths:
        raise ConfigError("--form data reads files; name files, or leave it out to read lines from stdin")
    forms = {path: source.form or form_of(path, model) for path in source.paths}
    for path in source.paths or [Path("-")]:
        groups: Iterable[Sequence[Item]]
        if forms.get(path, "lines") == "lines":
            groups = parsed_lines(task, path, report)
        else:
            examples = read_examples(path, reader_of(model.settings), source.skip_bad, labelled=False)
            groups = [[(example.line, example) for example in examples]]
        for group in groups:
            yield from answered(predictor, model, group)


def form_of(path: Path, model: Trained) -> Form:
    """The form of a file: that of the training data where it looks like them, else lines of text.

    Raises `ConfigError` for a table with other columns, whose header would be taken for a text.
    """
    if content_ending(path).lower() not in {*TASKS_OF, *FORMATS}:
        return "lines"
    with contextlib.suppress(ConfigError):  # a known set that is not on this machine
        if reads_like(path, reader_of(model.settings)):
            return "data"
    if content_ending(path).lower() in (".csv", ".jsonl", ".parquet"):
        raise ConfigError(
            "is a table, but not like those of the training",
            file=path,
            remedy="add --form data, which names the columns that are missing, or --form lines if each line is a text",
        )
    return "lines"


def answered(predictor: Predictor, model: Trained, group: Sequence[Item]) -> Iterator[tuple[str, Prediction | None]]:
    """The predictions of a group of examples, in their order."""
    examples = [example for _, example in group if example is not None]
    predictor.config.check_inputs(examples, model.labels)
    with model.progress("predicting with") as on_progress:
        found = iter(predictor.predict(examples, on_progress) if examples else ())
    for text, example in group:
        yield text, None if example is None else next(found)


def parsed_lines(task: TaskConfig, path: Path, report: Report) -> Iterator[list[Item]]:
    """Examples parsed from lines, in chunks that fit into memory; each knows its file and line."""
    name, number = "stdin" if str(path) == "-" else str(path), count(1)
    eager = name == "stdin" and sys.stdin.isatty()
    for lines in chunks(read_lines([path], report), eager, len):
        yield [parsed(task, line.removesuffix("\r"), f"{name}:{next(number)}") for line in lines]


def parsed(task: TaskConfig, line: str, where: str) -> Item:
    """A line and its example; None if it is empty."""
    return line, task.parse_line(line, where) if line.strip() else None


def shown(text: str) -> str:
    """A text in one line, in which tabs separate its parts."""
    return "\t".join(map(one_line, text.split("\t")))
