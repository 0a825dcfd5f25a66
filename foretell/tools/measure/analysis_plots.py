"""The picture of an error analysis: confusion matrix and reliability diagram, or the errors of scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from foretell.errors import ConfigError
from foretell.tools.drawing import dress, library

SIZE = 5.0
"""inches of a panel"""
NAMED = 40
"""labels up to which a confusion matrix names them"""
BROADEST = 40
"""letters of labels that fit below a confusion matrix side by side"""
FEW = 10
"""predictions in a bin below which its accuracy is drawn lighter"""
NUMBERED = 12
"""labels up to which it shows counts"""


def draw(record: Mapping[str, Any]) -> Any:
    """A figure with a panel for each part of the record; a `ConfigError` if it has none."""
    panels: dict[str, Callable[[Any, Any], None]] = {
        "confusion": draw_confusion,
        "calibration": draw_reliability,
        "errors": draw_errors,
    }
    present = [name for name in panels if record.get(name)]
    if not present:
        raise ConfigError("there is nothing to draw: this task has neither classes nor scores; leave out --plot")
    figure, axes = library().subplots(
        1, len(present), figsize=(1.2 * SIZE * len(present), SIZE), layout="constrained", squeeze=False
    )
    for name, panel in zip(present, axes[0], strict=True):
        panels[name](panel, record[name])
    return figure


def draw_confusion(axes: Any, confusion: Mapping[str, Mapping[str, int]]) -> None:
    """Shares of each gold label by colour, counts as numbers where there is room."""
    labels = sorted({*confusion, *(label for row in confusion.values() for label in row)})
    counts = np.array([[confusion.get(gold, {}).get(label, 0) for label in labels] for gold in labels])
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(labels) <= NAMED:
        axes.set_xticks(range(len(labels)), labels, rotation=90 if len("".join(labels)) > BROADEST else 0)
        axes.set_yticks(range(len(labels)), labels)
    if len(labels) <= NUMBERED:
        for gold, predicted in np.argwhere(counts):
            color = "white" if shares[gold, predicted] > 0.6 else "black"
            number = f"{counts[gold, predicted]:,}"
            axes.text(predicted, gold, number, ha="center", va="center", color=color, fontsize=8)
    dress(axes, "confusion: share of each gold label", "predicted")
    axes.set_ylabel("gold", fontsize=9)
    axes.grid(visible=False)


def draw_reliability(axes: Any, calibration: Mapping[str, Any]) -> None:
    """Accuracy by confidence, and the diagonal of a calibrated model."""
    table = calibration["table"]
    axes.plot([0, 1], [0, 1], "--", color="grey", linewidth=1, label="calibrated")
    for few, alpha, label in ((False, 0.6, "accuracy"), (True, 0.25, f"of fewer than {FEW} predictions")):
        bins = [one for one in table if (one["predictions"] < FEW) == few]
        heights, width = [one["accuracy"] for one in bins], 1 / calibration["bins"]
        edges = [one["from"] for one in bins]
        axes.bar(edges, heights, width, align="edge", color="C0", alpha=alpha, edgecolor="white", label=label)
    points = [one["confidence"] for one in table], [one["accuracy"] for one in table]
    axes.plot(*points, "o", color="C3", markersize=4, clip_on=False, label="at mean confidence")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    dress(axes, f"reliability: ECE {calibration['ece']:.4f}, {calibration['bins']} bins", "confidence")
    axes.legend(frameon=False, fontsize=9, loc="upper left")


def draw_errors(axes: Any, errors: Mapping[str, Any]) -> None:
    """A histogram of predicted - gold."""
    axes.stairs(errors["histogram"]["counts"], errors["histogram"]["edges"], fill=True, alpha=0.6)
    axes.axvline(0, color="grey", linewidth=1)
    dress(axes, f"errors: mean absolute {errors['mean_absolute_error']:.4f}", "predicted - gold")
