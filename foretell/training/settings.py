"""Settings of the training loop."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from foretell.config import Amount, Config, Count, Positive, Size
from foretell.training.loss_normalisation import Normalisation
from foretell.training.precision import Precision, ScalingConfig
from foretell.training.trackers import TRACKERS, allowed_tracker

TrackerName = Annotated[str, AfterValidator(allowed_tracker), Field(examples=list(TRACKERS))]


class TrainingConfig(Config):
    """Settings of the training loop that hold for any model."""

    gradient_clip: Positive | None = None
    """largest norm of the gradient"""
    micro_batches: Size | Literal["auto"] = 1
    """split the rows of a batch into this many parts: less memory, the same step; "auto": as few as memory allows"""
    normalise: Normalisation = "tokens"
    """the mean that is minimised: over tokens, over sequences, or over sequences divided by the longest one's length"""
    precision: Precision = "fp32"
    """precision of matrix products; weights and sums stay fp32"""
    scaling: ScalingConfig = ScalingConfig()
    recompute: bool = False
    """activation checkpointing: recompute blocks in the backward pass; less memory, more time, the same gradients"""
    compile: bool = False
    """use torch.compile; compiling takes a minute or more"""
    patience: Count | None = None
    """stop when a validation is worse than the best of all but the last `patience` ones"""
    log_every: Amount = Amount(value=50, unit="steps")
    """how often the loss is recorded; after five seconds at the latest"""
    log_to: tuple[TrackerName, ...] = ()
    """trackers that get the records as well: mlflow, tensorboard, wandb, or those of installed packages"""


class SavingConfig(Config):
    """When checkpoints are written, and how many are kept."""

    every: Amount = Amount(value=1, unit="epochs")
    minutes: Positive = 10
    """largest time between two checkpoints, however long `every` takes"""
    keep: Size = 2
    """number of recent checkpoints to keep, besides the best"""
