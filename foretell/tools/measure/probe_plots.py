"""Plots of one unit: its values by class, and its value along a text, as PNG files and an HTML page."""

from __future__ import annotations

import html
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foretell.artifacts import write_atomic
from foretell.run import Record
from foretell.tools.drawing import dress, library, save

COLUMNS = 90
"""characters per line of a heat map"""
COLORS = "RdBu"
"""red below the middle, blue above: distinguishable for colour-blind readers"""
BINS = 40


@dataclass(frozen=True)
class Heat:
    """Values of a unit along a text."""

    name: str
    """class of the text"""
    pieces: list[str]
    """the text token by token"""
    values: list[float]
    """value of the unit after each token"""


def draw(
    values: Mapping[str, Any], heats: Sequence[Heat], unit: int, middle: float, record: Record, out: Path
) -> list[str]:
    """Write histogram.png, heatmap.png and probe.html into a folder; return their paths."""
    library()
    figure = histogram(values, unit)
    drawing = io.BytesIO()
    figure.savefig(drawing, format="svg")
    save(figure, out / "histogram.png")
    files = [out / "histogram.png"]
    furthest = max((abs(value - middle) for heat in heats for value in heat.values), default=1.0) or 1.0
    if heats:
        save(heat_map(heats, unit, middle, furthest), out / "heatmap.png")
        files.append(out / "heatmap.png")
    svg = drawing.getvalue().decode()
    page = "".join(page_of(svg[svg.index("<svg") :], heats, unit, middle, furthest, record))
    write_atomic(out / "probe.html", page.encode())
    return [str(path) for path in [*files, out / "probe.html"]]


def histogram(values: Mapping[str, Any], unit: int) -> Any:
    """Plot the share of each class's texts by the value of the unit."""
    figure, axes = library().subplots(figsize=(8, 4.5), layout="constrained")
    joined = np.concatenate([np.asarray(part, dtype=np.float64) for part in values.values()])
    low, high = float(joined.min()), float(joined.max())
    bins = np.linspace(low, high if high > low else low + 1, BINS + 1)
    for i, (name, part) in enumerate(values.items()):
        shares = np.full(len(part), 1 / max(len(part), 1))
        axes.hist(part, bins, weights=shares, color=f"C{i}", alpha=0.35, label=f"{name} ({len(part):,})")
        axes.hist(part, bins, weights=shares, color=f"C{i}", histtype="step", linewidth=1.2)
    dress(axes, f"unit {unit} by class, share of test texts", "value")
    axes.legend(frameon=False, fontsize=9)
    return figure


def heat_map(heats: Sequence[Heat], unit: int, middle: float, furthest: float) -> Any:
    """Draw texts character by character on the colour of their token's value."""
    grids = [grid_of(heat) for heat in heats]
    lines = [len(letters) for letters, _ in grids]
    figure, parts = library().subplots(
        len(heats), 1, figsize=(11, max(0.9, sum(0.24 * count + 0.35 for count in lines))), layout="constrained",
        squeeze=False, height_ratios=[count + 1 for count in lines],
    )  # fmt: skip
    for axes, heat, (letters, values) in zip(parts[:, 0], heats, grids, strict=True):
        shown = axes.imshow(values, cmap=COLORS, vmin=middle - furthest, vmax=middle + furthest, aspect="auto")
        for row, line in enumerate(letters):
            for column, letter in enumerate(line):
                strong = abs(values[row, column] - middle) > 0.65 * furthest
                axes.text(
                    column, row, letter, ha="center", va="center", fontsize=9, family="monospace",
                    color="white" if strong else "black", parse_math=False,
                )  # fmt: skip
        axes.set_axis_off()
        axes.set_title(heat.name, loc="left", fontsize=10)
    figure.colorbar(shown, ax=parts[:, 0].tolist(), shrink=0.6, label=f"unit {unit}")
    return figure


def grid_of(heat: Heat) -> tuple[list[str], Any]:
    """The lines of a text, and its values [lines, COLUMNS], NaN after the end."""
    letters = "".join(piece.replace("\n", "↵").replace("\t", " ") for piece in heat.pieces)
    values = np.repeat(heat.values, [len(piece) for piece in heat.pieces])
    lines = [letters[begin : begin + COLUMNS] for begin in range(0, len(letters), COLUMNS)] or [""]
    grid = np.full(len(lines) * COLUMNS, np.nan)
    grid[: len(values)] = values
    return lines, grid.reshape(len(lines), COLUMNS)


# --- the page -------------------------------------------------------------------------------------

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #222 }
svg { max-width: 100%; height: auto }
table { border-collapse: collapse } td, th { padding: 0.2em 1em 0.2em 0; text-align: right }
td:first-child { text-align: left }
.text { font: 15px/1.9 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere }
"""


def page_of(
    svg: str, heats: Sequence[Heat], unit: int, middle: float, furthest: float, record: Record
) -> Iterator[str]:
    """The page, self-contained."""
    title = html.escape(f"Unit {unit} of {record['run']} on {record['on']}")
    yield f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
    yield f"<style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n"
    yield "<table><tr><th></th><th>test</th><th>validation</th></tr>\n"
    rows = [("all units", record), *((f"heaviest {len(top['units'])}", top) for top in record["top"])]
    bag = record["bag_of_words"]
    for name, scores in [*rows, (f"bag of {bag['made_of']}", bag)]:
        yield f"<tr><td>{name}</td><td>{scores['accuracy']:.2%}</td><td>{scores['valid_accuracy']:.2%}</td></tr>\n"
    yield f"</table>\n{svg}\n"
    for heat in heats:
        yield f"<h2>{html.escape(heat.name) or 'text'}</h2>\n<p class='text'>"
        yield "".join(spans(heat, middle, furthest))
        yield "</p>\n"
    if heats:
        yield f"<p>Red: below {middle:.3g}, the mean over the training texts; blue: above. The most extreme value is "
        yield f"{furthest:.3g} away. The value of a token is the one after it.</p>\n"
    yield "</body></html>\n"


def spans(heat: Heat, middle: float, furthest: float) -> Iterator[str]:
    """The text as HTML, each token on its colour and with its value as a tooltip."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    colors = colormaps[COLORS]
    for piece, value in zip(heat.pieces, heat.values, strict=True):
        relative = (value - middle) / furthest  # -1 to 1
        ink = "#fff" if abs(relative) > 0.65 else "#000"
        color = to_hex(colors((relative + 1) / 2))
        yield f'<span style="background:{color};color:{ink}" title="{value:.4g}">{html.escape(piece)}</span>'
