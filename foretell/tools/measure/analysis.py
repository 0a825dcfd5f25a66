"""Error analysis of a task: its mistakes in a file, and labels, confusions and calibration in the terminal."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from foretell.api.mixing import Mixed
from foretell.api.trained import Trained
from foretell.artifacts import write_atomic
from foretell.errors import ConfigError
from foretell.run import Record
from foretell.tasks.task import Mistake
from foretell.tools import drawing
from foretell.tools.measure.analysis_plots import draw
from foretell.tools.printing import ENDLESS, Fitting, as_json, measured, plain

COLUMNS = ("gold", "predicted", "probability", "text", "where")
SHOWN = 12
"""largest confusions in the terminal"""
BAR = 20
"""characters of the longest bar of a histogram"""


# --- measuring ------------------------------------------------------------------------------------


def analysed(model: Trained | Mixed, split: str, *, skip_bad: bool, errors: Path | None, plot: Path | None) -> Record:
    """The record of `evaluate`; writes mistakes and a picture. Raises `ConfigError` if the model is not a task."""
    if not isinstance(model, Trained):
        raise ConfigError("a mixture is not a task; leave out --mix, or --errors and --plot")
    if plot is not None:
        drawing.library()  # fail early if matplotlib is missing
    evaluator = model.task_evaluator(skip_bad=skip_bad)
    examples = evaluator.examples(split)
    with model.progress("evaluating") as on_progress:
        metrics, predictions = evaluator.evaluate_examples(split, examples, on_progress)
    record = model.record(split, evaluator, metrics)
    if errors is not None:
        mistakes = sorted(evaluator.data.task.mistakes(examples, predictions), key=lambda mistake: -mistake.size)
        write_atomic(errors, as_file(mistakes, errors.suffix.lower()).encode(errors="replace"))
        record |= {"mistakes": len(mistakes), "errors_file": str(errors)}
    if plot is not None:
        drawing.save(draw(record), plot)
        record |= {"plot": str(plot)}
    return record


def as_file(mistakes: Sequence[Mistake], suffix: str) -> str:
    """Mistakes as CSV with a header, or one JSON object per line."""
    rows = [{name: getattr(mistake, name) for name in COLUMNS} for mistake in mistakes]
    if suffix == ".jsonl":
        return "".join(as_json(row) + "\n" for row in rows)
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(row | {"probability": "" if row["probability"] is None else f"{row['probability']:.6f}"})
    return buffer.getvalue()


# --- in the terminal ------------------------------------------------------------------------------


class Titled:
    """The first of several tables that fits the terminal, below its title, which may be wider than the table.

    Where none fits, the last one is shown as paragraphs.
    """

    def __init__(self, *tables: tuple[str, Table]):
        self.tables = tables

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        free = options.update(width=ENDLESS)
        title, table = next(
            (pair for pair in self.tables if Measurement.get(console, free, pair[1]).maximum <= options.max_width),
            self.tables[-1],
        )
        yield Text(title, "italic")
        yield Fitting(table)


def render(result: Mapping[str, Any], title: str) -> RenderableType:
    """A measurement; for a task also each label, confusions, calibration, and errors of scores."""
    parts: list[RenderableType] = [measured(result, title)]
    for name, table in (
        ("by_label", labels_table),
        ("confusion", confusion_table),
        ("calibration", calibration_table),
        ("errors", errors_table),
    ):
        if result.get(name):
            parts += [Text(), table(result[name])]
    if "errors_file" in result:
        parts += [Text(), Text(f"{result['mistakes']:,} rows, the worst first: {result['errors_file']}")]
    return Group(*parts)


def labels_table(by_label: Mapping[str, Mapping[str, float]]) -> RenderableType:
    """Precision, recall and F1 of each label."""
    table = plain("", "precision", "recall", "F1", "number")
    for label, scored in by_label.items():
        figures = [f"{scored[name]:.4f}" for name in ("precision", "recall", "f1")]
        table.add_row(Text(label), *figures, f"{scored['support']:,}")
    return Titled(("By label", table))


def confusion_table(confusion: Mapping[str, Mapping[str, int]]) -> RenderableType:
    """Gold labels in rows, predicted ones in columns; where that is too wide, the largest confusions."""
    labels = labels_in(confusion)
    title = "Confusion: gold in rows, predicted in columns"
    named, numbered = matrix(confusion, labels, numbered=False), matrix(confusion, labels, numbered=True)
    return Titled(
        (title, named), (title, numbered), (f"Largest confusions of {len(labels):,} labels", largest(confusion))
    )


def labels_in(confusion: Mapping[str, Mapping[str, int]]) -> list[str]:
    """All labels of a confusion matrix, gold or predicted."""
    return sorted({*confusion, *(label for row in confusion.values() for label in row)})


def matrix(confusion: Mapping[str, Mapping[str, int]], labels: Sequence[str], *, numbered: bool) -> Table:
    """The whole matrix; `numbered`: columns have numbers instead of names."""
    heads = [str(number) for number in range(1, len(labels) + 1)] if numbered else labels
    table = plain("", *heads)
    for number, gold in enumerate(labels, 1):
        row = confusion.get(gold, {})
        cells = [Text(f"{row.get(label, 0):,}" if label in row else "·", cell_style(gold, label)) for label in labels]
        table.add_row(Text(f"{number} {gold}" if numbered else gold), *cells)
    return table


def cell_style(gold: str, predicted: str) -> str:
    """Right predictions are bold."""
    return "bold" if gold == predicted else ""


def largest(confusion: Mapping[str, Mapping[str, int]]) -> Table:
    """The pairs that are confused most."""
    pairs = [
        (count, gold, predicted, count / sum(row.values()))
        for gold, row in confusion.items()
        for predicted, count in row.items()
        if gold != predicted
    ]
    table = plain("gold", "predicted", "number", "of gold")
    table.columns[1].justify = "left"
    for count, gold, predicted, share in sorted(pairs, key=lambda pair: (-pair[0], pair[1:]))[:SHOWN]:
        table.add_row(Text(gold), Text(predicted), f"{count:,}", f"{share:.1%}")
    return table


def calibration_table(calibration: Mapping[str, Any]) -> RenderableType:
    """Accuracy by confidence."""
    title = f"Calibration: ECE {calibration['ece']:.4f}, {calibration['bins']} bins (arXiv:1706.04599)"
    table = plain("confidence", "mean", "accuracy", "number")
    for one in calibration["table"]:
        bounds = f"{one['from']:.2f} to {one['to']:.2f}"
        table.add_row(bounds, f"{one['confidence']:.4f}", f"{one['accuracy']:.4f}", f"{one['predictions']:,}")
    return Titled((title, table))


def errors_table(errors: Mapping[str, Any]) -> RenderableType:
    """The distribution of predicted - gold."""
    quantiles = errors["quantiles"]
    table = plain("", *quantiles)
    table.add_row("quantile", *(f"{value:+.4f}" for value in quantiles.values()))
    names = ("bias", "mean_absolute_error", "root_mean_square_error")
    facts = plain()
    for name in names:
        facts.add_row(name.replace("_", " "), f"{errors[name]:.4f}")
    edges, counts = errors["histogram"]["edges"], errors["histogram"]["counts"]
    histogram = plain("from", "to", "number", "")
    histogram.columns[0].justify, histogram.columns[3].justify = "right", "left"
    for low, high, count in zip(edges, edges[1:], counts, strict=False):
        bar = "█" * math.ceil(BAR * count / max(counts))
        histogram.add_row(f"{low:+.3f}", f"{high:+.3f}", f"{count:,}", bar)
    return Group(Titled(("Errors, predicted - gold", table)), facts, Text(), histogram)
