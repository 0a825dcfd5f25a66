"""Which models are ranked by bits per byte: one rule for races, comparisons and lists of runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Standing:
    """Facts about a model that decide whether it is ranked."""

    tokenizer: str
    """a name or hash that models share where they have the same tokens"""
    lossy: bool
    """whether its tokens do not restore the text"""
    flattered: bool = False
    """whether its figure is wrong otherwise: fitted to this very text, or of probabilities that do not sum to 1"""


def ranked(models: Sequence[Standing]) -> list[bool]:
    """Which of these models can be ranked.

    A lossy one never has to predict what its tokens lose, so it is ranked only where all have the same tokens.
    """
    alike = len({model.tokenizer for model in models}) < 2
    return [not model.flattered and (alike or not model.lossy) for model in models]
