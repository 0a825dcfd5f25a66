"""Trials: one recipe trained with several seeds or folds, and the spread of its scores.

Each trial is a run of its own, trained and measured in a process of its own. A failed trial is reported and counted;
the others continue. Scores are medians, with the lowest and the highest.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from foretell import units
from foretell.api.train import try_out
from foretell.artifacts import write_json
from foretell.evaluate.measures import qualities
from foretell.recipe.loading import load_recipe
from foretell.recipe.recipe import Recipe
from foretell.run import Record
from foretell.tools import subprocesses
from foretell.tools.tables import Column, ResponsiveTable
from foretell.training.monitor import Monitor


def trials(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    quiet: bool = False,
    device: str | None = None,
    **overrides: Any,
) -> dict[str, Any]:
    """Train a recipe with several `seeds` or `folds` and return all results; arguments as for `foretell.train`."""
    settings = load_recipe(recipe, {key.replace("__", "."): value for key, value in overrides.items()})
    folder = Path(out or Path("runs") / (settings.name or "trials"))
    return run_trials(settings, folder, resume=resume, quiet=quiet, device=device)


def run_trials(
    recipe: Recipe, out: Path, *, resume: bool = False, quiet: bool = False, device: str | None = None
) -> dict[str, Any]:
    """Train each of `Recipe.trials` in a folder; return the result of each and a summary. Raises `ConfigError` if none
    can be trained."""
    monitor, todo = Monitor(quiet=quiet), recipe.trials() or {f"seed-{recipe.seed}": recipe}
    plan = {"recipe": recipe.text()}
    if not resume:
        try_out(next(iter(todo.values())))  # fail early, before any folder is written
    stored = subprocesses.begin(out / "trials.json", plan, resume)
    results = {name: result for name, result in stored.items() if "error" not in result}  # retry failed ones
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
    result = {"trials": str(out), **plan, "results": results, **summarise(results.values())}
    write_json(out / "trials.json", result)
    return result


def measured(recipe: Recipe, folder: Path, options: Sequence[str], quiet: bool) -> Record:
    """Train one trial and measure its best checkpoint on the validation split, and on a test split if it has one."""
    trained = subprocesses.train(recipe, folder, *options, quiet=quiet)
    result = {"run": str(folder), "seed": recipe.seed, "seconds": trained["seconds"], "valid": qualities(trained)}
    try:
        tested = subprocesses.child("evaluate", str(folder), "--split", "test", *options, quiet=True)
    except subprocesses.Failed as problem:
        if not problem.wrong_input:
            raise
        return result | {"test": None, "untested": str(problem)}  # many data sets withhold their test labels
    return result | {"test": qualities(tested)}


def all_or_none(results: Mapping[str, Record], *, folds: bool) -> dict[str, Record]:
    """Results that fit one table: a trial that cannot be tested has failed, unless none can, as with data sets that
    withhold their test labels. A fold has a test split of its own, so each fold must be tested."""
    tested = folds or any(result.get("test") is not None for result in results.values())
    return {
        name: result | {"error": f"cannot be tested: {result['untested']}"}
        if tested and "untested" in result
        else result
        for name, result in results.items()
    }


def summarise(results: Iterable[Record]) -> dict[str, Any]:
    """Median and spread of each score by split, and numbers of trials; only scores that all trials have."""
    results = list(results)
    done = [result for result in results if "error" not in result]
    summary: dict[str, Any] = {"summary": {}, "trained": len(done), "failed": len(results) - len(done)}
    for split in ("valid", "test"):
        scored = [result[split] for result in done if result[split] is not None]
        if scored and len(scored) == len(done):
            shared = [key for key in scored[0] if all(key in trial for trial in scored)]
            summary["summary"][split] = {key: spread([trial[key] for trial in scored]) for key in shared}
    return summary


def spread(values: Sequence[float]) -> dict[str, float | None]:
    """Median, mean, lowest, highest, and the sample standard deviation of two or more values."""
    return {
        "median": statistics.median(values),
        "mean": statistics.fmean(values),
        "lowest": min(values),
        "highest": max(values),
        "deviation": statistics.stdev(values) if len(values) > 1 else None,
    }


# --- tables ---------------------------------------------------------------------------------------


def render(result: Mapping[str, Any]) -> ResponsiveTable:
    """One row per trial, failed ones included; below them medians and spreads."""
    split = "test" if "test" in result["summary"] or not result["summary"] else "valid"
    summary = result["summary"].get(split, {})
    scores = [Column(units.label(key), number) for number, key in enumerate(summary, 1)]
    table = ResponsiveTable(Column.names(), *(scores or [Column()]), title=f"{result['trials']}, {split} split")
    for name, trial in result["results"].items():
        if "error" in trial:
            table.add(name, "failed", style="red")
        else:
            table.add(name, *(f"{trial[split][key]:.4f}" for key in summary))
    if summary:
        table.section()
        table.add("median", *(f"{score['median']:.4f}" for score in summary.values()), style="bold")
        for key in ("mean", "lowest", "highest"):
            table.add(key, *(f"{score[key]:.4f}" for score in summary.values()), style="dim")
    table.notes = [f"{result['trained']} trained, {result['failed']} failed"]
    table.notes += [f"{name}: {trial['error']}" for name, trial in result["results"].items() if "error" in trial]
    untested = [
        trial["untested"] for trial in result["results"].values() if "untested" in trial and "error" not in trial
    ]
    table.notes += [f"no scores on the test split: {untested[0]}"] if untested else []
    return table
