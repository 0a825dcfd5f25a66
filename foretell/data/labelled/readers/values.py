"""Fields of tables as texts, labels and numbers; `Unfit` says why one is not."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator

from foretell.data.labelled.examples import label_fault
from foretell.data.labelled.readers.lines import Unfit
from foretell.strict_json import shown, surrogate_in

Fields = Mapping[str, Any]
"""the fields of a row by the names of their columns"""
LISTED = 20
"""labels that a message lists"""


def renamings(names: dict[str, str]) -> dict[str, str]:
    """Labels by their stored form, as `word_in` spells it."""
    for name in names.values():
        if fault := label_fault(name):
            raise ValueError(f"the label {shown(name)} {fault}")
    return {unicodedata.normalize("NFC", stored.strip()): name for stored, name in names.items()}


Names = Annotated[dict[str, str], AfterValidator(renamings)]
"""names of labels, by their stored form"""


def value_in(row: Fields, column: str) -> Any:
    """The field of a column; JSON objects may lack it."""
    if column not in row:
        raise Unfit(f"has no {column!r}")
    return row[column]


def text_in(row: Fields, column: str) -> str:
    """A text that is not empty."""
    value = value_in(row, column)
    if not isinstance(value, str):
        raise Unfit(f"{column!r} is {as_stored(value)}, not a text")
    if not value.strip():
        raise Unfit(f"{column!r} is empty")
    if found := surrogate_in(value):
        raise Unfit(f"{column!r} holds {found!a}, half of a character (a lone surrogate)")
    return value


def texts_in(row: Fields, column: str) -> list[str]:
    """A text, or a list of texts in JSON."""
    value = value_in(row, column)
    if not isinstance(value, list):
        return [text_in(row, column)]
    return [text_in({f"{column}[{place}]": text}, f"{column}[{place}]") for place, text in enumerate(value)]


def name_in(row: Fields, column: str) -> str:
    """An identifier: a text or an integer."""
    value = value_in(row, column)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else text_in(row, column)


def word_in(value: Any, column: str) -> str:
    """A label as it is stored: JSON may have it as a number or as a truth value. 1 and 1.0 are one label, and so are
    the ways of Unicode to write a letter with its accent."""
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)
    if isinstance(value, str):
        word = unicodedata.normalize("NFC", value.strip())
    elif isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        word = json.dumps(value)
    else:
        raise Unfit(f"{column!r} is {as_stored(value)}, not a label")
    if fault := label_fault(word):
        raise Unfit(f"{column!r} {fault}")
    return word


def number_in(value: Any, column: str) -> float:
    """A score."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise Unfit(f"{column!r} is {shown(value)}, not a number") from None
    if not math.isfinite(number) or isinstance(value, bool):
        raise Unfit(f"{column!r} is {shown(value)}, not a finite number")
    return number


def called(label: str, names: Mapping[str, str]) -> str:
    """The name of a label; with `names`, only those."""
    if names and label not in names:
        more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
        raise Unfit(f"label {shown(label)} is none of {', '.join(list(names)[:LISTED])}{more}")
    return names.get(label, label)


def as_stored(value: Any) -> str:
    """The beginning of a value as JSON."""
    return json.dumps(value, default=str)[:40]
