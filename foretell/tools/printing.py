"""Printing of results: one JSON object, tab-separated rows, or tables for terminals."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from foretell.artifacts import without_nan
from foretell.errors import CONTROL, printable
from foretell.evaluate import measures

ENDLESS = 10_000
"""columns of a terminal in which nothing wraps"""


def emit(result: Mapping[str, Any], as_json_object: bool, render: Callable[[Mapping[str, Any]], Any]) -> None:
    """Print a result on stdout: as one JSON object, or as `render` presents it."""
    if as_json_object:
        sys.stdout.write(as_json({key: value for key, value in result.items() if key != "table"}) + "\n")
    else:
        Console(highlight=False, markup=False, emoji=False).print(Printable(render(result)))


def as_json(result: Mapping[str, Any]) -> str:
    """One line of JSON that every parser accepts: no NaN, no lone surrogates, no control characters."""
    text = json.dumps(without_nan(result), ensure_ascii=False, default=str, allow_nan=False)
    return CONTROL.sub(lambda match: "\ufffd" if "\ud800" <= match[0] <= "\udfff" else f"\\u{ord(match[0]):04x}", text)


class Printable:
    """A renderable whose control characters, from names and texts in it, are spelled out."""

    def __init__(self, inner: RenderableType):
        self.inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for part in console.render(self.inner, options):
            yield part if part.control else Segment(printable(part.text, keep="\n"), part.style)


def print_rows(rows: Iterable[str]) -> None:
    """Print rows; a terminal gets no control characters."""
    terminal = sys.stdout.isatty()
    for row in rows:
        sys.stdout.write((printable(row, keep="\n\t") if terminal else row) + "\n")
    sys.stdout.flush()


def print_piece(text: str) -> None:
    """Print a part of a line at once."""
    sys.stdout.write(printable(text, keep="\n\t") if sys.stdout.isatty() else text)
    sys.stdout.flush()


def plain(*headings: str, title: str | None = None) -> Table:
    """A table without lines; with headings, the first column holds names and the others numbers."""
    table = Table(title=title, title_justify="left", box=None, show_header=bool(headings), header_style="dim")
    table.padding = (0, 2, 0, 0)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left", no_wrap=True)
    return table


class Fitting:
    """A table that loses nothing in a narrow terminal: where it does not fit, a paragraph per row.

    The first cell of a row is its name, the others follow their headings.
    """

    def __init__(self, table: Table):
        self.table = table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if Measurement.get(console, options.update(width=ENDLESS), self.table).maximum <= options.max_width:
            yield self.table
            return
        if self.table.title:
            yield Text(str(self.table.title), "italic")
        headings = [str(column.header) for column in self.table.columns]
        for row in zip(*(column.cells for column in self.table.columns), strict=True):
            name, *cells = (cell.plain if isinstance(cell, Text) else str(cell) for cell in row)
            facts = [f"{heading} {cell}" for heading, cell in zip(headings[1:], cells, strict=True) if cell]
            yield Text(name, "bold")
            yield Padding(Text(", ".join(facts)), (0, 0, 0, 2))


def with_notes(table: Table, notes: Sequence[str]) -> Group:
    """A table, and notes below it that may be wider than the table."""
    return Group(Fitting(table), *(Text(note, "dim") for note in notes))


def short(number: float) -> str:
    """12,345,678 as 12.3M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.0f}"


def readable(count: int) -> str:
    """A number of bytes as 1.2 GiB."""
    power = min((max(count, 1).bit_length() - 1) // 10, 4)
    return f"{count / 1024**power:.{min(power, 1)}f} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"


def behind_the_best(to_best: Mapping[str, Any] | None) -> tuple[RenderableType, str, str]:
    """Three cells: the difference from the best with its interval, bold if significant, `p_better` and `p_value`."""
    if to_best is None:
        return "best", "", ""
    if to_best["difference"] is None:
        return "not comparable", "", ""
    if to_best["interval"] is None:
        return f"{to_best['difference']:+.4f} (too little text)", "", ""
    text = f"{to_best['difference']:+.4f} ({to_best['low']:+.4f} to {to_best['high']:+.4f})"
    return Text(text, "bold" if to_best["real"] else ""), f"{to_best['p_better']:.3f}", f"{to_best['p_value']:.3f}"


def without_common_folder(names: Sequence[str]) -> tuple[list[str], str]:
    """Names of runs and mixtures (`A+B`) without the folder that all are in, and that folder; "" if there is none."""
    members = [PurePath(member) for name in names for member in name.split("+")]
    shared = [set(level) for level in zip(*(member.parts[:-1] for member in members), strict=False)]
    depth = next((n for n, level in enumerate(shared) if len(level) > 1), len(shared))
    if len(members) < 2 or not depth:
        return list(names), ""
    short = ["+".join(PurePath(*PurePath(m).parts[depth:]).as_posix() for m in name.split("+")) for name in names]
    return short, PurePath(*members[0].parts[:depth]).as_posix()


def columns_explained(resamples: int, parts: str) -> str:
    """Explanation of the cells of `behind_the_best`."""
    return (
        f"Paired bootstrap over {parts}: the interval (BCa), p better (the share of {resamples:,} resamples in which "
        "the best stays better) and p value (two-sided). Bold: the interval excludes 0."
    )


def measured(result: Mapping[str, Any], title: str) -> Table:
    """A measurement as a table."""
    remarks: dict[str, Callable[[Any], RenderableType]] = {
        "fitted_here": lambda value: Text(
            f"{', '.join(value)}: fitted on this text, so figures are optimistic", "bold red"
        ),
        "unnormalised": lambda value: Text(f"{value}: do not compare its figures with those of others", "bold red"),
        "lossy": lambda value: f"yes: {lost(result.get('lost', {}))}" if value else "no",
        "corpus": lambda value: Text(value, "bold red"),
        "context": str,
        "share": lambda value: share_of(value, result["columns"]),
        "adaptation": lambda value: "\n".join(f"{name}: {settings_origin(part)}" for name, part in value.items()),
        "mixture": lambda value: "\n".join(f"{member['weight']:.4f}  {member['run']}" for member in value),
        "weights_fitted_to": str,
        "fitted_loss": measures.measure_of("fitted_loss").text,
        "weights": str,
    }

    def remark(*keys: str) -> list[tuple[str, RenderableType]]:
        present = [key for key in keys if result.get(key) not in (None, [])]
        return [(key.replace("_", " "), remarks[key](result[key])) for key in present]

    table = Table(title=title, show_header=False, title_justify="left", min_width=min(len(title), 80))
    for label, shown in (
        *measures.task_rows(result),
        *remark("fitted_here", "unnormalised"),
        *measures.rows(result, "quality", "text"),
        *remark("lossy", "corpus", "context", "share", "adaptation"),
        *remark("mixture", "weights_fitted_to", "fitted_loss", "weights"),
        *measures.rows(result, "cost"),
    ):
        table.add_row(label, shown)
    return table


def share_of(share: float, columns: int) -> str:
    """How a validation was made smaller, in words."""
    part = "all of the split" if share == 1 else f"{share:.1%} of the split; foretell evaluate measures all of it"
    return f"{part}, in {columns} columns" if columns > 1 else part


def lost(counts: Mapping[str, int]) -> str:
    """Losses of tokenization, in words."""
    words = {
        "unknown": ("unknown token", "unknown tokens"),
        "altered_lines": (
            "line with different spaces, newlines or letters",
            "lines with different spaces, newlines or letters",
        ),
        "replaced": ("invalid UTF-8 sequence", "invalid UTF-8 sequences"),
    }
    losses = [f"{counts[name]:,} {forms[counts[name] > 1]}" for name, forms in words.items() if counts.get(name)]
    return ", ".join(losses) or "tokens do not restore the text"


def settings_origin(adaptation: Mapping[str, Any]) -> str:
    """Origin of the settings of an adaptation."""
    if not adaptation["tuned"]:
        return "as given"
    names = ", ".join(adaptation["tuned"]).replace("_", " ")
    return f"{names} tuned on {adaptation['tuning_tokens']:,} tokens of {adaptation['tuned_on']}"


def properties(result: Mapping[str, Any]) -> Table:
    """A flat result as names and values."""
    table = Table(show_header=False)
    for key, value in result.items():
        measure = measures.MEASURES.get(key)
        is_cost = measure is not None and measure.role == "cost" and isinstance(value, int | float)
        table.add_row(key.replace("_", " "), measure.text(value) if measure and is_cost else formatted(value))
    return table


def formatted(value: Any) -> str:
    """A value in words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)
