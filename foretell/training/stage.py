"""A stage of training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from foretell.config import Amount
from foretell.data.batches.batches import Batches
from foretell.evaluate.evaluator import Evaluator
from foretell.objectives.objective import Objective
from foretell.optim.averaging import Averager
from foretell.optim.schedules.schedule import Schedule
from foretell.training.settings import SavingConfig, TrainingConfig


@dataclass
class Stage:
    """The parts of one stage of training."""

    name: str
    objective: Objective
    batches: Batches
    evaluator: Evaluator
    """measures the objective's present weights on the validation split; see `judged`"""
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    averager: Averager
    limit: Amount
    training: TrainingConfig
    saving: SavingConfig
    validate_every: Amount
    bytes_per_token: float | None = None
    """of the training text, for bits per byte in the log; None where the loss is not that of text"""
    rate_of_rows: Callable[[int], float] = lambda _: 1.0
    """factor on the learning rate, by the number of rows of a batch"""
