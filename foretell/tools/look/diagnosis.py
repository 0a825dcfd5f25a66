"""Findings of an examination, and how they are shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from foretell.evaluate.measures import measure_of
from foretell.tools.printing import plain, readable
from foretell.trees import Tree


def check(good: bool, about: str, text: str, do: str, level: str = "warning") -> Tree:
    """A finding: ok if `good`, else of this level with what to do."""
    return (
        {"level": "ok", "about": about, "text": text, "do": ""}
        if good
        else {"level": level, "about": about, "text": text, "do": do}
    )


def read(path: str) -> str:
    """Read a small file of the system; empty if it is missing."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""


SHARES = ("repeated", "also_in_train", "unknown", "too_long")
SIGNS = {"ok": ("ok", "green"), "warning": ("!!", "yellow"), "error": ("XX", "bold red")}


def render(result: Mapping[str, Any]) -> RenderableType:
    """An examination for a terminal: facts first, then findings."""
    facts = plain()
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    for key, value in result.items():
        if key not in ("what", "findings"):
            label = key.removesuffix("_bytes").replace("_", " ")
            facts.add_row(label, described(key, shortened(key, value)))
    findings = plain()
    for finding in result["findings"]:
        sign, style = SIGNS[finding["level"]]
        text = Text(finding["text"])
        if finding["do"]:
            text.append(f"\n-> {finding['do']}", style)
        findings.add_row(Text(sign, style), Text(finding["about"]), text)
    levels = Counter(finding["level"] for finding in result["findings"])
    total = f"{levels['error']} errors, {levels['warning']} warnings, {levels['ok']} ok"
    return Group(facts, Text(), findings, Text(), Text(total, "bold"))


def shortened(key: str, value: Any) -> Any:
    """The figures of a record that are shown."""
    if key not in ("last_record", "best_validation") or value is None:
        return value
    shown = [name for name in value if name in ("kind", "step") or measure_of(name).brief]
    return {name: value[name] for name in shown if value[name] is not None}


def described(key: str, value: Any) -> RenderableType:
    """A value for a terminal: nested tables, sizes in KiB, shares in per cent."""
    if isinstance(value, Mapping):
        inner = plain()
        inner.add_column(style="dim", no_wrap=True)
        inner.add_column(overflow="fold")
        for name, item in value.items():
            within = key if key in SHARES or key.endswith("bytes") else name
            shown = described(within, item)
            label = name.removesuffix("_bytes") if "/" not in name else name
            inner.add_row(label if "/" in name else label.replace("_", " "), shown)
        return inner if value else Text("none", "dim")
    if isinstance(value, list):
        return Group(*(described(key, item) for item in value)) if value else Text("none", "dim")
    if isinstance(value, bool) or value is None:
        return Text({True: "yes", False: "no", None: "none"}[value])
    if isinstance(value, float):
        return Text(f"{value:.2%}" if key in SHARES else f"{value:,.4g}" if value < 100 else f"{value:,.0f}")
    if isinstance(value, int):
        return Text(readable(value) if key.endswith("bytes") else f"{value:,}")
    return Text(str(value) or "none")
