"""Printing of results: one JSON object, tab-separated rows, or tables for terminals."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.text import Text

from foretell import units
from foretell.artifacts import without_nan
from foretell.errors import CONTROL, printable
from foretell.evaluate import measures
from foretell.tools.tables import Cell, Column, ResponsiveTable, facts

INDENT = 3
"""columns before a command, and before what stands below a title"""


def emit(result: Mapping[str, Any], as_json_object: bool, render: Callable[[Mapping[str, Any]], Any]) -> None:
    """Print a result on stdout: as one JSON object, or as `render` presents it."""
    if as_json_object:
        sys.stdout.write(as_json({key: value for key, value in result.items() if key != "table"}) + "\n")
    else:
        Console(highlight=False, markup=False, emoji=False).print(Printable(render(result)), crop=False)


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


class Command:
    """A command line that can be pasted: broken between its words by a backslash."""

    def __init__(self, line: str):
        words = [shlex.quote(word) for word in shlex.split(line)]
        self.words: list[str] = []  # an option and its value stay together
        for word in words:
            if self.words and self.words[-1].startswith("--") and " " not in self.words[-1]:
                self.words[-1] += f" {word}"
            else:
                self.words.append(word)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        line = " " * INDENT + self.words[0]
        for word in self.words[1:]:
            if len(line) + len(word) + 3 > options.max_width:
                yield Text(f"{line} \\", "cyan", no_wrap=True, overflow="ignore")
                line = " " * (INDENT + 3)
            line += f" {word}"
        yield Text(line, "cyan", no_wrap=True, overflow="ignore")


BEHIND = (Column("from best, 95 %"), Column("p better", 4), Column("p value", 3))
"""columns of `behind_the_best`"""


def behind_the_best(to_best: Mapping[str, Any] | None) -> tuple[Cell, str, str]:
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


def measured(result: Mapping[str, Any], title: str) -> ResponsiveTable:
    """A measurement as a table."""
    remarks: dict[str, Callable[[Any], Cell]] = {
        "fitted_here": lambda value: Text(
            f"{', '.join(value)}: fitted on this text, so figures are optimistic", "bold red"
        ),
        "unnormalised": lambda value: Text(f"{value}: do not compare its figures with those of others", "bold red"),
        "lossy": lambda value: f"yes: {lost(result.get('lost', {}))}" if value else "no",
        "corpus": lambda value: Text(value, "bold red"),
        "context": str,
        "share": lambda value: share_of(value, result["columns"]),
        "adaptation": lambda value: "\n".join(f"{name}: {settings_origin(part)}" for name, part in value.items()),
        "adaptive": adaptive,
        "audit": audited,
        "mixture": lambda value: "\n".join(f"{member['weight']:.4f}  {member['run']}" for member in value),
        "weights_fitted_to": str,
        "fitted_loss": measures.measure_of("fitted_loss").text,
        "weights": str,
    }

    def remark(*keys: str) -> list[tuple[str, Cell]]:
        present = [key for key in keys if result.get(key) not in (None, [])]
        return [(key.replace("_", " "), remarks[key](result[key])) for key in present]

    rows = (
        *measures.task_rows(result),
        *baseline_rows(result),
        *remark("fitted_here", "unnormalised"),
        *measures.rows(result, "quality", "text"),
        *remark("lossy", "corpus", "context", "share", "adaptation", "adaptive", "audit"),
        *remark("mixture", "weights_fitted_to", "fitted_loss", "weights"),
        *measures.rows(result, "cost"),
    )
    return facts(rows, title)


def baseline_rows(result: Mapping[str, Any]) -> Iterator[tuple[str, Cell]]:
    """The accuracy of simple classifiers, with a warning if one of them is as good as the task's."""
    if not (known := result.get("baseline")):
        return
    simple = {units.label(key): figure for key, figure in known.items() if key != "measured_on"}
    for name, accuracy in simple.items():
        yield name, f"accuracy {accuracy:.4f}"
    best = max(simple, key=lambda name: simple[name])
    if result["accuracy"] <= simple[best]:
        advice = f"no better than the {best}: train longer, or from a better start, which foretell plan proposes"
        yield "warning", Text(advice, "bold red")


def adaptive(part: Mapping[str, Any]) -> str:
    """The second pass of a measurement, in which the model learned from what it had read."""
    lines = [
        f"{part['bits_per_byte']:.4f} bits/byte, perplexity {part['perplexity']:,.2f}",
        part["context"].removeprefix("carried state, "),
    ]
    if regret := part.get("regret"):
        lines.append(f"regret {regret['nats']:,.1f} nats to the best fixed weights, at most {regret['bound']:,.1f}")
    if "audit" in part:
        lines.append(f"audit {audited(part['audit'])}")
    return "\n".join(lines)


def audited(part: Mapping[str, Any]) -> Text:
    """The outcome of an audit."""
    outcome = "passed" if part["passed"] else "FAILED: do not trust these figures"
    return Text(
        f"{outcome}; at {part['positions']} places sums differ from 1 by up to {part['max_sum_error']:.1g}, "
        f"recomputed probabilities by {part['max_recompute_error']:.1g} nats",
        "" if part["passed"] else "bold red",
    )


def share_of(share: float, columns: int) -> str:
    """How a validation was made smaller, in words."""
    part = "all of the split" if share == 1 else f"{share:.1%} of the split; foretell evaluate measures all of it"
    return f"{part}, in {columns} columns" if columns > 1 else part


def lost(counts: Mapping[str, int]) -> str:
    """Losses of tokenization, in words."""
    words = {
        "unknown": ("unknown token", ""),
        "altered_lines": ("line", " with different spaces, newlines or letters"),
        "replaced": ("invalid UTF-8 sequence", ""),
    }
    losses = [units.counted(counts[key], noun) + more for key, (noun, more) in words.items() if counts.get(key)]
    return ", ".join(losses) or "tokens do not restore the text"


def settings_origin(adaptation: Mapping[str, Any]) -> str:
    """Origin of the settings of an adaptation."""
    if not adaptation["tuned"]:
        return "as given"
    names = ", ".join(adaptation["tuned"]).replace("_", " ")
    return f"{names} tuned on {adaptation['tuning_tokens']:,} tokens of {adaptation['tuned_on']}"


def properties(result: Mapping[str, Any]) -> ResponsiveTable:
    """A flat result as names and values."""

    return facts((units.label(key), shown(key, value)) for key, value in result.items())


def shown(key: str, value: Any) -> str:
    """A value in words; costs have a unit."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return formatted(value)
    measure = measures.MEASURES.get(key)
    return measure.text(value) if measure and measure.role == "cost" else units.of_key(key, value) or formatted(value)


def formatted(value: Any) -> str:
    """A value in words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)
