"""Plot of races on one text: bits per byte of each contender against the budget."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from foretell import units
from foretell.errors import ConfigError
from foretell.run import Record
from foretell.strict_json import read_json
from foretell.tools.budget import Budget
from foretell.tools.drawing import dress, library, save

FILE = "race.json"
AXES = {
    "seconds": ("seconds", "time of training and validation"),
    "tokens": ("trained_tokens", "training tokens"),
    "flops": ("flops", "operations of training"),
}
"""unit of a budget: the figure of a result, and the axis"""
WIDTH, HEIGHT = 8.0, 5.0


def is_race(path: Path) -> bool:
    """Whether a folder is one of `foretell race`."""
    return (path / FILE).is_file()


def plot_races(paths: Sequence[Path], out: Path | None) -> dict[str, Any]:
    """Draw races with budgets of one unit on one split into a PNG (default: `plot.png` in the first folder)."""
    races = [read_race(path) for path in paths]
    for name, values in {
        "units of budgets": {Budget.parse(race["budget"]).unit for race in races},
        "splits": {race["split"] for race in races},
    }.items():
        if len(values) > 1:
            raise ConfigError(f"these races have different {name}: {', '.join(sorted(values))}; plot them apart")
    unit = Budget.parse(races[0]["budget"]).unit
    pyplot = library()
    figure, axes = pyplot.subplots(figsize=(WIDTH, HEIGHT), layout="constrained")
    lines = curves(races, AXES[unit][0])
    end = max(x for points in lines.values() for x, _, _ in points)
    for i, (name, points) in enumerate(lines.items()):
        x, mean, deviation = zip(*points, strict=True)
        axes.errorbar(x, mean, yerr=deviation, marker="o", markersize=4, color=f"C{i}", label=name)
        if x[-1] < end and math.isclose(mean[0], mean[-1]):  # more of the budget does not change it
            axes.hlines(mean[-1], x[-1], end, colors=f"C{i}", linestyles="dotted")
    axes.set_xscale("log")
    dress(axes, f"bits per byte, {races[0]['split']} split", AXES[unit][1])
    if unit == "seconds":
        axes.xaxis.set_major_formatter(lambda value, _: units.duration(value))
        axes.set_xticks(ticks(min(x for points in lines.values() for x, _, _ in points), end), minor=False)
        axes.minorticks_off()
    axes.margins(x=0.05)
    axes.legend(frameon=False, fontsize=9)
    out = out or Path(paths[0]) / "plot.png"
    save(figure, out)
    return {"png": str(out), "races": [str(path) for path in paths], "x": AXES[unit][0], "y": "bits_per_byte"}


def read_race(path: Path) -> Mapping[str, Any]:
    """The plan and the results of a race. Raises `ConfigError` where there are none."""
    found = read_json(path / FILE)
    if not isinstance(found, dict) or not found.get("results"):
        raise ConfigError("has no results", file=path / FILE, remedy="finish the race with --resume")
    results = found["results"].values() if isinstance(found["results"], dict) else [None]
    numbers = ("bits_per_byte", "validation_seconds", *(key for key, _ in AXES.values()))
    sound = all(
        isinstance(one, dict) and all(isinstance(one.get(key), int | float) for key in numbers) for one in results
    )
    plan = (found.get("budget"), found.get("split"))
    if not (sound and all(isinstance(one, str) for one in plan) and isinstance(found.get("contenders"), dict)):
        raise ConfigError("does not hold the results of a race", file=path / FILE)
    return found


def curves(races: Sequence[Mapping[str, Any]], key: str) -> dict[str, list[tuple[float, float, float]]]:
    """The points of each contender, one for each race, by rising cost: cost, mean and deviation of bits per byte."""
    found: dict[str, list[tuple[float, float, float]]] = {}
    for race in races:
        for name in race["contenders"]:
            own = [result for key, result in race["results"].items() if key.rpartition("-seed")[0] == name]
            if own:
                found.setdefault(name, []).append(point(own, key))
    return {name: sorted(points) for name, points in found.items()}


def point(results: Sequence[Record], key: str) -> tuple[float, float, float]:
    """Means of cost and bits per byte over seeds, and the standard deviation of these."""
    costs = [result[key] + (result["validation_seconds"] if key == "seconds" else 0.0) for result in results]
    bits = [float(result["bits_per_byte"]) for result in results]
    return statistics.fmean(costs), statistics.fmean(bits), statistics.stdev(bits) if len(bits) > 1 else 0.0


def ticks(low: float, high: float) -> list[float]:
    """Round times within a span."""
    rounded = [second * unit for unit in (1.0, 60.0, 3600.0) for second in (1, 2, 5, 10, 20, 30)]
    return [time for time in rounded if low <= time <= high * 1.05] or [low]
