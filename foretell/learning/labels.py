"""The labels of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from foretell.artifacts import write_json
from foretell.data.labelled.examples import label_fault
from foretell.errors import ConfigError
from foretell.run import Run
from foretell.strict_json import read_object, shown
from foretell.tasks.task import TaskConfig


def keep_labels(run: Run, labels: tuple[str, ...]) -> None:
    """Write the labels into a run. Raises `ConfigError` if it was trained with different ones."""
    if not run.holds(run.labels_file):
        check_labels(labels, run.labels_file)
        write_json(run.labels_file, {"labels": list(labels)})
        run.seal(run.labels_file)
    if (learned := load_labels(run.labels_file)) != labels:
        raise ConfigError(
            f"{run.path} was trained with labels that differ from those of its data now{difference(learned, labels)}",
            remedy="restore the data, or train a new run",
        )


def difference(learned: Sequence[str], labels: Sequence[str]) -> str:
    """New and missing labels of the data."""
    sides = {
        "new": [label for label in labels if label not in learned],
        "gone": [label for label in learned if label not in labels],
    }
    return "".join(f" ({how}: {', '.join(map(shown, some[:5]))})" for how, some in sides.items() if some)


def load_labels(path: Path, task: TaskConfig | None = None) -> tuple[str, ...]:
    """The labels of a run. Raises `ConfigError` if they are missing, damaged, or do not fit the task."""
    try:
        labels = tuple(read_object(path).texts("labels"))
        check_labels(labels, path)
        if task is not None and (fault := task.labels_fault(labels)):
            raise ConfigError(fault, file=path)
    except ConfigError as problem:
        remedy = "restore it from a backup; predictions need the label names"
        raise ConfigError(problem.what, file=path, line=problem.line, remedy=remedy) from None
    return labels


def check_labels(labels: Sequence[str], path: Path) -> None:
    """Raise `ConfigError` for labels that cannot be distinguished or printed."""
    for label in labels:
        if fault := label_fault(label):
            raise ConfigError(f"the label {shown(label)} {fault}", file=path)
    if len(set(labels)) < len(labels):
        raise ConfigError("contains a duplicate label", file=path)
