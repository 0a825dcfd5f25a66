"""Findings of an examination, and how they are shown."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from foretell import units
from foretell.errors import printable
from foretell.evaluate.measures import measure_of
from foretell.tools.tables import Column, ResponsiveTable, facts, spaced
from foretell.trees import Tree

ENOUGH = 100
"""held-out examples below which accuracy on them says little"""


def check(good: bool, about: str, text: str, do: str, level: str = "warning") -> Tree:
    """A finding: ok if `good`, else of this level with what to do."""
    return (
        {"level": "ok", "about": about, "text": text, "do": ""}
        if good
        else {"level": level, "about": about, "text": text, "do": do}
    )


def margin(examples: int) -> float:
    """Half the width of the 95 % interval of an accuracy of one half on this number of examples (Wald)."""
    return min(1.0, 1.96 * 0.5 / math.sqrt(examples))


def points(examples: int) -> str:
    """That margin in words."""
    return units.counted(max(1, round(100 * margin(examples))), "point")


SHARES = ("repeated", "also_in_train", "unknown", "too_long")
SIGNS = {"ok": ("ok", "green"), "warning": ("!!", "yellow"), "error": ("XX", "bold red")}
MOST_COLUMNS = 4
"""figures of records above which each is a row, and the records are columns"""
WORD = 16
"""characters above which a value in a table wraps"""


def render(result: Mapping[str, Any]) -> RenderableType:
    """An examination for a terminal: facts, then tables, then findings."""
    known = {key: shortened(key, value) for key, value in result.items() if key not in ("what", "findings")}
    nested = {key: value for key, value in known.items() if value and (isinstance(value, Mapping) or records_in(value))}
    single = {key: value for key, value in known.items() if key not in nested}
    tables = [facts(flat("", single).items())] if single else []
    for key, value in nested.items():
        records = records_in(value)
        tables.append(record_table(key, records) if records else facts(flat(key, value).items(), units.label(key)))
    levels = Counter(finding["level"] for finding in result["findings"])
    total = ", ".join([*(units.counted(levels[name], name) for name in ("error", "warning")), f"{levels['ok']} ok"])
    return spaced(*tables, findings_table(result["findings"]), Text(total, "bold"))


def findings_table(findings: Iterable[Mapping[str, str]]) -> ResponsiveTable:
    """Findings with what to do."""
    table = ResponsiveTable(Column.words(), Column.names(), Column.texts())
    for finding in findings:
        sign, style = SIGNS[finding["level"]]
        text = Text(printable(finding["text"], keep="\n"))
        if finding["do"]:
            text.append(printable(f"\n-> {finding['do']}", keep="\n"), style)
        table.add(Text(sign, style), finding["about"], text)
    return table


def shortened(key: str, value: Any) -> Any:
    """The figures of a record that are shown."""
    if key not in ("last_record", "best_validation") or value is None:
        return value
    shown = [name for name in value if name in ("kind", "step") or measure_of(name).brief]
    return {name: value[name] for name in shown if value[name] is not None}


def records_in(value: Any) -> list[tuple[str, Mapping[str, Any]]]:
    """The names and figures of records by name, or in a list, where their first value is the name; else empty."""
    if isinstance(value, Mapping) and all(isinstance(item, Mapping) for item in value.values()):
        return list(value.items())
    if isinstance(value, list) and all(isinstance(item, Mapping) for item in value):
        return [(str(next(iter(item.values()))), dict(list(item.items())[1:])) for item in value]
    return []


def record_table(key: str, records: Sequence[tuple[str, Mapping[str, Any]]]) -> ResponsiveTable:
    """A row per record, or a row per figure where there are many."""
    rows = {name: flat(key, record) for name, record in records}
    figures = list(dict.fromkeys(figure for row in rows.values() for figure in row))
    if len(figures) > MOST_COLUMNS:
        rows, figures = (
            {figure: {name: row.get(figure, "") for name, row in rows.items()} for figure in figures},
            [*rows],
        )
    table = ResponsiveTable(Column.names(), title=units.label(key))
    for number, figure in enumerate(figures):
        wraps = any(len(row.get(figure, "")) > WORD for row in rows.values())
        priority = max(1, number)
        table.columns += (Column.texts(figure, priority, least=WORD) if wraps else Column(figure, priority),)
    for name, row in rows.items():
        table.add(name, *(row.get(figure, "") for figure in figures))
    return table


def flat(key: str, record: Mapping[str, Any]) -> dict[str, str]:
    """The figures of a record in words, by their names; those of records in it have both names."""
    figures: dict[str, str] = {}
    for name, value in record.items():
        within = key if key in SHARES or key.endswith("bytes") else name
        label = name if "/" in name else units.label(name)
        if isinstance(value, Mapping) and value:
            figures |= {f"{label} {inner}": shown for inner, shown in flat(within, value).items()}
        else:
            figures[label] = described(within, value)
    return figures


def described(key: str, value: Any) -> str:
    """A value in words, with the unit of its key; shares in per cent."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, float | int) and (sized := units.of_key(key, value)):
        return sized
    if isinstance(value, float):
        return f"{value:.2%}" if key in SHARES else f"{value:,.4g}" if abs(value) < 100 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list | tuple | Mapping):
        return "\n".join(described(key, item) for item in value) or "none"
    return str(value) or "none"
