"""Plots of runs: loss, learning rate and gradient norms from metrics.jsonl, several runs in one PNG.

matplotlib comes with the extra `plot`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from foretell.errors import ConfigError
from foretell.evaluate.measures import measure_of
from foretell.run import Record, Run
from foretell.tools.drawing import AXES, Floats, dress, library, limit_height, save, scale, thousands, wide

Axis = Literal["steps", "epochs", "tokens", "seconds"]
Measure = Literal["loss", "bits_per_byte", "perplexity", "metric"]
WIDTH, HEIGHT = 11.0, 7.5


@dataclass(frozen=True)
class Curves:
    """Records of a run as arrays, over all its stages."""

    name: str
    train: dict[str, Floats]
    valid: dict[str, Floats]
    """each with `steps`, `epochs`, `tokens`, `seconds`, `loss`, `bits_per_byte`, `perplexity`, `metric`"""
    metric: str = ""
    """metric of a task, which only validations measure"""
    lossy: bool = False
    """whether tokens lose part of the text, so that bits per byte are too low"""

    @property
    def has_bits(self) -> bool:
        """Whether it has bits per byte."""
        return not bool(np.isnan(self.train["bits_per_byte"]).all())


def read_curves(run: Run) -> Curves:
    """Read the curves of a run; tokens, seconds and epochs accumulate over stages."""
    records = list(run.metrics())
    train = [record for record in records if record["kind"] == "train"]
    if not train:
        raise ConfigError(f"{run.path} has no training records; train it further")
    columns = {name: cumulative(train, key) for name, key in (("epochs", "epoch"), ("tokens",) * 2, ("seconds",) * 2)}
    columns["steps"] = column(train, "step")
    for name in ("loss", "bits_per_byte", "gradient_norm", "learning_rate"):
        columns[name] = column(train, name)
    columns["perplexity"] = np.exp(np.minimum(columns["loss"], 700))
    columns["metric"] = np.full(len(train), math.nan)
    valid = [record for record in records if record["kind"] == "valid"]
    metric = valid[0].get("metric", "") if valid else ""
    measured = {name: column(valid, name) for name in ("loss", "bits_per_byte", "perplexity")}
    if valid and valid[0]["loss"] is None:  # measured by the terms of the objective
        measured["loss"] = column(valid, "objective_loss")
    measured["metric"] = column(valid, metric)
    measured["steps"] = column(valid, "step")
    for name in ("epochs", "tokens", "seconds"):  # of training at that step
        measured[name] = np.interp(measured["steps"], columns["steps"], columns[name])
    lossy = bool(valid and valid[-1].get("lossy"))
    return Curves(run.path.name or str(run.path), columns, measured, metric, lossy)


def column(records: Sequence[Record], name: str) -> Floats:
    """One figure of each record; NaN if it is missing."""
    return np.array([math.nan if record.get(name) is None else record[name] for record in records], dtype=np.float64)


def cumulative(records: Sequence[Record], name: str) -> Floats:
    """A figure that restarts in each stage, accumulated."""
    sums, before, passed = [], 0.0, 0.0
    for i, record in enumerate(records):
        if i and record["stage"] != records[i - 1]["stage"]:
            passed += before
        before = float(record[name])
        sums.append(passed + before)
    return np.array(sums, dtype=np.float64)


def plot_runs(paths: Sequence[Path], out: Path | None, axis: Axis, measure: Measure | None) -> dict[str, Any]:
    """Draw runs into one PNG (default: `plot.png` in the first run's folder; bits per byte if all have it, or loss)."""
    pyplot = library()
    curves = [read_curves(Run.open(path)) for path in paths]
    measure = measure or ("bits_per_byte" if all(curve.has_bits for curve in curves) else "loss")
    heading = checked_heading(paths, curves, measure)
    figure, ((top, rate), (norm, histogram)) = pyplot.subplots(2, 2, figsize=(WIDTH, HEIGHT), layout="constrained")
    names = distinct([Path(path) for path in paths])
    for i, (curve, name) in enumerate(zip(curves, names, strict=True)):
        name = f"{name} (lossy)" if curve.lossy else name
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
        (top, heading, AXES[axis]),
        (rate, "learning rate", AXES[axis]),
        (norm, "gradient norm, before clipping", AXES[axis]),
        (histogram, "share of records by gradient norm", "gradient norm"),
    ):
        dress(axes, title, below)
    top.legend(frameon=False, fontsize=9)
    out = out or Path(paths[0]) / "plot.png"
    save(figure, out)
    return {"png": str(out), "runs": [str(path) for path in paths], "x": axis, "y": measure}


def checked_heading(paths: Sequence[Path], curves: Sequence[Curves], measure: Measure) -> str:
    """Heading of the plot of a measure. Raises `ConfigError` if a run lacks the measure."""
    for path, curve in zip(paths, curves, strict=True):
        if measure == "metric" and not curve.metric:
            raise ConfigError(f"{path} has no metric: it is not a task, or was never validated; plot its loss")
        if measure in ("bits_per_byte", "perplexity") and not curve.has_bits:
            title = measure_of(measure).title
            raise ConfigError(f"{path} assigns no probability to text, so it has no {title}; plot its loss")
    if measure != "metric":
        return measure_of(measure).title
    metrics = list(dict.fromkeys(curve.metric for curve in curves))
    if len(metrics) > 1:
        raise ConfigError(f"the metrics of these runs differ: {', '.join(metrics)}; plot runs with the same metric")
    return measure_of(metrics[0]).label


def draw_losses(axes: Any, curve: Curves, name: str, color: str, axis: Axis, measure: Measure, *, alone: bool) -> None:
    """Draw training as a thin line, validation with a marker per measurement."""
    train, valid = curve.train, curve.valid
    label = "training" if alone else None
    if measure != "metric":
        axes.plot(train[axis], train[measure], color=color, linewidth=0.8, alpha=0.45, label=label)
    if len(valid["steps"]):
        label = f"validation{' (lossy)' * curve.lossy}" if alone else name
        marks = "o" if len(valid["steps"]) <= 60 else ""
        axes.plot(valid[axis], valid[measure], marks + "-", color=color, linewidth=1.8, markersize=3.5, label=label)
        higher = measure_of(curve.metric if measure == "metric" else measure).better == "higher"
        best = int(np.nanargmax(valid[measure]) if higher else np.nanargmin(valid[measure]))
        at, height = valid[axis][best], valid[measure][best]
        axes.annotate(
            f"{height:.4g}", (at, height), xytext=(0, -13), textcoords="offset points",
            ha="right" if best else "left", color=color, fontsize=9,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1},
        )  # fmt: skip
    elif not alone:
        axes.plot([], [], color=color, label=name)


def draw_norms(axes: Any, curve: Curves, color: str, axis: Axis) -> None:
    """Draw norms as a thin line, and their running median."""
    x, norms = curve.train[axis], curve.train["gradient_norm"]
    axes.plot(x, norms, color=color, linewidth=0.6, alpha=0.4)
    half = max(len(norms) // 40, 1)
    if len(norms) > 4 * half:
        around = [norms[max(i - half, 0) : i + half + 1] for i in range(len(norms))]
        axes.plot(x, [float(np.median(part)) for part in around], color=color, linewidth=1.8)


def draw_histogram(axes: Any, columns: Sequence[Floats]) -> None:
    """Draw the distribution of gradient norms, with logarithmic bins for `wide` values."""
    positive = [norms[np.isfinite(norms) & (norms > 0)] for norms in columns]
    joined = np.concatenate(positive)
    if not len(joined):
        return
    low, high = float(joined.min()), float(joined.max())
    if wide([joined]):
        bins = np.geomspace(low, high, 41)
        axes.set_xscale("log")
    else:
        bins = np.linspace(low, max(high, low * 1.01), 41)
    for i, norms in enumerate(positive):
        shares = np.full(len(norms), 1 / max(len(norms), 1))
        axes.hist(norms, bins, weights=shares, color=f"C{i}", alpha=0.35)
        axes.hist(norms, bins, weights=shares, color=f"C{i}", histtype="step", linewidth=1.2)


def distinct(paths: Sequence[Path]) -> list[str]:
    """Folder names of runs, or paths if two names are equal."""
    names = [path.resolve().name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]
