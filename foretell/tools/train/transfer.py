"""Transfer: one run fine-tuned on every labelled data set that is found, in one table.

Each data set is a folder of trials (`tools.train.trials`), so that scores are medians over seeds. `ModelConfig` names
the recipe whose settings a model is fine-tuned with: that of BERT for a Transformer, that of ULMFiT, unfrozen layer by
layer, for a recurrent model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from foretell.artifacts import write_json
from foretell.data.labelled.datasets import SETS, available_sets
from foretell.errors import ConfigError
from foretell.evaluate.probing import GRID
from foretell.learning.task import task_of
from foretell.recipe.files import FINE_TUNING
from foretell.recipe.loading import load_recipe
from foretell.recipe.recipe import Recipe
from foretell.run import Record
from foretell.tools import subprocesses
from foretell.tools.measure.probe import SPLITS, LabelledTexts, bag_of_words, figures
from foretell.tools.tables import Column, ResponsiveTable
from foretell.tools.train.trials import run_trials
from foretell.training.monitor import Monitor


def transfer(
    run: Path,
    sets: Sequence[str],
    overrides: Sequence[str],
    *,
    seeds: int,
    out: Path,
    resume: bool,
    quiet: bool = False,
    device: str | None = None,
) -> dict[str, Any]:
    """Fine-tune a run on the named data sets, or on all that are found; return medians over seeds."""
    monitor = Monitor(quiet=quiet)
    recipes = {name: recipe_for(run, name, [*overrides, f"seeds={seeds}"]) for name in available_sets(sets)}
    plan = {"run": str(run), "sets": {name: recipe.text() for name, recipe in recipes.items()}}
    results = subprocesses.begin(out / "transfer.json", plan, resume)
    for name, recipe in recipes.items():
        if results.get(name, {}).get("failed", 1):
            monitor.say(f"\n{name}: {recipe.objective.kind_name()}")
            started = (out / name / "trials.json").exists()
            try:
                trials = run_trials(recipe, out / name, resume=started, quiet=quiet, device=device)
            except ConfigError as problem:  # other data sets may fit
                monitor.say(f"{name}: {problem}")
                trials = {"summary": {}, "results": {"all": {"error": str(problem)}}, "trained": 0, "failed": seeds}
            results[name] = record(recipe, trials)
            write_json(out / "transfer.json", plan | {"results": results})
    return {"transfer": str(out), **plan, "results": {name: results[name] for name in recipes}}


# --- recipes --------------------------------------------------------------------------------------


def recipe_for(run: Path, name: str, overrides: Sequence[str]) -> Recipe:
    """The recipe that fine-tunes a run on a data set: that of the model's family, then the overrides."""
    task = SETS[name].reader.task
    given = {"name": name, "init": str(run), "objective": {"kind": task}, "data": {"corpus": name}}
    return load_recipe({"base": FINE_TUNING} | given, overrides)


# --- results --------------------------------------------------------------------------------------


def record(recipe: Recipe, trials: Mapping[str, Any]) -> Record:
    """Result of a data set: median and spread of its metric per split, and the score of a bag of words."""
    kind, metric = recipe.objective.kind_name(), task_of(recipe).metric
    scores = {split: trials["summary"].get(split, {}).get(metric) for split in ("valid", "test")}
    errors = {name: result["error"] for name, result in trials["results"].items() if "error" in result}
    counts = {"trained": trials["trained"], "failed": trials["failed"]}
    words = baseline(recipe) if (kind, metric) == ("classification", "accuracy") else None
    return {"task": kind, "metric": metric, **scores, "bag_of_words": words, **counts, "errors": errors}


def baseline(recipe: Recipe) -> Record | None:
    """Scores of logistic regression on a bag of words, on the same examples (`tools.measure.probe`); None if texts have
    several labels or none, without a test split, or without scikit-learn."""
    try:
        sets = {split: LabelledTexts.read(recipe.data, split) for split in SPLITS}
        return figures(bag_of_words(sets, GRID, recipe.seed))
    except ConfigError:
        return None


def render(result: Mapping[str, Any]) -> ResponsiveTable:
    """One row per data set."""
    table = ResponsiveTable(
        Column.names(),
        Column.words("metric", 2),
        Column("valid", 3),
        Column("test"),
        Column("bag of words"),
        Column("seeds", 4),
        title=f"{result['run']}, fine-tuned",
    )
    for name, row in result["results"].items():
        seeds = f"{row['trained']}" + (f", {row['failed']} failed" if row["failed"] else "")
        scores = (median(row[split]) for split in ("valid", "test"))
        baseline = f"{row['bag_of_words']['accuracy']:.4f}" if row.get("bag_of_words") else ""
        table.add(name, row["metric"].replace("_", " "), *scores, baseline, seeds)
    table.notes = ["Median over seeds, lowest to highest in brackets. Bag of words: logistic regression, test split."]
    table.notes += [
        f"{name}, {trial}: {error}" for name, row in result["results"].items() for trial, error in row["errors"].items()
    ]
    return table


def median(score: Mapping[str, float] | None) -> str:
    """A median and its range."""
    if score is None:
        return ""
    spread = "" if score["deviation"] is None else f" [{score['lowest']:.3f}, {score['highest']:.3f}]"
    return f"{score['median']:.4f}{spread}"
