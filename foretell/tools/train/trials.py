"""Trials: one recipe trained several times over, with other seeds or other folds, and what is certain of its figures.

Each is a run of its own in the folder, trained and measured in a process of its own; one that fails is told and
counted, and the others go on. Figures are medians, with the lowest and the highest beside.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from foretell.api.train import try_out
from foretell.artifacts import write_json
from foretell.recipe.loading import load_recipe
from foretell.recipe.recipe import Recipe
from foretell.run import Record
from foretell.tools import subprocesses
from foretell.tools.printing import plain
from foretell.training.monitor import Monitor

COSTS = ("epoch", "seconds", "validation_seconds", "tokens_per_second", "examples_per_second", "unknown_rate")
"""figures of a measurement that are no measure of the model"""
COLUMNS = 5
"""how many measures fit a terminal"""


def trials(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    quiet: bool = False,
    device: str | None = None,
    **overrides: Any,
) -> dict[str, Any]:
    """Train a recipe of several `seeds` or `folds` and return what came of all; arguments as for `foretell.train`."""
    settings = load_recipe(recipe, {key.replace("__", "."): value for key, value in overrides.items()})
    folder = Path(out or Path("runs") / (settings.name or "trials"))
    return run_trials(settings, folder, resume=resume, quiet=quiet, device=device)


def run_trials(
    recipe: Recipe, out: Path, *, resume: bool = False, quiet: bool = False, device: str | None = None
) -> dict[str, Any]:
    """Train each of `Recipe.trials` below a folder; their figures and those of all together. A `ConfigError` where none
    can be trained."""
    monitor, todo = Monitor(quiet=quiet), recipe.trials() or {f"seed-{recipe.seed}": recipe}
    plan = {"recipe": recipe.text()}
    if not resume:
        try_out(next(iter(todo.values())))  # or each of them would fail, and leave a folder
    kept = subprocesses.begin(out / "trials.json", plan, resume)
    results = {name: result for name, result in kept.items() if "error" not in result}  # what failed is tried again
    options = ["--device", device] if device else []
    for number, (name, trial) in enumerate(todo.items(), 1):
        if name in results:
            continue
        monitor.say(f"\n{name}: {number} of {len(todo)}")
        try:
            results[name] = measured(trial, out / name, options, quiet)
        except RuntimeError as problem:
            results[name] = {"run": str(out / name), "error": str(problem)}
        results = all_or_none(results, folds=recipe.folds is not None)
        if "error" in results[name]:
            monitor.say(f"{name} failed: {results[name]['error']}")
        write_json(out / "trials.json", plan | {"results": results})
    results = {name: results[name] for name in todo}
    result = {"trials": str(out), **plan, "results": results, **summed_up(results.values())}
    write_json(out / "trials.json", result)
    return result


def measured(recipe: Recipe, folder: Path, options: Sequence[str], quiet: bool) -> Record:
    """Train one and measure it: what validation says of its best checkpoint, and the test split where there is one."""
    trained = subprocesses.train(recipe, folder, *options, quiet=quiet)
    result = {"run": str(folder), "seed": recipe.seed, "seconds": trained["seconds"], "valid": measures(trained)}
    try:
        tested = subprocesses.child("evaluate", str(folder), "--split", "test", *options, quiet=True)
    except subprocesses.Failed as problem:
        if not problem.wrong_input:
            raise
        return result | {"test": None, "untested": str(problem)}  # many a set keeps its test labels to itself
    return result | {"test": measures(tested)}


def all_or_none(results: Mapping[str, Record], *, folds: bool) -> dict[str, Record]:
    """Results that can stand in one table: one that cannot be tested has failed, except where none can, as with a set
    that keeps its test labels to itself. A fold has a test split of its own, so there each has to be tested."""
    tested = folds or any(result.get("test") is not None for result in results.values())
    return {
        name: result | {"error": f"cannot be tested: {result['untested']}"}
        if tested and "untested" in result
        else result
        for name, result in results.items()
    }


def measures(record: Mapping[str, Any]) -> dict[str, float]:
    """What a measurement says of the model."""
    return {key: value for key, value in record.items() if isinstance(value, float) and key not in COSTS}


def summed_up(results: Iterable[Record]) -> dict[str, Any]:
    """Of each measure the median and its spread, by split, and what failed; a measure counts where all have it."""
    results = list(results)
    done = [result for result in results if "error" not in result]
    summary: dict[str, Any] = {"summary": {}, "trained": len(done), "failed": len(results) - len(done)}
    for split in ("valid", "test"):
        found = [result[split] for result in done if result[split] is not None]
        if found and len(found) == len(done):
            shared = [key for key in found[0] if all(key in one for one in found)]
            summary["summary"][split] = {key: spread([one[key] for one in found]) for key in shared}
    return summary


def spread(values: Sequence[float]) -> dict[str, float | None]:
    """The median, the mean, the lowest, the highest, and the standard deviation of a sample of more than one."""
    return {
        "median": statistics.median(values),
        "mean": statistics.fmean(values),
        "lowest": min(values),
        "highest": max(values),
        "deviation": statistics.stdev(values) if len(values) > 1 else None,
    }


# --- for people -----------------------------------------------------------------------------------


def table(result: Mapping[str, Any]) -> Table:
    """A row for each run, what failed in its place; below them medians and spreads."""
    split = "test" if "test" in result["summary"] or not result["summary"] else "valid"
    found = dict(list(result["summary"].get(split, {}).items())[:COLUMNS])
    made = plain("", *(key.replace("_", " ") for key in found), title=f"{result['trials']}, {split} split")
    for name, one in result["results"].items():
        if "error" in one:
            made.add_row(name, "failed", style="red")
        else:
            made.add_row(name, *(f"{one[split][key]:.4f}" for key in found))
    if found:
        made.add_section()
        made.add_row("median", *(f"{one['median']:.4f}" for one in found.values()), style="bold")
        for key in ("mean", "lowest", "highest"):
            made.add_row(key, *(f"{one[key]:.4f}" for one in found.values()), style="dim")
    notes = [f"{result['trained']} trained, {result['failed']} failed"]
    notes += [f"{name}: {one['error']}" for name, one in result["results"].items() if "error" in one]
    untested = [one["untested"] for one in result["results"].values() if "untested" in one and "error" not in one]
    notes += [f"no figures of the test split, which cannot be measured: {untested[0]}"] if untested else []
    made.caption, made.caption_justify = "\n".join(notes), "left"
    return made
