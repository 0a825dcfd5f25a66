"""A race: contenders trained under the same budget on the same text, measured the same way, in one table.

Every contender and seed trains in a process of its own (`foretell train`), so that time and memory are its own. The
clock runs while a model trains, validates and saves; text is prepared before. The race folder holds `race.json`, a run
folder for each contender and seed, and the picture; a race that was stopped goes on where it was.
"""

from __future__ import annotations

import contextlib
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.table import Table

from foretell.artifacts import write_json
from foretell.config import Amount
from foretell.data.batches.streams import StreamsConfig
from foretell.data.preparing import prepared
from foretell.errors import ConfigError
from foretell.evaluate.comparison import not_ranked
from foretell.recipe.loading import load_recipe
from foretell.recipe.recipe import Recipe
from foretell.run import Record
from foretell.tools import subprocesses
from foretell.tools.drawing import dress, library, save, thousands
from foretell.tools.look.show import cost
from foretell.tools.printing import plain, short
from foretell.training.monitor import Monitor

VALIDATIONS = 2  # in the course of a training: little of a short budget
WAITING = 8  # where something waits for validation to stop improving
COLUMNS = (
    50  # of carried text when measuring, whatever the contender: one would be exact, but takes longer than training
)

# what a result keeps of a measurement and of a training, and what the table averages over seeds
MEASURED = ("loss", "perplexity", "bits_per_byte", "bits_per_character", "lossy", "unknown_rate", "context")
SPENT = ("parameters", "trained_tokens", "seconds", "tokens_per_second", "peak_memory_bytes")
AVERAGED = ("perplexity", *SPENT, "budget_used")


@dataclass(frozen=True)
class Budget:
    """What every contender may use: time, tokens or floating-point operations."""

    amount: float
    unit: str
    """"seconds", "tokens" or "flops" """

    @classmethod
    def parse(cls, text: str) -> Budget:
        """From `"5m"`, `"5e6tokens"` or `"1e15flops"`."""
        if text.endswith("flops"):
            with contextlib.suppress(ValueError):
                if 0 < (amount := float(text.removesuffix("flops"))) <= 1e30:
                    return cls(amount, "flops")
        found = None
        with contextlib.suppress(ValidationError):
            found = Amount.model_validate(text)
        if found is None or found.unit not in ("seconds", "tokens"):
            raise ConfigError(f'--budget {text!r} is none; write time ("5m"), "5e6tokens" or "1e15flops"')
        return cls(found.value, found.unit)

    def limit(self, recipe: Recipe, vocabulary: int) -> Amount:
        """The budget as a limit of a training."""
        if self.unit == "flops":
            per_token = cost(recipe, vocabulary)["flops_per_token"]["training"]
            return Amount(value=max(1.0, round(self.amount / per_token)), unit="tokens")
        return Amount.model_validate({"value": self.amount, "unit": self.unit})

    def used(self, result: Mapping[str, Any]) -> float:
        """The share of the budget that a training used."""
        if self.unit == "seconds":  # to the last step, and the validation after it
            return float(result["seconds"] + result["validation_seconds"]) / self.amount
        return float(result["trained_tokens" if self.unit == "tokens" else "flops"]) / self.amount


# --- recipes that fit the budget ------------------------------------------------------------------


def fitted(recipe: Recipe, budget: Budget, vocabulary: int) -> Recipe:
    """The recipe with its whole course, stages and schedules alike, squeezed or stretched into the budget."""
    tree = recipe.tree()
    if recipe.model.counted:  # reads its text once; only a budget of tokens cuts it short
        limit = Amount(value=1, unit="epochs") if budget.unit != "tokens" else budget.limit(recipe, vocabulary)
        return load_recipe(tree | {"limit": str(limit), "stages": []})
    stages = recipe.resolved_stages()
    units = {stage.limit.unit for stage, _ in stages}
    if len(units) > 1:
        raise ConfigError(f"recipe {recipe.name}: its stages are limited in {', '.join(sorted(units))}; use one unit")
    whole = Amount.model_validate({"value": sum(stage.limit.value for stage, _ in stages), "unit": units.pop()})
    limit = budget.limit(recipe, vocabulary)
    tree = scaled(tree, whole, limit)
    tree["limit"] = str(limit)
    averaging, schedule = recipe.averaging.kind_name(), recipe.schedule.kind_name()
    waits = averaging == "nt-asgd" or schedule == "plateau" or recipe.training.patience
    share = Amount.model_validate({"value": limit.value / (WAITING if waits else VALIDATIONS), "unit": limit.unit})
    tree["evaluation"] |= {"every": str(share)}
    tree["checkpoint"] |= {"every": str(share)}
    if isinstance(recipe.data.batches, StreamsConfig):
        tree["evaluation"] |= {"columns": max(COLUMNS, recipe.evaluation.columns)}
    return load_recipe(tree)


def scaled(tree: Any, whole: Amount, limit: Amount) -> Any:
    """Tables with every moment that is given in the unit of the whole course moved to its place in the budget."""
    if isinstance(tree, dict):
        return {key: scaled(value, whole, limit) for key, value in tree.items()}
    if isinstance(tree, list):
        return [scaled(value, whole, limit) for value in tree]
    if not isinstance(tree, str):
        return tree
    try:
        moment = Amount.model_validate(tree)
    except ValidationError:
        return tree
    if moment.unit != whole.unit:
        return tree
    return str(Amount.model_validate({"value": moment.value / whole.value * limit.value, "unit": limit.unit}))


# --- the race -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Contender:
    """A recipe in the race."""

    name: str
    recipe: Recipe
    flops_per_token: float
    vocabulary: str
    """the same for contenders with the same tokens"""

    def seeds(self, seeds: int) -> range:
        """Which seeds it runs with; counting has no chance in it."""
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
) -> dict[str, Any]:
    """Train every recipe with every seed under the budget, measure all on a split; returns all results."""
    monitor, limits = Monitor(quiet=quiet), Budget.parse(budget)
    contenders = line_up(recipes, overrides, limits, monitor)
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
        results[name] = one(contender, seed, limits, split, out / name, quiet)
        write_json(out / "race.json", plan | {"results": results})
    summary = [summed_up(contender, results) for contender in contenders]
    cannot = not_ranked([contender.vocabulary for contender in contenders], [row["lossy"] for row in summary])
    summary = [row | {"ranked": not lossy} for row, lossy in zip(summary, cannot, strict=True)]
    summary.sort(key=lambda row: (not row["ranked"], float(row["bits_per_byte"])))
    result = {"race": str(out), **plan, "results": results, "table_rows": summary}
    try:
        draw(result, out / "race.png")
    except ConfigError as problem:
        monitor.say(f"no picture: {problem}")
    return result


def line_up(recipes: Sequence[str], overrides: Sequence[str], budget: Budget, monitor: Monitor) -> list[Contender]:
    """The contenders with their texts prepared; a mistake in any of them is one before the race begins."""
    loaded = [load_recipe(recipe, overrides) for recipe in recipes]
    if len({recipe.name for recipe in loaded}) < len(loaded):
        raise ConfigError("two contenders have the same name; give each recipe file a name of its own")
    texts = {json.dumps(recipe.tree()["data"]["corpus"], sort_keys=True) for recipe in loaded}
    if len(texts) > 1:
        raise ConfigError(
            f"contenders on different texts cannot be compared ({', '.join(sorted(texts))}); add data.corpus=..."
        )
    for recipe in loaded:
        if recipe.measured_by != "likelihood":
            raise ConfigError(
                f'{recipe.name}: objective.kind = "{recipe.objective.kind}" gives text no probability, so there are no '
                "bits per byte to race for; leave it out"
            )
    contenders = []
    for recipe in loaded:
        monitor.say(f"preparing the text for {recipe.name}")
        tokenizer = prepared(recipe.data.corpus, recipe.data.tokenizer, None).tokenizer
        vocabulary = tokenizer.size
        counted = recipe.model.counted
        flops = 0.0 if counted else float(cost(recipe, vocabulary)["flops_per_token"]["training"])
        contenders.append(Contender(recipe.name, fitted(recipe, budget, vocabulary), flops, tokenizer.fingerprint))
    return contenders


def one(contender: Contender, seed: int, budget: Budget, split: str, folder: Path, quiet: bool) -> Record:
    """Train one contender with one seed and measure it."""
    seeded = load_recipe(contender.recipe.tree() | {"seed": seed})
    trained = subprocesses.train(seeded, folder, quiet=quiet)
    measured = subprocesses.child("evaluate", str(folder), "--split", split, "--columns", str(COLUMNS), quiet=quiet)
    flops = contender.flops_per_token * trained["trained_tokens"]
    result = {
        **{key: measured[key] for key in MEASURED},
        "evaluation_tokens_per_second": measured["tokens_per_second"],
        **{key: trained[key] for key in (*SPENT, "validation_seconds")},
        "flops": flops,
        "seed": seed,
        "run": str(folder),
    }
    return result | {"budget_used": budget.used(result)}


# --- results --------------------------------------------------------------------------------------


def summed_up(contender: Contender, results: Mapping[str, Record]) -> Record:
    """One row of the table: means over seeds, and the standard deviation of what matters."""
    own = [result for name, result in results.items() if name.rpartition("-seed")[0] == contender.name]
    bits = [float(result["bits_per_byte"]) for result in own]
    means = {key: mean([result[key] for result in own]) for key in AVERAGED}
    return {
        "contender": contender.name,
        "seeds": len(own),
        "bits_per_byte": statistics.fmean(bits),
        "deviation": statistics.stdev(bits) if len(bits) > 1 else None,
        "lossy": any(result["lossy"] for result in own),
        "unknown_rate": max(float(result["unknown_rate"]) for result in own),
        "context": own[0]["context"],
        **means,
    }


def mean(values: Sequence[float | None]) -> float | None:
    """None where one is not known: an infinite perplexity is none in JSON."""
    known = [float(value) for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None


def table(result: Mapping[str, Any]) -> Table:
    """The race for people, best first."""
    title = f"{result['split']} split, {result['budget']} each"
    headings = ("", "bits/byte", "perplexity", "numbers", "tokens", "seconds", "tokens/s", "memory")
    made = plain(*headings, title=title)
    made.padding = (0, 1, 0, 0)
    unranked = [row for row in result["table_rows"] if not row["ranked"]]
    for row in result["table_rows"]:
        if unranked and row is unranked[0]:
            made.add_row("not ranked", style="dim")
        spread = "" if row["deviation"] is None else f" ±{row['deviation']:.3f}"
        made.add_row(
            row["contender"],
            f"{row['bits_per_byte']:.3f}{'*' if row['lossy'] else ''}{spread}",
            "" if row["perplexity"] is None else f"{row['perplexity']:,.1f}",
            short(row["parameters"]),
            short(row["trained_tokens"]),
            f"{row['seconds']:,.0f}",
            short(row["tokens_per_second"]),
            f"{row['peak_memory_bytes'] / 2**20:,.0f}M",
        )
    notes = [
        "numbers: parameters; tokens, seconds, tokens/s, memory: of the training",
        "± standard deviation over seeds; measured on one text by all, with " + contexts(result["table_rows"]),
    ]
    if flattered := [row for row in result["table_rows"] if row["lossy"]]:
        rates = ", ".join(f"{row['contender']} {row['unknown_rate']:.2%} unknown" for row in flattered)
        notes.append(f"* its tokens hold less than the text, so the figure flatters it: {rates}")
    if unranked:
        notes.append("not ranked: with other tokens than the rest, such a figure says nothing; give all one tokenizer")
    best = result["table_rows"][0]
    if (Path(result["race"]) / "race.png").exists():
        notes.append(f"the picture is {result['race']}/race.png")
    notes.append(f"runs are in {result['race']}: foretell generate {result['race']}/{best['contender']}-seed1")
    made.caption, made.caption_justify = "\n".join(notes), "left"
    return made


def contexts(rows: Sequence[Mapping[str, Any]]) -> str:
    """What contenders predicted tokens from, those alike together."""
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row["context"], []).append(row["contender"])
    if len(found) == 1:
        return next(iter(found))
    return "; ".join(f"{context} ({', '.join(names)})" for context, names in found.items())


PANELS = (  # what a good figure costs: the key of a row, its name, whether more of it is better
    ("parameters", "parameters", False),
    ("tokens_per_second", "training tokens per second", True),
    ("peak_memory_bytes", "peak memory in bytes", False),
)


def draw(result: Mapping[str, Any], out: Path) -> None:
    """Bits per byte against size, speed and memory; a line joins those that no other beats in both."""
    pyplot = library()
    from matplotlib.ticker import LogLocator, NullFormatter

    figure, panels = pyplot.subplots(1, 3, figsize=(13, 4.4), layout="constrained", sharey=True)
    rows = result["table_rows"]
    for axes, (key, name, larger_is_better) in zip(panels, PANELS, strict=True):
        points = [(row[key], row["bits_per_byte"]) for row in rows if row["ranked"]]
        best = [points[i] for i in frontier(points, larger_is_better=larger_is_better)]
        if best:
            axes.plot(*zip(*best, strict=True), color="0.6", linewidth=1.2, drawstyle="steps-post", zorder=1)
        for i, row in enumerate(rows):
            error = row["deviation"] or 0.0
            label = row["contender"] + ("" if row["ranked"] else " (not ranked)")
            shape = {"fmt": "o"} if row["ranked"] else {"fmt": "o", "markerfacecolor": "none"}
            axes.errorbar(row[key], row["bits_per_byte"], yerr=error, color=f"C{i}", label=label, **shape)
        axes.set_xscale("log")
        dress(axes, "", f"{name} ({'more' if larger_is_better else 'less'} is better)")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5), numticks=8))
        axes.xaxis.set_major_formatter(thousands())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.margins(x=0.15, y=0.15)
    panels[0].set_title(f"bits per byte, {result['split']} split, {result['budget']} each", loc="left", fontsize=11)
    panels[0].legend(frameon=False, fontsize=9)
    save(figure, out)


def frontier(points: Sequence[tuple[float, float]], *, larger_is_better: bool) -> list[int]:
    """Which points no other beats in both: indices by rising x. Small y is good, x as said."""
    sign = -1 if larger_is_better else 1
    best, found = math.inf, []
    for index in sorted(range(len(points)), key=lambda i: (sign * points[i][0], points[i][1])):
        if points[index][1] < best:
            best = points[index][1]
            found.append(index)
    return sorted(found, key=lambda i: points[i][0])
