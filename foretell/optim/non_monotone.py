"""The non-monotone rule: act when a validation loss is worse than the best of some time ago.

Merity, Keskar and Socher 2018 (arXiv:1708.02182), algorithm 1, as in the authors' code: the history does not hold the
current value, and the last `patience` values of the history do not count.
"""

from __future__ import annotations

from collections.abc import Sequence


def non_monotone(history: Sequence[float], current: float, patience: int) -> bool:
    """True when `current` is above the least of `history` without its last `patience` values.

    With patience 0 the whole history counts: any value that is no new best fires.
    """
    settled = history[: max(len(history) - patience, 0)]
    return len(settled) > 0 and current > min(settled)
