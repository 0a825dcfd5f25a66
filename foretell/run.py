"""The run folder: what a training leaves behind, and what goes to the terminal meanwhile.

    recipe.toml        the resolved recipe        environment.json   versions, machine, command
    tokenizer.json     the run's own tokenizer    metrics.jsonl      one record a line, training and validation
    token-counts.npy   of the training split      checkpoints/       see `training.checkpoint`
    labels.json        what a task may say

Everything is written to a temporary name, synced, then renamed: a reader never sees half a file, and a full disk costs
nothing that was finished.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from foretell.artifacts import (
    exclusive,
    is_draft,
    is_free,
    remove_all_dead_drafts,
    whole_folder,
    write_atomic,
    write_json,
)
from foretell.errors import ConfigError

Record = dict[str, Any]


class Run:
    """A run folder, open for reading or writing."""

    def __init__(self, path: Path | str):
        self.path = Path(path)

    @classmethod
    def create(cls, path: Path | str, *, recipe: str, resume: bool) -> Run:
        """A run folder for a recipe; one that exists is an error unless it is to be resumed with the same recipe."""
        run = cls(path)
        if run.recipe_file.exists():
            if not resume:
                raise ConfigError(f"{run.path} exists; add --resume to go on with it, or choose another --out")
            before = run.recipe_file.read_text(encoding="utf-8")
            if before != recipe:
                raise ConfigError(
                    f"{run.path} was started with other settings ({difference(before, recipe)}); "
                    "resume it without overrides, or choose another --out"
                )
        elif run.path.exists() and not run.is_empty():
            raise ConfigError(f"{run.path} exists and is not a run; choose another --out")
        run.path.mkdir(parents=True, exist_ok=True)
        write_atomic(run.recipe_file, recipe.encode())  # the first: what has no recipe is no run
        run.checkpoints.mkdir(exist_ok=True)
        remove_all_dead_drafts(run.path)
        write_json(run.path / "environment.json", environment())
        return run

    @classmethod
    @contextlib.contextmanager
    def whole(cls, path: Path | str, *, recipe: str) -> Iterator[Run]:
        """A new run to fill, which is at `path` when the block ends well, checkpoint and all, and else not at all."""
        if not is_free(Path(path)):
            raise ConfigError(f"{path} exists; choose another --out")
        with whole_folder(Path(path)) as draft:
            yield cls.create(draft, recipe=recipe, resume=False)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep every other process from training or deleting this run; a `ConfigError` when one is at it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists() and not self.path.is_dir():
            raise ConfigError(f"{self.path} exists and is not a run; choose another --out")
        with contextlib.ExitStack() as held:
            for patience in (0.1, 0.3, 0):  # who only asks `is_busy` holds it for an instant
                try:
                    held.enter_context(exclusive(self.path, wait=False))
                    break
                except BlockingIOError:
                    time.sleep(patience)
            else:
                raise ConfigError(
                    f"{self.path} is being trained by another process; wait for it or stop it, or choose another --out"
                )
            yield

    def is_busy(self) -> bool:
        """Whether a process is training or deleting it."""
        try:
            with exclusive(self.path, wait=False):
                return False
        except BlockingIOError:
            return True

    def is_empty(self) -> bool:
        """Whether it is a folder with nothing in it, or nothing but a recipe half written."""
        return self.path.is_dir() and all(is_draft(item) for item in self.path.iterdir())

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """A run folder that is there."""
        run = cls(path)
        if not run.recipe_file.exists():
            raise ConfigError(f"{run.path} is not a run: it has no recipe.toml; name the --out of a `foretell train`")
        return run

    @property
    def recipe_file(self) -> Path:
        """The resolved recipe."""
        return self.path / "recipe.toml"

    @property
    def tokenizer_file(self) -> Path:
        """The tokenizer."""
        return self.path / "tokenizer.json"

    @property
    def counts_file(self) -> Path:
        """How often each token occurs in the training split; a model that is counted itself has none."""
        return self.path / "token-counts.npy"

    @property
    def labels_file(self) -> Path:
        """The names of what a task may say; a language model has none."""
        return self.path / "labels.json"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def metrics_file(self) -> Path:
        """The records, one JSON object a line."""
        return self.path / "metrics.jsonl"

    def append(self, record: Mapping[str, Any]) -> None:
        """One more line of metrics.jsonl."""
        with self.metrics_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def metrics(self) -> Iterator[Record]:
        """The records so far; a last line that was cut off is left out."""
        if not self.metrics_file.exists():
            return
        for line in self.metrics_file.read_text(encoding="utf-8").splitlines():
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                return

    def rewind(self, step: int) -> None:
        """Forget records after a step: going on from a checkpoint writes them again."""
        kept = [json.dumps(record) + "\n" for record in self.metrics() if record["step"] <= step]
        write_atomic(self.metrics_file, "".join(kept).encode())


def judged(measured: Mapping[str, Any]) -> float:
    """What a validation is judged by, where less is better: the loss per token of text, or, of models that give text no
    probability, that of their objective; of a task what its metric lacks of 1."""
    if "metric" in measured:
        found = float(measured[measured["metric"]])
        return 1.0 if math.isnan(found) else 1.0 - found
    return float(measured["objective_loss"] if measured["loss"] is None else measured["loss"])


def difference(before: str, after: str) -> str:
    """The first line two recipes do not share, shortened: enough to see which setting it is."""
    old = set(before.splitlines())
    new = [line for line in after.splitlines() if line not in old]
    return (new[0] if new else "some are gone")[:80]


def environment() -> Record:
    """Versions, machine and command: what it takes to understand a number later."""
    import numpy
    import torch

    return {
        "foretell": __import__("foretell").__version__,
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "command": sys.argv,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def processor() -> str:
    """The processor's own name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def free_space(path: Path) -> int:
    """Bytes free where `path` is."""
    return shutil.disk_usage(path).free
