"""Fields of tables as texts, labels and numbers; `Unfit` says why one is not."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from foretell.data.readers.lines import Unfit

Fields = Mapping[str, Any]
"""the fields of a row by the names of their columns"""


def value_in(row: Fields, column: str) -> Any:
    """The field of a column, which JSON objects need not have."""
    if column not in row:
        raise Unfit(f"has no {column!r}")
    return row[column]


def text_in(row: Fields, column: str) -> str:
    """A text, which may not be empty."""
    value = value_in(row, column)
    if not isinstance(value, str):
        raise Unfit(f"{column!r} is {json.dumps(value, default=str)[:40]}, not a text")
    if not value.strip():
        raise Unfit(f"{column!r} is empty")
    return value


def texts_in(row: Fields, column: str) -> list[str]:
    """One text, or the list of them that JSON can hold."""
    value = value_in(row, column)
    if not isinstance(value, list):
        return [text_in(row, column)]
    return [text_in({f"{column}[{place}]": text}, f"{column}[{place}]") for place, text in enumerate(value)]


def word_in(value: Any, column: str) -> str:
    """A label as it is stored: JSON may have it as a number or as a truth value."""
    word = value.strip() if isinstance(value, str) else json.dumps(value, default=str)
    if not word:
        raise Unfit(f"{column!r} is empty")
    if value is None or isinstance(value, dict | list):
        raise Unfit(f"{column!r} is {word[:40]}, not a label")
    return word


def number_in(value: Any, column: str) -> float:
    """A score."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise Unfit(f"{column!r} is {value!r}, not a number") from None
    if not math.isfinite(number) or isinstance(value, bool):
        raise Unfit(f"{column!r} is {value!r}, not a finite number")
    return number


def called(label: str, names: Mapping[str, str]) -> str:
    """What a label is called; where `names` are given there may be no others."""
    if names and label not in names:
        raise Unfit(f"label {label!r} is none of {', '.join(names)}")
    return names.get(label, label)
