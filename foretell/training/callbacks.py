"""Callbacks: what others do while a model trains. They watch, and cannot change what is learned."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foretell.optim.progress import Progress


class Callback:
    """Called while a model trains; override the methods you need.

    Callbacks get plain values, never the model, its gradients or a batch, and each gets copies of its own. The random
    numbers of a step are seeded right before it, so those that a callback draws change nothing. Weights and figures
    are the same to the last bit with and without callbacks, except where settings are in seconds: a callback's time
    counts as training time. metrics.jsonl names the callbacks of a run. An exception ends training; what was saved
    stays, and `resume` continues from there.
    """

    def on_step(self, progress: Progress) -> None:
        """After each optimiser step, with the progress of the stage. The loss is in the records, not here: reading it
        back at every step would slow down a GPU."""

    def on_record(self, record: Mapping[str, Any]) -> None:
        """After a line of metrics.jsonl: `kind` is "train" every `training.log_every`, "valid" after a validation."""

    def on_validation(self, record: Mapping[str, Any]) -> None:
        """After a validation, with its record; `on_record` gets it too."""

    def on_save(self, folder: Path) -> None:
        """After a checkpoint has been written to a folder of the run."""
