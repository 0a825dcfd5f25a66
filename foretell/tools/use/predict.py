"""Predictions of a task, in the order of the input and in constant memory."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Literal

from foretell.api.trained import Trained
from foretell.data.labelled.examples import Example
from foretell.data.labelled.opening import read_examples
from foretell.data.text_files import Report
from foretell.errors import ConfigError
from foretell.learning.task import reader_of, task_of
from foretell.run import Record
from foretell.tasks.task import Prediction, TaskConfig
from foretell.tools.measure.score import chunks, read_lines, warn

Form = Literal["lines", "data"]


def print_predictions(model: Trained, paths: Sequence[Path], form: Form, skip_bad: bool) -> Iterator[str]:
    """One line per example, one by one."""
    report = Report()
    for _, prediction in predictions(model, paths, form, skip_bad, report):
        yield prediction.line()
    warn(report)


def all_predictions(model: Trained, paths: Sequence[Path], form: Form, skip_bad: bool) -> Record:
    """All predictions as one JSON object, held in memory."""
    report = Report()
    records: list[dict[str, Any]] = [p.record() for _, p in predictions(model, paths, form, skip_bad, report)]
    warn(report)
    return {"run": str(model.run.path), "task": model.settings.objective.kind_name(), "predictions": records}


def predictions(
    model: Trained, paths: Sequence[Path], form: Form, skip_bad: bool, report: Report
) -> Iterator[tuple[Example, Prediction]]:
    """Examples and their predictions."""
    task = task_of(model.settings)
    groups: Iterable[Sequence[Example]]
    if form == "lines":
        groups = parsed_lines(task, paths, report)
    else:
        if not paths:
            raise ConfigError("--form data reads files; name files, or leave it out to read lines from stdin")
        groups = (read_examples(path, reader_of(model.settings), skip_bad, labelled=False) for path in paths)
    for group in groups:
        yield from zip(group, model.predict(group), strict=True)


def parsed_lines(task: TaskConfig, paths: Sequence[Path], report: Report) -> Iterator[list[Example]]:
    """Examples parsed from lines, in chunks that fit into memory; each knows its file and line."""
    eager = not paths and sys.stdin.isatty()
    for path in paths or [Path("-")]:
        name, number = "stdin" if str(path) == "-" else str(path), count(1)
        for lines in chunks(read_lines([path], report), eager, len):
            yield [task.parse_line(line.removesuffix("\r"), f"{name}:{next(number)}") for line in lines]
