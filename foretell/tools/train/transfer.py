"""What a model is good for: fine-tuned on every labelled set there is, in one table.

Each set is a folder of trials (see `tools.trials`), so that figures are medians over seeds. A recurrent model is tuned
as ULMFiT is, thawed layer by layer; a Transformer as BERT is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from foretell.artifacts import write_json
from foretell.config import Tree, did_you_mean, override, parse_override
from foretell.data.labelled.datasets import SETS
from foretell.data.labelled.readers import Reader
from foretell.data.labelled.readers.columns import ColumnsConfig
from foretell.data.labelled.readers.squad import SquadConfig
from foretell.data.labelled.readers.tables import OptionsConfig, TableConfig
from foretell.errors import ConfigError
from foretell.evaluate.probing import GRID
from foretell.models.recurrent import RecurrentConfig
from foretell.models.transformer import TransformerConfig
from foretell.recipe.loading import find_recipe, load_recipe, read_tree, recipe_of
from foretell.recipe.recipe import Recipe
from foretell.run import Record, Run
from foretell.tools import subprocesses
from foretell.tools.measure.probe import SPLITS, LabelledTexts, bag_of_words, figures
from foretell.tools.printing import plain
from foretell.tools.train.trials import run_trials
from foretell.training.monitor import Monitor

TRANSFORMER, RECURRENT = "bert-finetune-sst2", "ulmfit-imdb"
"""the recipes whose settings are used"""
READ = {"answering": 384, "choice": 256, "classification": 128, "similarity": 128, "tagging": 128}
"""tokens that a Transformer reads at once, as far as its context reaches"""
BACK = 1400
"""tokens of a text that gradients go back through in a recurrent model, as in the recipe for IMDB"""


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
    """Fine-tune a run on these sets, or on all that are there; their figures, median over seeds."""
    monitor = Monitor(quiet=quiet)
    chosen = {name: recipe_for(run, name, [*overrides, f"seeds={seeds}"]) for name in sets_there(sets)}
    plan = {"run": str(run), "sets": {name: recipe.text() for name, recipe in chosen.items()}}
    results = subprocesses.begin(out / "transfer.json", plan, resume)
    for name, recipe in chosen.items():
        if results.get(name, {}).get("failed", 1):
            monitor.say(f"\n{name}: {getattr(recipe.objective, 'kind', '')}")
            there = (out / name / "trials.json").exists()
            try:
                found = run_trials(recipe, out / name, resume=there, quiet=quiet, device=device)
            except ConfigError as problem:  # others may fit
                monitor.say(f"{name}: {problem}")
                found = {"summary": {}, "results": {"all": {"error": str(problem)}}, "trained": 0, "failed": seeds}
            results[name] = row(recipe, found)
            write_json(out / "transfer.json", plan | {"results": results})
    return {"transfer": str(out), **plan, "results": {name: results[name] for name in chosen}}


def sets_there(wanted: Sequence[str]) -> list[str]:
    """The sets of these names, all of which have to be there; without names those that are."""
    for name in wanted:
        if name not in SETS:
            raise ConfigError(f"no labelled set {name!r}{did_you_mean(name, SETS)} (foretell doctor lists them)")
        SETS[name].paths(name)
    found = list(dict.fromkeys(wanted)) or [name for name in SETS if is_there(name)]
    if not found:
        raise ConfigError("no labelled sets: set FORETELL_DATA to the folder that they are in (`foretell doctor`)")
    return found


def is_there(name: str) -> bool:
    """Whether all files of a set are found."""
    try:
        SETS[name].paths(name)
    except ConfigError:
        return False
    return True


# --- recipes --------------------------------------------------------------------------------------


def recipe_for(run: Path, name: str, overrides: Sequence[str]) -> Recipe:
    """How a run is fine-tuned on a set: as its kind of model is by its authors, but for what is overridden."""
    _, last = recipe_of(Run.open(run)).resolved_stages()[-1]
    model = last.model
    if not isinstance(model, RecurrentConfig | TransformerConfig):
        raise ConfigError(f"{run}: a model of kind {model.kind_name()!r} has no layers to fine-tune; name another run")
    tree = read_tree(find_recipe(TRANSFORMER if isinstance(model, TransformerConfig) else RECURRENT))
    tree |= {"name": name, "init": str(run), "objective": {"kind": task_of(SETS[name].reader)}}
    tree["data"] |= {"corpus": name}
    if tree["objective"]["kind"] == "tagging" and model.direction == "forward":
        tree["objective"]["at"] = "last"  # before, the end of a word is not known
    if isinstance(model, TransformerConfig):
        tree["data"]["batches"] |= {"length": min(READ[tree["objective"]["kind"]], model.context)}
    else:
        if model.direction == "forward":
            tree["objective"]["gradient_length"] = BACK
        tree["stages"] = thawing(model.layers, str(tree["limit"]))
    given = [parse_override(text) for text in overrides]
    if any({"limit", "trainable", "stages"} & one.keys() for one in given):  # who says these has another course in mind
        tree.pop("stages", None)
    return load_recipe(override(tree, overrides))


def task_of(reader: Reader) -> str:
    """What is to be learnt of examples that a reader reads."""
    if isinstance(reader, SquadConfig):
        return "answering"
    if isinstance(reader, ColumnsConfig):
        return "tagging"
    if isinstance(reader, OptionsConfig):
        return "choice"
    return "similarity" if isinstance(reader, TableConfig) and reader.labels == "score" else "classification"


def thawing(layers: int, limit: str) -> list[Tree]:
    """Stages that train what is on top, then a layer more in each epoch, then all (arXiv:1801.06146, section 3.3)."""
    top = [{"trainable": {"kind": "top", "layers": number}} for number in range(layers + 1)]
    gradual = [{"name": f"top {n}", "limit": "1epochs", "set": settings} for n, settings in enumerate(top)]
    return [*gradual, {"name": "all", "limit": limit, "set": {"trainable": "full"}}]


# --- results --------------------------------------------------------------------------------------


def row(recipe: Recipe, found: Mapping[str, Any]) -> Record:
    """What is kept of the trials on a set: of its metric the median and spread on each split, beside a bag of words."""
    metric = getattr(recipe.objective, "metric", "")
    of_splits = {split: found["summary"].get(split, {}).get(metric) for split in ("valid", "test")}
    errors = {name: one["error"] for name, one in found["results"].items() if "error" in one}
    kind = getattr(recipe.objective, "kind", "")
    counts = {"trained": found["trained"], "failed": found["failed"]}
    words = words_alone(recipe) if (kind, metric) == ("classification", "accuracy") else None
    return {"task": kind, "metric": metric, **of_splits, "bag_of_words": words, **counts, "errors": errors}


def words_alone(recipe: Recipe) -> Record | None:
    """What logistic regression on a bag of words learns from the same examples (see `tools.probe`); None where texts
    have no single class, without a test split, and without scikit-learn."""
    try:
        sets = {split: LabelledTexts.read(recipe.data, split) for split in SPLITS}
        return figures(bag_of_words(sets, GRID, recipe.seed))
    except ConfigError:
        return None


def table(result: Mapping[str, Any]) -> Table:
    """A row for each set."""
    made = plain("", "metric", "valid", "test", "bag of words", "seeds", title=f"{result['run']}, fine-tuned")
    made.columns[1].justify = "left"
    for column in made.columns[1:5]:
        column.no_wrap = False  # where there is little room, spreads go below their medians
    for name, one in result["results"].items():
        seeds = f"{one['trained']}" + (f", {one['failed']} failed" if one["failed"] else "")
        of_splits = (told(one[split]) for split in ("valid", "test"))
        words = f"{one['bag_of_words']['accuracy']:.4f}" if one.get("bag_of_words") else ""
        made.add_row(name, one["metric"].replace("_", " "), *of_splits, words, seeds)
    notes = ["median over seeds, lowest to highest in brackets; bag of words: logistic regression on the test split"]
    notes += [
        f"{name}, {one}: {error}" for name, row in result["results"].items() for one, error in row["errors"].items()
    ]
    made.caption, made.caption_justify = "\n".join(notes), "left"
    return made


def told(figure: Mapping[str, float] | None) -> str:
    """A median and its spread."""
    if figure is None:
        return ""
    spread = "" if figure["deviation"] is None else f" [{figure['lowest']:.3f}, {figure['highest']:.3f}]"
    return f"{figure['median']:.4f}{spread}"
