"""Results of methods as dictionaries, and as tables in a notebook."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import fields
from html import escape
from typing import Any


class Described(ABC):
    """Says what it holds: on one line, and as a table in a notebook."""

    @abstractmethod
    def description(self) -> dict[str, Any]:
        """Its contents, by name."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{key}={value!r}' for key, value in self.description().items())})"

    def _repr_html_(self) -> str:
        return html_table(self.description().items())


class Result:
    """Base of the frozen dataclasses that methods return."""

    def to_dict(self) -> dict[str, Any]:
        """Its fields, then its properties."""
        names = [field.name for field in fields(self)]  # type: ignore[arg-type]
        own = [name for cls in type(self).__mro__ for name, item in vars(cls).items() if isinstance(item, property)]
        return {name: getattr(self, name) for name in (*names, *own)}

    def _repr_html_(self) -> str:
        return html_table(self.to_dict().items())


class Figures(dict[str, Any]):
    """Figures of a model by name: a dictionary that a notebook shows as a table."""

    def to_dict(self) -> dict[str, Any]:
        """A plain dictionary of its own."""
        return dict(self)

    def _repr_html_(self) -> str:
        return html_table(self.items())


LONGEST = 200
"""characters of a value in a table"""


def html_table(rows: Iterable[tuple[str, Any]]) -> str:
    """Names and values as an HTML table; everything is escaped."""
    cells = (
        f"<tr><th>{escape(name.replace('_', ' '))}</th><td>{escape(shown(value))}</td></tr>" for name, value in rows
    )
    return f"<table>{''.join(cells)}</table>"


def shown(value: Any) -> str:
    """A value in a few characters."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: ""}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.5g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, Mapping):
        text = ", ".join(f"{key} {shown(item)}" for key, item in value.items())
    elif isinstance(value, list | tuple):
        text = ", ".join(map(shown, value))
    else:
        text = str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
