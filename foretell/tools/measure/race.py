"""A race: recipes trained on the same text under the same budget and measured alike, in one table.

Each contender and seed trains in a process of its own (`foretell train`), so that time and memory are its own. The
clock runs while a model trains, validates and saves; text is prepared before. The folder holds `race.json`, a run per
contender and seed, and the plot. A stopped race resumes where it was.
"""

from __future__ import annotations

import json
import math
import shlex
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group

from foretell import units
from foretell.artifacts import write_json
from foretell.data.preparing import prepared
from foretell.data.store.store import Store, is_store
from foretell.data.tokenizers.kinds import BPEConfig
from foretell.errors import ConfigError
from foretell.evaluate.measures import LIKELIHOOD, measure_of
from foretell.evaluate.ranking import Standing, ranked
from foretell.recipe.files import recipe_names
from foretell.recipe.loading import load_recipe
from foretell.recipe.recipe import Recipe, as_name
from foretell.run import Record
from foretell.tools import subprocesses
from foretell.tools.budget import Budget
from foretell.tools.compressors import ADAPTIVE, add_compressors, baselines
from foretell.tools.cost import cost
from foretell.tools.drawing import dress, library, save, thousands
from foretell.tools.printing import Command
from foretell.tools.rescaling import COLUMNS, fitted
from foretell.tools.tables import Column, ResponsiveTable
from foretell.training.monitor import Monitor
from foretell.trees import split_overrides

KEPT = (*(measure.key for measure in LIKELIHOOD), "lossy", "unknown_rate", "context")
"""of a measurement"""
SPENT = ("parameters", "trained_tokens", "seconds", "tokens_per_second", "peak_memory_bytes", "validation_seconds")
"""of a training"""
LOSSLESS = BPEConfig(size=4096)
"""tokenizer of contenders whose own would lose part of the text, if no other contender has one"""
PANELS = ("parameters", "tokens_per_second", "peak_memory_bytes")
"""costs to plot"""


# --- the race -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Contender:
    """A recipe in a race."""

    name: str
    recipe: Recipe
    flops_per_token: float
    vocabulary: str
    """fingerprint of the tokenizer"""

    def seeds(self, seeds: int) -> range:
        """The seeds to run; counting is deterministic, so one is enough."""
        return range(1, 2 if self.recipe.model.counted else seeds + 1)


def run_race(
    recipes: Sequence[str],
    overrides: Sequence[str],
    budget: str,
    *,
    seeds: int,
    split: str,
    out: Path,
    resume: bool,
    quiet: bool = False,
    variations: Sequence[str] = (),
) -> dict[str, Any]:
    """Train every recipe with every seed under the budget and measure all on one split.

    Variations are settings, in one text each; the only recipe competes with them too, and is compared with each.
    """
    monitor, limits = Monitor(quiet=quiet), Budget.parse(budget)
    contenders = line_up(varied(recipes, overrides, variations), overrides, limits, monitor)
    plan = {
        "budget": budget,
        "seeds": seeds,
        "split": split,
        "contenders": {contender.name: contender.recipe.text() for contender in contenders},
    }
    results = subprocesses.begin(out / "race.json", plan, resume)
    todo = [
        (contender, seed) for seed in range(1, seeds + 1) for contender in contenders if seed in contender.seeds(seeds)
    ]
    for contender, seed in todo:
        name = f"{contender.name}-seed{seed}"
        if name in results:
            continue
        monitor.say(f"\n{name}: {len(results) + 1} of {len(todo)}")
        results[name] = run_one(contender, seed, limits, split, out / name, quiet)
        write_json(out / "race.json", plan | {"results": results})
    summary = [summarise(contender, results) for contender in contenders]
    if variations:
        summary = [row | compared(row["contender"], contenders[0].name, results) for row in summary]
    standings = [Standing(one.vocabulary, row["lossy"]) for one, row in zip(contenders, summary, strict=True)]
    summary = [row | {"ranked": rank} for row, rank in zip(summary, ranked(standings), strict=True)]
    summary.sort(key=lambda row: (not row["ranked"], float(row["bits_per_byte"])))
    beside = baselines(contenders[0].recipe.data.corpus, split, monitor)
    result = {"race": str(out), **plan, "results": results, "table_rows": summary, "baselines": beside}
    try:
        draw(result, out / "race.png")
    except ConfigError as problem:
        monitor.say(f"no plot: {problem}")
    return result


def varied(recipes: Sequence[str], overrides: Sequence[str], variations: Sequence[str]) -> list[tuple[str, Recipe]]:
    """The recipes, each with its source, and the variations of the only one, named by their settings."""
    if variations and len(recipes) > 1:
        raise ConfigError("variations are of one recipe, and there are more; leave out the others, or --vary")
    loaded = [(recipe, load_recipe(recipe, overrides)) for recipe in recipes]
    for variation in variations:
        settings = [*overrides, *split_overrides(variation)]
        loaded.append((recipes[0], load_recipe(recipes[0], [*settings, f"name={json.dumps(as_name(variation))}"])))
    return loaded


def line_up(
    named: Sequence[tuple[str, Recipe]], overrides: Sequence[str], budget: Budget, monitor: Monitor
) -> list[Contender]:
    """The contenders with their text prepared. Raises `ConfigError` for a mistake in any of them."""
    loaded = [recipe for _, recipe in named]
    if len({recipe.name for recipe in loaded}) < len(loaded):
        raise ConfigError("two contenders have the same name; give each recipe file its own name")
    texts = {json.dumps(recipe.tree()["data"]["corpus"], sort_keys=True) for recipe in loaded}
    if len(texts) > 1:
        raise ConfigError(
            f"contenders on different texts cannot be compared ({', '.join(sorted(texts))}); add data.corpus=..."
        )
    for recipe in loaded:
        if recipe.no_likelihood:
            raise ConfigError(
                f'{recipe.name}: objective.kind = "{recipe.objective.kind}" assigns no probability to text, so it has '
                "no bits per byte to compare; leave it out"
            )
    stores = [text_of(recipe, monitor) for recipe in loaded]
    if not is_store(loaded[0].data.corpus) and not any(setting.startswith("data.tokenizer") for setting in overrides):
        shipped = [name in recipe_names() for name, _ in named]
        kept, loaded = loaded, lossless(loaded, stores, shipped, monitor)
        stores = [
            store if own is new else text_of(new, monitor) for own, new, store in zip(kept, loaded, stores, strict=True)
        ]
    contenders = []
    for recipe, store in zip(loaded, stores, strict=True):
        tokenizer = store.tokenizer
        vocabulary = tokenizer.size
        counted = recipe.model.counted
        flops = 0.0 if counted else float(cost(recipe, vocabulary)["flops_per_token"]["training"])
        contenders.append(Contender(recipe.name, fitted(recipe, budget, vocabulary), flops, tokenizer.fingerprint))
    return contenders


def lossless(
    recipes: Sequence[Recipe], stores: Sequence[Store], shipped: Sequence[bool], monitor: Monitor
) -> list[Recipe]:
    """The recipes, where shipped ones whose tokens lose part of this text share one tokenizer that loses nothing.

    It is that of the first contender with byte-level BPE that keeps the text, or else `LOSSLESS`.
    """
    loses = [any(store.split(split).loses_words for split in store.splits) for store in stores]
    changed = [recipe.name for recipe, *both in zip(recipes, loses, shipped, strict=True) if all(both)]
    if not changed:
        return list(recipes)
    kept = [recipe.data.tokenizer for recipe, lossy in zip(recipes, loses, strict=True) if not lossy]
    shared = next((tokenizer for tokenizer in kept if isinstance(tokenizer, BPEConfig)), LOSSLESS)
    monitor.say(
        f"{', '.join(changed)}: words would be lost in this text, so the tokens are BPE of {shared.size:,} instead; "
        "data.tokenizer=... chooses others"
    )
    return [with_tokenizer(recipe, shared) if recipe.name in changed else recipe for recipe in recipes]


def with_tokenizer(recipe: Recipe, tokenizer: BPEConfig) -> Recipe:
    """The recipe with another tokenizer."""
    tree = recipe.tree()
    tree["data"]["tokenizer"] = tokenizer.model_dump(mode="json")
    return load_recipe(tree)


def text_of(recipe: Recipe, monitor: Monitor) -> Store:
    """The prepared text of a recipe."""
    monitor.say(f"preparing the text for {recipe.name}")
    with monitor.activity("preparing") as activity:
        return prepared(recipe.data.corpus, recipe.data.tokenizer, activity.prepared)


def run_one(contender: Contender, seed: int, budget: Budget, split: str, folder: Path, quiet: bool) -> Record:
    """Train a contender with one seed and measure it."""
    seeded = load_recipe(contender.recipe.tree() | {"seed": seed})
    trained = subprocesses.train(seeded, folder, quiet=quiet)
    learns = ["--adaptive"] * contender.recipe.model.learns_as_it_reads
    columns = str(COLUMNS)
    measured = subprocesses.child("evaluate", str(folder), "--split", split, "--columns", columns, *learns, quiet=quiet)
    flops = contender.flops_per_token * trained["trained_tokens"]
    result = {
        **{key: measured[key] for key in KEPT},
        **({"adaptive_bits_per_byte": measured["adaptive"]["bits_per_byte"]} if learns else {}),
        "evaluation_tokens_per_second": measured["tokens_per_second"],
        **{key: trained[key] for key in SPENT},
        "flops": flops,
        "seed": seed,
        "run": str(folder),
    }
    return result | {"budget_used": budget.used(result)}


# --- results --------------------------------------------------------------------------------------


def summarise(contender: Contender, results: Mapping[str, Record]) -> Record:
    """Means over the seeds of a contender, and the standard deviation of its bits per byte."""
    own = [result for name, result in results.items() if name.rpartition("-seed")[0] == contender.name]
    bits = [float(result["bits_per_byte"]) for result in own]
    means = {key: mean([result[key] for result in own]) for key in own[0] if measure_of(key).average == "mean"}
    largest = {key: max(float(result[key]) for result in own) for key in own[0] if measure_of(key).average == "max"}
    return {
        "contender": contender.name,
        "seeds": len(own),
        "deviation": statistics.stdev(bits) if len(bits) > 1 else None,
        "lossy": any(result["lossy"] for result in own),
        "context": own[0]["context"],
        **largest,
        **means,
    }


def compared(name: str, first: str, results: Mapping[str, Record]) -> Record:
    """Bits per byte of a contender less those of the first, with the same seeds: the mean and, from two seeds on, half
    the 95 % confidence interval by Student's t."""
    if name == first:
        return {"difference": None, "margin": None}
    own, base = (by_seed(one, results) for one in (name, first))
    differences = [own[seed] - base[seed] for seed in own.keys() & base.keys()]
    margin = None
    if (number := len(differences)) > 1:
        from scipy.stats import t

        margin = float(t.ppf(0.975, number - 1)) * statistics.stdev(differences) / math.sqrt(number)
    return {"difference": statistics.fmean(differences), "margin": margin}


def by_seed(name: str, results: Mapping[str, Record]) -> dict[int, float]:
    """Bits per byte of a contender with each seed."""
    own = (result for key, result in results.items() if key.rpartition("-seed")[0] == name)
    return {result["seed"]: float(result["bits_per_byte"]) for result in own}


def mean(values: Sequence[float | None]) -> float | None:
    """The mean; None if a value is None, as an infinite perplexity is in JSON."""
    known = [float(value) for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None


def render(result: Mapping[str, Any]) -> Group:
    """The race as a table, best first, and a command to continue with."""
    best = shlex.quote(f"{result['race']}/{result['table_rows'][0]['contender']}-seed1")
    return Group(table_of(result), Command(f"foretell generate {best}"))


def table_of(result: Mapping[str, Any]) -> ResponsiveTable:
    """The race as a table, best first."""
    rows = result["table_rows"]
    unranked, varies = [row for row in rows if not row["ranked"]], "difference" in rows[0]
    table = ResponsiveTable(
        Column.names(),
        Column("bits/byte"),
        ADAPTIVE,
        *[Column("difference")] * varies,
        Column("perplexity", 2),
        Column("params", 4),
        Column("tokens", 6),
        Column("time", 3),
        Column("tokens/s", 5),
        Column("memory", 7),
        title=f"{result['split']} split, {result['budget']} each",
        notes=notes(result, unranked),
    )
    for row in rows:
        if unranked and row is unranked[0]:
            table.section("not ranked")
        spread = "" if row["deviation"] is None else f" ±{row['deviation']:.3f}"
        table.add(
            row["contender"],
            f"{row['bits_per_byte']:.3f}{'*' if row['lossy'] else ''}{spread}",
            f"{row['adaptive_bits_per_byte']:.3f}" if row.get("adaptive_bits_per_byte") else "",
            *[difference_of(row)] * varies,
            "" if row["perplexity"] is None else f"{row['perplexity']:,.1f}",
            units.count(row["parameters"]),
            units.count(row["trained_tokens"]),
            units.duration(row["seconds"]),
            units.count(row["tokens_per_second"]),
            units.size(row["peak_memory_bytes"]),
        )
    add_compressors(table, result.get("baselines"))
    table.notes.append(f"Runs: {result['race']}; next:")
    return table


def difference_of(row: Mapping[str, Any]) -> str:
    """The difference of a row to the first contender, with half its interval."""
    if row.get("difference") is None:
        return ""
    margin = row["margin"]
    return f"{row['difference']:+.3f}" + ("" if margin is None else f" ±{margin:.3f}")


def notes(result: Mapping[str, Any], unranked: Sequence[Mapping[str, Any]]) -> list[str]:
    """Explanations below the table."""
    rows = result["table_rows"]
    lines = [
        "Tokens, time, tokens/s, memory: of training. ±: standard deviation over seeds.",
        f"All measured on one text, with {contexts(rows)}.",
    ]
    if "difference" in rows[0]:
        lines.append(
            f"Difference: to {next(iter(result['contenders']))}, same seeds; its ±: half the 95 % confidence interval."
        )
    if lossy := [row for row in rows if row["lossy"]]:
        rates = ", ".join(f"{row['contender']} {row['unknown_rate']:.2%} unknown" for row in lossy)
        lines.append(f"* Its tokens do not restore the text, so its bits per byte are too low: {rates}.")
    if unranked:
        lines.append("Not ranked: lossy, with other tokens than the rest. Use one tokenizer for all.")
    if (Path(result["race"]) / "race.png").exists():
        lines.append(f"Plot: {result['race']}/race.png")
    return lines


def contexts(rows: Sequence[Mapping[str, Any]]) -> str:
    """The contexts that tokens were predicted from, with the contenders of each if they differ."""
    names: dict[str, list[str]] = {}
    for row in rows:
        names.setdefault(row["context"], []).append(row["contender"])
    if len(names) == 1:
        return next(iter(names))
    return "; ".join(f"{context} ({', '.join(users)})" for context, users in names.items())


def draw(result: Mapping[str, Any], out: Path) -> None:
    """Plot bits per byte against size, speed and memory; a line joins the Pareto frontier."""
    pyplot = library()
    from matplotlib.ticker import LogLocator, NullFormatter

    figure, panels = pyplot.subplots(1, 3, figsize=(13, 4.4), layout="constrained", sharey=True)
    rows = result["table_rows"]
    for axes, measure in zip(panels, map(measure_of, PANELS), strict=True):
        key, larger_is_better = measure.key, measure.better == "higher"
        points = [(row[key], row["bits_per_byte"]) for row in rows if row["ranked"]]
        best = [points[i] for i in frontier(points, larger_is_better=larger_is_better)]
        if best:
            steps = "steps-pre" if larger_is_better else "steps-post"  # what can be had at each cost
            axes.plot(*zip(*best, strict=True), color="0.6", linewidth=1.2, drawstyle=steps, zorder=1)
        for i, row in enumerate(rows):
            error = row["deviation"] or 0.0
            label = row["contender"] + ("" if row["ranked"] else " (not ranked)")
            shape = {"fmt": "o"} if row["ranked"] else {"fmt": "o", "markerfacecolor": "none"}
            axes.errorbar(row[key], row["bits_per_byte"], yerr=error, color=f"C{i}", label=label, **shape)
        axes.set_xscale("log")
        dress(axes, "", f"{measure.title} ({'more' if larger_is_better else 'less'} is better)")
        axes.xaxis.set_major_locator(LogLocator(subs=ticks([row[key] for row in rows]), numticks=8))
        axes.xaxis.set_major_formatter(thousands())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.margins(x=0.15, y=0.15)
    panels[0].set_title(f"bits per byte, {result['split']} split, {result['budget']} each", loc="left", fontsize=11)
    panels[0].legend(frameon=False, fontsize=9)
    save(figure, out)


def ticks(values: Sequence[float]) -> tuple[int, ...]:
    """The multiples of powers of ten that a logarithmic axis of such values names: fewer on a longer one."""
    positive = [value for value in values if value > 0] or [1.0]
    decades = math.log10(max(positive) / min(positive))
    return (1, 2, 3, 5) if decades < 1.2 else (1, 3) if decades < 2.5 else (1,)


def frontier(points: Sequence[tuple[float, float]], *, larger_is_better: bool) -> list[int]:
    """Indices of the Pareto-optimal points by rising x: small y is good, and small or large x."""
    sign = -1 if larger_is_better else 1
    best, optimal = math.inf, []
    for index in sorted(range(len(points)), key=lambda i: (sign * points[i][0], points[i][1])):
        if points[index][1] < best:
            best = points[index][1]
            optimal.append(index)
    return sorted(optimal, key=lambda i: points[i][0])
