"""Shared parts of plots: matplotlib, axes, scales, saving."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretell.artifacts import write_atomic
from foretell.errors import ConfigError

Floats = NDArray[np.float64]
AXES = {
    "steps": "optimiser steps",
    "epochs": "passes over the text",
    "tokens": "training tokens",
    "seconds": "seconds of training",
}
DOTS = 130


def library() -> Any:
    """matplotlib's pyplot, which draws into files only."""
    try:
        import matplotlib
    except ImportError:
        raise ConfigError("drawing needs matplotlib, which is not installed; pip install 'foretell[plot]'") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def thousands() -> Any:
    """A tick formatter that writes large numbers as 20k and 3M."""
    from matplotlib.ticker import EngFormatter

    return EngFormatter(sep="")


def dress(axes: Any, title: str, below: str) -> None:
    """Apply the style shared by all panels."""
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel(below, fontsize=9)
    axes.tick_params(labelsize=9)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.01)


def limit_height(axes: Any, columns: Sequence[Floats]) -> None:
    """Cut off the highest 2 % of values, mostly those of the first steps."""
    values = np.concatenate([column[np.isfinite(column)] for column in columns])
    if not len(values):
        return
    low, high = float(values.min()), float(np.quantile(values, 0.98))
    margin = 0.08 * max(high - low, 1e-9)
    axes.set_ylim(low - 1.5 * margin, high + margin)


def wide(columns: Sequence[Floats]) -> bool:
    """Whether values span more than a factor of 30, which takes a logarithmic scale."""
    values = np.concatenate([column[np.isfinite(column) & (column > 0)] for column in columns])
    return len(values) > 0 and float(values.max()) > 30 * float(values.min())


def scale(axes: Any, columns: Sequence[Floats]) -> None:
    """Start the axis at zero, or make it logarithmic for `wide` values."""
    if wide(columns):
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)


def save(figure: Any, out: Path) -> None:
    """Write a PNG atomically."""
    from matplotlib import pyplot

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS)
    pyplot.close(figure)
    write_atomic(out, buffer.getvalue())
