"""Trackers: the records of metrics.jsonl, shown elsewhere as well.

They only repeat what `Run.append` writes, so a run is whole without them. What they write lies in the run folder.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from foretell.errors import ConfigError

TrackerName = Literal["tensorboard", "wandb"]


class Tracker(ABC):
    """Takes one record after the other."""

    @abstractmethod
    def write(self, record: Mapping[str, Any]) -> None:
        """Show a record."""

    @abstractmethod
    def close(self) -> None:
        """Nothing more comes."""


class TensorBoard(Tracker):
    """Event files in `RUN/tensorboard`; look at them with `tensorboard --logdir runs`."""

    def __init__(self, folder: Path, step: int):
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise missing("tensorboard") from None
        # note: what a stopped training wrote after its checkpoint comes again, and is hidden
        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 if step else None)

    def write(self, record: Mapping[str, Any]) -> None:
        """See `Tracker.write`."""
        for name, value in numbers(record).items():
            self.writer.add_scalar(name, value, record["step"])

    def close(self) -> None:
        """See `Tracker.close`."""
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

    def write(self, record: Mapping[str, Any]) -> None:
        """See `Tracker.write`."""
        self.run.log(numbers(record), step=record["step"])

    def close(self) -> None:
        """See `Tracker.close`."""
        self.run.finish()


TRACKERS: dict[TrackerName, type[TensorBoard] | type[WeightsAndBiases]] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
}


def open_trackers(names: Sequence[TrackerName], folder: Path, step: int) -> list[Tracker]:
    """The trackers of a run that goes on after `step`; a `ConfigError` names the package that is not installed."""
    return [TRACKERS[name](folder, step) for name in names]


def numbers(record: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a record by the names they are shown under, such as `valid/loss`."""
    kind = record["kind"]
    plain = {key: value for key, value in record.items() if key not in ("kind", "step")}
    return {
        f"{kind}/{key}": float(value)
        for key, value in plain.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def missing(package: str) -> ConfigError:
    """What to say when an optional package is not there."""
    return ConfigError(f"training.log_to: {package} is not installed; pip install 'foretell[{package}]'")
