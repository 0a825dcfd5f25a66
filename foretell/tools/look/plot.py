"""Pictures of runs: loss, learning rate and gradients from metrics.jsonl, several runs in one.

The library that draws is the extra `plot`; nothing is shown on a screen, everything goes to a PNG.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from foretell.errors import ConfigError
from foretell.run import Record, Run
from foretell.tools.drawing import LABELS, Floats, dress, library, limit_height, save, scale, thousands, wide

if TYPE_CHECKING:
    pass

Axis = Literal["steps", "epochs", "tokens", "seconds"]
Measure = Literal["loss", "bits_per_byte", "perplexity", "metric"]
WIDTH, HEIGHT = 11.0, 7.5


@dataclass(frozen=True)
class Curves:
    """A run's records as columns, over all its stages."""

    name: str
    train: dict[str, Floats]
    valid: dict[str, Floats]
    """each with `steps`, `epochs`, `tokens`, `seconds`, `loss`, `bits_per_byte`, `perplexity`, `metric`"""
    metric: str = ""
    """what validation of a task is judged by, which training does not measure"""


def read_curves(run: Run) -> Curves:
    """The curves of a run; tokens, seconds and epochs are counted on from stage to stage."""
    records = list(run.metrics())
    train = [record for record in records if record["kind"] == "train"]
    if not train:
        raise ConfigError(f"{run.path} has no training records yet; train it further")
    columns = {name: total(train, key) for name, key in (("epochs", "epoch"), ("tokens",) * 2, ("seconds",) * 2)}
    columns["steps"] = column(train, "step")
    for name in ("loss", "bits_per_byte", "gradient_norm", "learning_rate"):
        columns[name] = column(train, name)
    columns["perplexity"] = np.exp(np.minimum(columns["loss"], 700))
    columns["metric"] = np.full(len(train), math.nan)
    valid = [record for record in records if record["kind"] == "valid"]
    metric = valid[0].get("metric", "") if valid else ""
    measured = {name: column(valid, name) for name in ("loss", "bits_per_byte", "perplexity")}
    if valid and valid[0]["loss"] is None:  # measured by the terms of its objective
        measured["loss"] = column(valid, "objective_loss")
    measured["metric"] = column(valid, metric)
    measured["steps"] = column(valid, "step")
    for name in ("epochs", "tokens", "seconds"):  # where training was at that step
        measured[name] = np.interp(measured["steps"], columns["steps"], columns[name])
    return Curves(run.path.name or str(run.path), columns, measured, metric)


def column(records: Sequence[Record], name: str) -> Floats:
    """One figure of each record; not a number where it is missing."""
    return np.array([math.nan if record.get(name) is None else record[name] for record in records], dtype=np.float64)


def total(records: Sequence[Record], name: str) -> Floats:
    """A figure that starts anew in each stage, counted on."""
    sums, before, passed = [], 0.0, 0.0
    for i, record in enumerate(records):
        if i and record["stage"] != records[i - 1]["stage"]:
            passed += before
        before = float(record[name])
        sums.append(passed + before)
    return np.array(sums, dtype=np.float64)


def plot_runs(paths: Sequence[Path], out: Path | None, axis: Axis, measure: Measure) -> dict[str, Any]:
    """Draw runs into one PNG (default: `plot.png` in the first run's folder)."""
    pyplot = library()
    curves = [read_curves(Run.open(path)) for path in paths]
    heading = drawn(paths, curves, measure)
    figure, ((top, rate), (norm, histogram)) = pyplot.subplots(2, 2, figsize=(WIDTH, HEIGHT), layout="constrained")
    names = distinct([Path(path) for path in paths])
    for i, (curve, name) in enumerate(zip(curves, names, strict=True)):
        draw_losses(top, curve, name, f"C{i}", axis, measure, alone=len(curves) == 1)
        rate.plot(curve.train[axis], curve.train["learning_rate"], color=f"C{i}")
        draw_norms(norm, curve, f"C{i}", axis)
    draw_histogram(histogram, [curve.train["gradient_norm"] for curve in curves])
    if measure != "metric":
        limit_height(top, [column for curve in curves for column in (curve.train[measure], curve.valid[measure])])
    scale(rate, [curve.train["learning_rate"] for curve in curves])
    scale(norm, [curve.train["gradient_norm"] for curve in curves])
    for axes in (top, rate, norm):
        axes.xaxis.set_major_formatter(thousands())
    for axes, title, below in (
        (top, heading, LABELS[axis]),
        (rate, "learning rate", LABELS[axis]),
        (norm, "gradient norm, before clipping", LABELS[axis]),
        (histogram, "share of records by gradient norm", "gradient norm"),
    ):
        dress(axes, title, below)
    top.legend(frameon=False, fontsize=9)
    out = out or Path(paths[0]) / "plot.png"
    save(figure, out)
    return {"png": str(out), "runs": [str(path) for path in paths], "x": axis, "y": measure}


def drawn(paths: Sequence[Path], curves: Sequence[Curves], measure: Measure) -> str:
    """What is drawn of runs, in words; a `ConfigError` where one does not have it."""
    for path, curve in zip(paths, curves, strict=True):
        if measure == "metric" and not curve.metric:
            raise ConfigError(f"{path} has no metric: none was validated, or it learns no task; draw its loss")
        if measure in ("bits_per_byte", "perplexity") and np.isnan(curve.train["bits_per_byte"]).all():
            raise ConfigError(f"{path} gives text no probability, so there is no {LABELS[measure]}; draw its loss")
    if measure != "metric":
        return LABELS[measure]
    metrics = list(dict.fromkeys(curve.metric for curve in curves))
    if len(metrics) > 1:
        raise ConfigError(f"the metrics of these runs are {', '.join(metrics)}; draw those that have the same together")
    return metrics[0].replace("_", " ")


def draw_losses(axes: Any, curve: Curves, name: str, color: str, axis: Axis, measure: Measure, *, alone: bool) -> None:
    """Training as a thin line, validation with a mark at each measurement."""
    train, valid = curve.train, curve.valid
    label = "training" if alone else None
    if measure != "metric":
        axes.plot(train[axis], train[measure], color=color, linewidth=0.8, alpha=0.45, label=label)
    if len(valid["steps"]):
        label = "validation" if alone else name
        marks = "o" if len(valid["steps"]) <= 60 else ""
        axes.plot(valid[axis], valid[measure], marks + "-", color=color, linewidth=1.8, markersize=3.5, label=label)
        best = int(np.nanargmax(valid[measure]) if measure == "metric" else np.nanargmin(valid[measure]))
        at, height = valid[axis][best], valid[measure][best]
        axes.annotate(
            f"{height:.4g}", (at, height), xytext=(0, -13), textcoords="offset points",
            ha="right" if best else "left", color=color, fontsize=9,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1},
        )  # fmt: skip
    elif not alone:
        axes.plot([], [], color=color, label=name)


def draw_norms(axes: Any, curve: Curves, color: str, axis: Axis) -> None:
    """Each record's norm as a thin line, and a running median to see through it."""
    x, norms = curve.train[axis], curve.train["gradient_norm"]
    axes.plot(x, norms, color=color, linewidth=0.6, alpha=0.4)
    half = max(len(norms) // 40, 1)
    if len(norms) > 4 * half:
        around = [norms[max(i - half, 0) : i + half + 1] for i in range(len(norms))]
        axes.plot(x, [float(np.median(part)) for part in around], color=color, linewidth=1.8)


def draw_histogram(axes: Any, columns: Sequence[Floats]) -> None:
    """How often gradients had which norm; bins of equal ratio where norms differ much."""
    positive = [norms[np.isfinite(norms) & (norms > 0)] for norms in columns]
    every = np.concatenate(positive)
    if not len(every):
        return
    low, high = float(every.min()), float(every.max())
    if wide([every]):
        bins = np.geomspace(low, high, 41)
        axes.set_xscale("log")
    else:
        bins = np.linspace(low, max(high, low * 1.01), 41)
    for i, norms in enumerate(positive):
        shares = np.full(len(norms), 1 / max(len(norms), 1))
        axes.hist(norms, bins, weights=shares, color=f"C{i}", alpha=0.35)
        axes.hist(norms, bins, weights=shares, color=f"C{i}", histtype="step", linewidth=1.2)


# --- drawing --------------------------------------------------------------------------------------


def distinct(paths: Sequence[Path]) -> list[str]:
    """Each run by its folder's name, or by its whole path where two have the same."""
    names = [path.resolve().name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]
