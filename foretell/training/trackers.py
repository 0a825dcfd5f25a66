"""Trackers: callbacks that show the records of a run in a program for experiments.

They repeat what `Run.append` writes into the run folder, so a run is complete without them. A package brings another
one as an entry point of the group `foretell.trackers`: a subclass of `Tracker` that is made with a `Tracked`.
"""

from __future__ import annotations

import os
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typing_extensions import override

from foretell import plugins
from foretell.errors import ConfigError, did_you_mean
from foretell.training.callbacks import Callback
from foretell.trees import Tree
from foretell.trust import is_trusted


@dataclass(frozen=True)
class Tracked:
    """The training that a tracker follows."""

    folder: Path
    """of the run; local files belong in it"""
    step: int
    """training continues after this step; 0 at the beginning"""
    settings: Mapping[str, str | int | float | bool]
    """of the recipe, by dotted name"""


class Tracker(Callback, ABC):
    """Receives the records of a run."""

    @abstractmethod
    def __init__(self, tracked: Tracked):
        """Open it. Raise `ConfigError` if it cannot be opened, as when a package is missing."""

    @abstractmethod
    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Write the numbers of a record, such as `valid/loss`, at a step of the run."""

    @abstractmethod
    def close(self) -> None:
        """Flush and close, at the end of a stage or when training stops."""

    @override
    def on_record(self, record: Mapping[str, Any]) -> None:
        self.write(record["step"], numbers(record))


class TensorBoard(Tracker):
    """Event files in `RUN/tensorboard`; look at them with `tensorboard --logdir runs`."""

    def __init__(self, tracked: Tracked):
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise missing("tensorboard") from None
        # note: records after the checkpoint are written again when training resumes; the old ones are hidden
        purge = tracked.step + 1 if tracked.step else None
        self.writer = SummaryWriter(str(tracked.folder / "tensorboard"), purge_step=purge)

    @override
    def write(self, step: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self.writer.add_scalar(name, value, step)

    @override
    def close(self) -> None:
        self.writer.close()


class WeightsAndBiases(Tracker):
    """A run in `RUN/wandb`, kept on this machine unless WANDB_MODE=online; `wandb sync` sends it later."""

    def __init__(self, tracked: Tracked):
        try:
            import wandb
        except ImportError:
            raise missing("wandb") from None
        self.run = wandb.init(
            project="foretell",
            name=tracked.folder.name,
            dir=str(tracked.folder),
            config=dict(tracked.settings),
            mode=os.environ.get("WANDB_MODE", "offline"),
            settings={"console": "off", "silent": True},  # it would print between our own lines
        )

    @override
    def write(self, step: int, figures: Mapping[str, float]) -> None:
        self.run.log(dict(figures), step=step)

    @override
    def close(self) -> None:
        self.run.finish()


class MLflow(Tracker):
    """A run of the experiment `foretell` in `RUN/mlflow.db`, or where MLFLOW_TRACKING_URI says.

    Look at it with `mlflow ui --backend-store-uri sqlite:///RUN/mlflow.db`. Each start of a training is a run there.
    """

    def __init__(self, tracked: Tracked):
        try:
            from mlflow import MlflowClient
            from mlflow.entities import Metric, Param
        except ImportError:
            raise missing("mlflow") from None
        database = tracked.folder.resolve() / "mlflow.db"
        self.client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{database.as_posix()}")
        self.metric = Metric
        found = self.client.get_experiment_by_name("foretell")
        experiment = self.client.create_experiment("foretell") if found is None else found.experiment_id
        self.run = self.client.create_run(experiment, run_name=tracked.folder.name).info.run_id
        settings = [Param(key, str(value)[:500]) for key, value in tracked.settings.items()]
        for begin in range(0, len(settings), 100):  # its largest batch
            self.client.log_batch(self.run, params=settings[begin : begin + 100])

    @override
    def write(self, step: int, figures: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        allowed = {re.sub(r"[^\w\-. /]", "_", name): value for name, value in figures.items()}
        self.client.log_batch(
            self.run, metrics=[self.metric(name, value, now, step) for name, value in allowed.items()]
        )

    @override
    def close(self) -> None:
        self.client.set_terminated(self.run)


TRACKERS: dict[str, type[Tracker]] = {"mlflow": MLflow, "tensorboard": TensorBoard, "wandb": WeightsAndBiases}


def allowed_tracker(name: str) -> str:
    """The name; a `ValueError` for code of other packages in the recipe of a run from elsewhere."""
    if name not in TRACKERS and not is_trusted():
        raise ValueError(
            f"would load the tracker {name!r}, and this recipe came with a run that was not made here; "
            "if you trust who made it, add --trust"
        )
    return name


def check_trackers(names: Sequence[str]) -> None:
    """Raise `ConfigError` for a name that neither foretell nor an installed package has."""
    known = [*TRACKERS, *plugins.installed(plugins.TRACKERS)]
    for name in names:
        if name not in known:
            raise ConfigError(
                f"training.log_to: no tracker {name!r}{did_you_mean(name, known)} (known: {', '.join(known)})"
            )


def open_trackers(names: Sequence[str], tracked: Tracked) -> list[Tracker]:
    """Open the trackers of a run. Raises `ConfigError` with the name of a package that is not installed."""
    check_trackers(names)
    return [tracker_named(name)(tracked) for name in names]


def tracker_named(name: str) -> type[Tracker]:
    """The class of a tracker: our own, or that of an installed package."""
    if name in TRACKERS:
        return TRACKERS[name]
    point = plugins.installed(plugins.TRACKERS)[name]
    try:
        found = point.load()
    except Exception as problem:  # the package may do anything
        what = f"training.log_to: cannot load {name!r} from {point.value}: {type(problem).__name__}: {problem}"
        raise ConfigError(what) from None
    if not (isinstance(found, type) and issubclass(found, Tracker)):
        raise ConfigError(f"training.log_to: {point.value} is not a foretell.Tracker")
    return found


def flat(tree: Tree, prefix: str = "") -> Iterator[tuple[str, str | int | float | bool]]:
    """The settings of nested tables by dotted name; lists as text."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flat(dict(value), f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str | int | float | bool) else str(value)


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
