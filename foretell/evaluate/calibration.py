"""Calibration: whether a model that is p sure is right in a share p of cases.

Guo et al. 2017, On Calibration of Modern Neural Networks (arXiv:1706.04599), sections 2 and 5: predictions are sorted
by confidence into bins of equal width; the expected calibration error (ECE) is the mean of |accuracy - confidence| over
the bins, weighted by their predictions. N predictions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

BINS = 15
"""bins of equal width, as in the paper's tables"""


def calibration(decisions: Sequence[tuple[float, bool]], bins: int = BINS) -> dict[str, Any]:
    """`ece`, and in `table` the bins that are not empty; a bin is (from, to], the first one [0, to].

    A decision is the probability of a prediction, and whether it is right.
    """
    p, hits = np.asarray(decisions, np.float64).T
    bin_of = np.clip(np.ceil(p * bins).astype(np.int64) - 1, 0, bins - 1)
    table, total = [], 0.0
    for number in np.unique(bin_of):
        inside = bin_of == number
        mean, accuracy = float(p[inside].mean()), float(hits[inside].mean())
        total += int(inside.sum()) * abs(accuracy - mean)
        table.append(
            {
                "from": float(number) / bins,
                "to": float(number + 1) / bins,
                "predictions": int(inside.sum()),
                "confidence": mean,
                "accuracy": accuracy,
            }
        )
    return {"ece": total / len(p), "bins": bins, "table": table}
