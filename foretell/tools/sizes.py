"""Sizes and courses of the shipped recipes, from a table in the package, so that they are known without torch.

The table, `sizes.json`, is written by `scripts/sizes.py`; a test keeps it up to date.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

FILE = Path(__file__).with_name("sizes.json")
"""the table"""


@dataclass(frozen=True)
class Size:
    """A recipe's model with the vocabulary of its own text, and the course of its training."""

    model: str
    """kind of the model"""
    vocabulary: int | None
    """None where a run or the text decides it"""
    parameters: int | None
    """None for n-grams, which the text decides, and for recipes that start from a run"""
    state_bytes: int | None
    """bytes of weights, gradients, optimiser and averages"""
    flops_per_token: int | None
    """of training"""
    course: Mapping[str, float]
    """its own limit by unit: `seconds`, `epochs`, or `tokens`, which steps are converted to"""


@lru_cache(1)
def sizes() -> dict[str, Size]:
    """The shipped recipes by name."""
    return {name: Size(**facts) for name, facts in json.loads(FILE.read_text(encoding="utf-8")).items()}
