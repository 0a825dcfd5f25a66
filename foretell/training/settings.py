"""Settings of the training loop."""

from __future__ import annotations

from typing import Literal

from foretell.config import Amount, Config, Count, Positive, Size
from foretell.training.loss_normalisation import Normalisation
from foretell.training.precision import Precision, ScalingConfig
from foretell.training.trackers import TrackerName


class TrainingConfig(Config):
    """How the loop runs, whatever is trained."""

    gradient_clip: Positive | None = None
    """scale the gradient down to this norm"""
    micro_batches: Size | Literal["auto"] = 1
    """split the rows of a batch into so many parts, one after the other: less memory, the same step; "auto": as few
    as memory allows, found by trying"""
    normalise: Normalisation = "tokens"
    """whose mean the loss is: that of tokens, of sequences, or of sequences each divided by the longest one's length"""
    precision: Precision = "fp32"
    """what matrix products are computed in; weights and sums stay fp32"""
    scaling: ScalingConfig = ScalingConfig()
    recompute: bool = False
    """keep of each block of the model its inputs alone and compute the rest again in the backward pass: less memory,
    more time, the same gradients"""
    compile: bool = False
    """let torch.compile make the model faster, after a minute or more of compiling"""
    patience: Count | None = None
    """stop when validation is worse than the best of all but the last so many"""
    log_every: Amount = Amount(value=50, unit="steps")
    log_to: tuple[TrackerName, ...] = ()
    """show the records elsewhere as well"""


class SavingConfig(Config):
    """When checkpoints are written, and how many stay."""

    every: Amount = Amount(value=1, unit="epochs")
    minutes: Positive = 10
    """write one at least so often, however long `every` takes"""
    keep: Size = 2
    """the last so many, beside the best"""
