"""The non-monotone rule: trigger when a validation loss is worse than the best one up to some time ago.

Merity, Keskar and Socher 2018 (arXiv:1708.02182), algorithm 1, as in the authors' code: the history excludes the
current value, and its last `patience` values do not count.
"""

from __future__ import annotations

from collections.abc import Sequence


def non_monotone(history: Sequence[float], current: float, patience: int) -> bool:
    """Whether `current` is above the minimum of `history` without its last `patience` values.

    With patience 0 any value that is not a new best triggers.
    """
    settled = history[: max(len(history) - patience, 0)]
    return len(settled) > 0 and current > min(settled)
