"""Predictions of a task, in the order of the input and in constant memory."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Literal

from foretell.api.trained import Trained
from foretell.data.labelled.examples import Example, one_line
from foretell.data.labelled.opening import read_examples
from foretell.data.labelled.words import Splitting
from foretell.data.text_files import Report
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
    form: Form = "lines"
    """lines: an example per line; data: files in the format of the training data"""
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
    groups: Iterable[Sequence[Item]]
    if source.form == "lines":
        groups = parsed_lines(task, source.paths, report)
    else:
        if not source.paths:
            raise ConfigError("--form data reads files; name files, or leave it out to read lines from stdin")
        reader = reader_of(model.settings)
        files = (read_examples(path, reader, source.skip_bad, labelled=False) for path in source.paths)
        groups = ([(example.line, example) for example in examples] for examples in files)
    for group in groups:
        yield from answered(predictor, model, group)


def answered(predictor: Predictor, model: Trained, group: Sequence[Item]) -> Iterator[tuple[str, Prediction | None]]:
    """The predictions of a group of examples, in their order."""
    examples = [example for _, example in group if example is not None]
    predictor.config.check_inputs(examples, model.labels)
    with model.progress("predicting with") as on_progress:
        found = iter(predictor.predict(examples, on_progress) if examples else ())
    for text, example in group:
        yield text, None if example is None else next(found)


def parsed_lines(task: TaskConfig, paths: Sequence[Path], report: Report) -> Iterator[list[Item]]:
    """Examples parsed from lines, in chunks that fit into memory; each knows its file and line."""
    eager = not paths and sys.stdin.isatty()
    for path in paths or [Path("-")]:
        name, number = "stdin" if str(path) == "-" else str(path), count(1)
        for lines in chunks(read_lines([path], report), eager, len):
            yield [parsed(task, line.removesuffix("\r"), f"{name}:{next(number)}") for line in lines]


def parsed(task: TaskConfig, line: str, where: str) -> Item:
    """A line and its example; None if it is empty."""
    return line, task.parse_line(line, where) if line.strip() else None


def shown(text: str) -> str:
    """A text in one line, in which tabs separate its parts."""
    return "\t".join(map(one_line, text.split("\t")))
