"""Trackers: the records of metrics.jsonl in TensorBoard or Weights & Biases.

They repeat what `Run.append` writes, into the run folder, so a run is complete without them.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from typing_extensions import override

from foretell.errors import ConfigError

TrackerName = Literal["tensorboard", "wandb"]


class Tracker(ABC):
    """Receives records."""

    @abstractmethod
    def write(self, record: Mapping[str, Any]) -> None:
        """Write a record."""

    @abstractmethod
    def close(self) -> None:
        """Flush and close."""


class TensorBoard(Tracker):
    """Event files in `RUN/tensorboard`; look at them with `tensorboard --logdir runs`."""

    def __init__(self, folder: Path, step: int):
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise missing("tensorboard") from None
        # note: records after the checkpoint are written again when training resumes; the old ones are hidden
        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 if step else None)

    @override
    def write(self, record: Mapping[str, Any]) -> None:
        for name, value in numbers(record).items():
            self.writer.add_scalar(name, value, record["step"])

    @override
    def close(self) -> None:
        self.writer.close()


class WeightsAndBiases(Tracker):
    """A run in `RUN/wandb`, kept on this machine unless WANDB_MODE=online; `wandb sync` sends it later."""

    def __init__(self, folder: Path, step: int):
        try:
            import wandb
        except ImportError:
            raise missing("wandb") from None
        self.run = wandb.init(
            project="foretell",
            name=folder.name,
            dir=str(folder),
            mode=os.environ.get("WANDB_MODE", "offline"),
            settings={"console": "off", "silent": True},  # it would print between our own lines
        )

    @override
    def write(self, record: Mapping[str, Any]) -> None:
        self.run.log(numbers(record), step=record["step"])

    @override
    def close(self) -> None:
        self.run.finish()


TRACKERS: dict[TrackerName, type[TensorBoard] | type[WeightsAndBiases]] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
}


def open_trackers(names: Sequence[TrackerName], folder: Path, step: int) -> list[Tracker]:
    """Open the trackers of a run that continues after `step`.

    Raises `ConfigError` with the name of a package that is not installed.
    """
    return [TRACKERS[name](folder, step) for name in names]


def numbers(record: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a record by the names they are shown under, such as `valid/loss`."""
    kind = record["kind"]
    plain = {key: value for key, value in record.items() if key not in ("kind", "step")}
    return {
        f"{kind}/{key}": float(value)
        for key, value in plain.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def missing(package: str) -> ConfigError:
    """The error for an optional package that is not installed."""
    return ConfigError(f"training.log_to: {package} is not installed; pip install 'foretell[{package}]'")
