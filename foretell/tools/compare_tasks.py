"""Several runs of a task on the same examples: their metrics in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from foretell.config import ConfigError
from foretell.examples import read_split, task_of
from foretell.mixing import Mixed
from foretell.run import Record
from foretell.tools.printing import plain
from foretell.trained import Trained

COSTS = ("objective_loss", "seconds", "examples_per_second")


def learns_a_task(model: Trained | Mixed) -> bool:
    """Whether a model tells of examples, and gives text no probability."""
    return isinstance(model, Trained) and model.settings.is_task


def compare_tasks(models: Sequence[Trained | Mixed], split: str) -> Record:
    """Measure runs on one split of their sets, or on a file, best first.

    Raises `ConfigError` where tasks, metrics or examples are not the same.
    """
    runs = [model for model in models if isinstance(model, Trained) and learns_a_task(model)]
    if len(runs) < len(models):
        other = next(model for model in models if not learns_a_task(model))
        name = other.run.path if isinstance(other, Trained) else "a mixture"
        raise ConfigError(f"{runs[0].run.path} learns a task and {name} does not; name runs of one task, or of none")
    first = runs[0]
    task, examples = task_of(first.settings), read_split(first.settings, split)
    for run in runs[1:]:
        mine = task_of(run.settings)
        if (mine.kind_name(), mine.metric) != (task.kind_name(), task.metric):
            raise ConfigError(
                f"{first.run.path} is measured by {task.metric} of {task.kind_name()}, {run.run.path} by {mine.metric} "
                f"of {mine.kind_name()}, so their figures say nothing about each other"
            )
        if read_split(run.settings, split) != examples:
            raise ConfigError(
                f"{first.run.path} and {run.run.path} have different examples as their {split} split, so their figures "
                "say nothing about each other; name one file for both with --split FILE"
            )
    found = [run.evaluate(split) for run in runs]
    found.sort(key=lambda one: float(one[task.metric]), reverse=True)
    return {"split": split, "task": task.kind_name(), "metric": task.metric, "examples": len(examples), "runs": found}


def render(result: Mapping[str, Any]) -> Table:
    """A row for each run, best first; the metric of the task comes first."""
    first, metric = result["runs"][0], result["metric"]
    others = [name for name, value in first.items() if isinstance(value, float) and name not in (*COSTS, metric)]
    names = [metric, *(name for name in others if all(isinstance(run.get(name), float) for run in result["runs"]))]
    title = f"{result['task']}, {result['split']}: {result['examples']:,} examples"
    table = plain("run", *(name.replace("_", " ") for name in names), "parameters", title=title)
    for run in result["runs"]:
        table.add_row(run["run"], *(f"{run[name]:.4f}" for name in names), f"{run['parameters']:,}")
    table.caption, table.caption_justify = "Single runs: how much is chance, several seeds tell (seeds = 5).", "left"
    return table
