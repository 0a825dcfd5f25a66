"""Validations that a time limit leaves time for."""

from __future__ import annotations

import math

from foretell.training.checkpoint import TrainState
from foretell.training.monitor import Monitor
from foretell.training.stage import Stage

LARGEST_TIME = 0.1
"""largest share of a time limit that one validation may take"""


def bound_validation(stage: Stage, position: TrainState, monitor: Monitor) -> float:
    """Reduce the validations of a stage with a time limit so that each takes a tenth of it at most.

    Returns the expected seconds of one, 0 without such a limit. What is measured stays the same over interruptions, and
    from stage to stage as long as it is small enough; where it changes, the best figure so far no longer counts.
    """
    evaluator = stage.evaluator
    evaluator.reduce(position.columns, position.share)
    if stage.limit.unit != "seconds":
        return 0.0
    stage.objective.eval()
    if position.stage_step > 0:
        return evaluator.expected_seconds("valid")
    before = evaluator.columns, evaluator.share
    expected = evaluator.fit_within("valid", stage.limit.value * LARGEST_TIME)
    if (evaluator.columns, evaluator.share) != before:
        position.columns, position.share = evaluator.columns, evaluator.share
        position.best = math.inf
        columns = f" in {evaluator.columns} columns" if evaluator.columns > 1 else ""
        monitor.say(
            f"validation measures {evaluator.share:.1%} of the split{columns}, in about {expected:.1f} s of the limit "
            f"of {stage.limit}; foretell evaluate measures all of it"
        )
    return expected
