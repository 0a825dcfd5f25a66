"""Error analysis of a task: its mistakes in a file, and labels, confusions and calibration in the terminal."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from foretell.api.mixed import Mixed
from foretell.api.trained import Trained
from foretell.artifacts import write_atomic
from foretell.errors import ConfigError
from foretell.run import Record
from foretell.tasks.task import Mistake
from foretell.tools import drawing
from foretell.tools.measure.analysis_plots import draw
from foretell.tools.printing import as_json, measured
from foretell.tools.tables import Column, FirstFit, ResponsiveTable, facts, spaced
from foretell.units import counted

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
            parts.append(table(result[name]))
    if "errors_file" in result:
        parts.append(Text(f"{counted(result['mistakes'], 'row')}, the worst first: {result['errors_file']}"))
    return spaced(*parts)


def labels_table(by_label: Mapping[str, Mapping[str, float]]) -> ResponsiveTable:
    """Precision, recall and F1 of each label."""
    table = ResponsiveTable(
        Column.names("label"),
        Column("precision", 2),
        Column("recall", 2),
        Column("F1"),
        Column("number"),
        title="By label",
    )
    for label, scored in by_label.items():
        figures = [f"{scored[name]:.4f}" for name in ("precision", "recall", "f1")]
        table.add(label, *figures, f"{scored['support']:,}")
    return table


def confusion_table(confusion: Mapping[str, Mapping[str, int]]) -> RenderableType:
    """Gold labels in rows, predicted ones in columns; where that is too wide, the largest confusions."""
    labels = labels_in(confusion)
    named, numbered = matrix(confusion, labels, numbered=False), matrix(confusion, labels, numbered=True)
    return FirstFit(named, numbered, largest(confusion, len(labels)))


def labels_in(confusion: Mapping[str, Mapping[str, int]]) -> list[str]:
    """All labels of a confusion matrix, gold or predicted."""
    return sorted({*confusion, *(label for row in confusion.values() for label in row)})


def matrix(confusion: Mapping[str, Mapping[str, int]], labels: Sequence[str], *, numbered: bool) -> ResponsiveTable:
    """The whole matrix; `numbered`: columns have numbers instead of names."""
    heads = [str(number) for number in range(1, len(labels) + 1)] if numbered else labels
    table = ResponsiveTable(Column.names(), *map(Column, heads), title="Confusion: gold in rows, predicted in columns")
    for number, gold in enumerate(labels, 1):
        row = confusion.get(gold, {})
        cells = [Text(f"{row.get(label, 0):,}" if label in row else "·", cell_style(gold, label)) for label in labels]
        table.add(f"{number} {gold}" if numbered else gold, *cells)
    return table


def cell_style(gold: str, predicted: str) -> str:
    """Right predictions are bold."""
    return "bold" if gold == predicted else ""


def largest(confusion: Mapping[str, Mapping[str, int]], labels: int) -> ResponsiveTable:
    """The pairs that are confused most."""
    pairs = [
        (count, gold, predicted, count / sum(row.values()))
        for gold, row in confusion.items()
        for predicted, count in row.items()
        if gold != predicted
    ]
    table = ResponsiveTable(
        Column.names("gold"),
        Column.names("predicted"),
        Column("number"),
        Column("of gold", 2),
        title=f"Largest confusions of {labels:,} labels",
    )
    for count, gold, predicted, share in sorted(pairs, key=lambda pair: (-pair[0], pair[1:]))[:SHOWN]:
        table.add(gold, predicted, f"{count:,}", f"{share:.1%}")
    return table


def calibration_table(calibration: Mapping[str, Any]) -> ResponsiveTable:
    """Accuracy by confidence."""
    title = f"Calibration: ECE {calibration['ece']:.4f}, {calibration['bins']} bins (arXiv:1706.04599)"
    table = ResponsiveTable(
        Column.words("confidence"), Column("mean", 2), Column("accuracy"), Column("number"), title=title
    )
    for one in calibration["table"]:
        bounds = f"{one['from']:.2f} to {one['to']:.2f}"
        table.add(bounds, f"{one['confidence']:.4f}", f"{one['accuracy']:.4f}", f"{one['predictions']:,}")
    return table


def errors_table(errors: Mapping[str, Any]) -> RenderableType:
    """The distribution of predicted - gold."""
    title, quantiles = "Errors, predicted - gold", {name: f"{at:+.4f}" for name, at in errors["quantiles"].items()}
    table = ResponsiveTable(Column.words(), *map(Column, quantiles), title=title)
    table.add("quantile", *quantiles.values())
    narrow = facts(((f"quantile {name}", at) for name, at in quantiles.items()), title)
    means = ("bias", "mean_absolute_error", "root_mean_square_error")
    edges, counts = errors["histogram"]["edges"], errors["histogram"]["counts"]
    histogram = ResponsiveTable(Column("from"), Column("to"), Column("number"), Column.words())
    for low, high, count in zip(edges, edges[1:], counts, strict=False):
        bar = "█" * math.ceil(BAR * count / max(counts))
        histogram.add(f"{low:+.3f}", f"{high:+.3f}", f"{count:,}", bar)
    figures = facts((name.replace("_", " "), f"{errors[name]:.4f}") for name in means)
    return spaced(Group(FirstFit(table, narrow), figures), histogram)
