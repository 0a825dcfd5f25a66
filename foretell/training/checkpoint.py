"""Checkpoints that survive crashes: written under a temporary name, with checksums, and renamed when complete.

    checkpoints/step-00000120/    model.safetensors      weights as trained, except frozen ones
                                  averaged.safetensors   their mean, once averaging has begun
                                  optimizer.safetensors  carried.safetensors  penalties.safetensors
                                  record.json            the training state; whether it was the best so far
                                  checksums.json         a SHA-256 of each file above, and the id of the run
    checkpoints/frozen-….safetensors    weights that a stage does not train, shared by its checkpoints

The records state which checkpoint is the last and which the best; the run's own `checksums.json` states their steps. It
is written after a checkpoint and before older ones are deleted, so finding only older checkpoints means that one is
gone. A checkpoint of another run, or under another name than its step, is not used. Nothing is ever unpickled.

Only reading and writing tensors imports torch, so that runs are listed at once.
"""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, StrictBool, StrictFloat, StrictInt, TypeAdapter, ValidationError

from foretell.artifacts import remove_all_dead_drafts, sync_folder, whole_folder, write_json, write_tensors
from foretell.checksums import (
    LARGEST_FILE,
    damaged,
    digest,
    plain_file,
    plain_folder,
    read_checksums,
    read_record,
    verify,
    write_checksums,
)
from foretell.errors import ConfigError
from foretell.run import FORMAT, Record, Run, is_record
from foretell.strict_json import shown

if TYPE_CHECKING:
    from torch import Tensor

    Tensors = Mapping[str, Tensor]

FOLDER = re.compile(r"step-(\d{8,18})")
FROZEN = re.compile(r"frozen-[0-9a-f]{32}\.safetensors")
RECORD = "record.json"
MOST_COPIES = 10
"""of the weights in a checkpoint, counting the state of the optimiser, averages and penalties"""


Natural = Annotated[StrictInt, Field(ge=0)]


@dataclass
class TrainState:
    """The progress of training: the contents of a checkpoint other than tensors."""

    stage: Natural = 0
    step: Natural = 0
    """optimiser steps over all stages"""
    stage_step: Natural = 0
    tokens: Natural = 0
    """tokens trained on in this stage, padding left out"""
    seconds: Annotated[StrictFloat, Field(ge=0, allow_inf_nan=False)] = 0.0
    """of this stage, over all interruptions"""
    first_loss: StrictFloat | None = None
    """loss of the first step of this stage"""
    history: list[StrictFloat] = field(default_factory=list)
    """validation losses of this stage"""
    best: StrictFloat = math.inf
    finished: StrictBool = False
    micro_batches: Annotated[Natural, Field(ge=1)] = 1
    """parts of a batch, where chosen automatically"""
    columns: Annotated[Natural, Field(ge=1)] | None = None
    """columns of a validation, where a time limit makes it smaller"""
    share: Annotated[StrictFloat, Field(gt=0, le=1)] = 1.0
    """part of the validation split that is measured"""

    @property
    def reduced(self) -> Record:
        """How a validation is smaller than a whole one; empty if it is not."""
        return {} if self.columns is None else {"columns": self.columns, "share": self.share}


POSITION = TypeAdapter(TrainState)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint of a run, on disk."""

    run: Run
    path: Path

    @cached_property
    def checksums(self) -> Mapping[str, str]:
        """The files that belong to it, each with its SHA-256."""
        if not plain_folder(self.path):
            raise damaged(self.path, "is not a folder of its own")
        found = read_checksums(self.path, FORMAT)
        if found.get("run") != self.run.id:
            raise damaged(self.path, "is a checkpoint of another run")
        return dict(found["files"])

    def record(self) -> Record:
        """The contents of `record.json`."""
        if RECORD not in self.checksums:
            raise damaged(self.path / RECORD, "is missing")
        verify(self.path, {RECORD: self.checksums[RECORD]})
        found = read_record(self.path / RECORD)
        if not isinstance(found.get("position"), dict):
            raise damaged(self.path / RECORD)
        if found.get("step") != self.step:
            raise damaged(self.path, f"is the checkpoint of step {shown(found.get('step'))} under another name")
        return found

    def position(self) -> TrainState:
        """The training state in its record."""
        try:
            found = POSITION.validate_python(self.record()["position"])
        except ValidationError:
            found = None
        if found is None or found.step != self.step or found.stage_step > found.step:
            raise damaged(self.path / RECORD, "does not say where training stood")
        return found

    def pointer(self, which: str) -> Record | None:
        """The step and the kind of weights to use, if this was the run's `last` or `best` checkpoint when saved."""
        pointers = self.record().get("pointers")
        facts = pointers.get(which) if isinstance(pointers, dict) else None
        if not isinstance(facts, dict) or facts.get("step") != self.step or not isinstance(facts.get("weights"), str):
            return None
        return facts

    def validation(self) -> Record:
        """The record of its validation; empty where it had none."""
        found = self.record().get("validation")
        return found if is_record(found) else {}

    @property
    def step(self) -> int:
        """The number of optimiser steps before it, from its name."""
        return int(self.path.name.removeprefix("step-"))

    def tensors(self, name: str) -> dict[str, Tensor]:
        """The tensors of one file; empty when the checkpoint has no such file."""
        file = f"{name}.safetensors"
        from foretell.training.tensor_files import read_tensors

        return read_tensors(plain_file(self.path, file)) if file in self.checksums else {}

    def weight_files(self) -> list[Path]:
        """The files of the weights as trained: first the frozen ones, if any."""
        frozen = self.record().get("frozen")
        if frozen is not None and not (isinstance(frozen, str) and FROZEN.fullmatch(frozen)):
            raise damaged(self.path / RECORD, f"names a file {frozen!r}")
        return [
            *([plain_file(self.path.parent, frozen)] if frozen else []),
            plain_file(self.path, "model.safetensors"),
        ]

    def weights(self) -> dict[str, Tensor]:
        """The weights as trained, frozen ones included."""
        from foretell.training.tensor_files import read_tensors

        return {name: tensor for file in self.weight_files() for name, tensor in read_tensors(file).items()}

    def result(self) -> dict[str, Tensor]:
        """The weights to use: the averaged ones where there are any."""
        return self.weights() | self.tensors("averaged")

    def verify(self) -> None:
        """Raise `ConfigError` with the name of the first file that does not match its checksum."""
        verify(self.path, self.checksums)
        *frozen, _ = self.weight_files()
        for file in frozen:
            if file.name != frozen_name(file):
                raise damaged(file, "does not match its checksum")

    def check_room(self, model: int) -> None:
        """Raise `ConfigError` if its files are larger than a checkpoint of a model of that many bytes can be."""
        files = [*self.weight_files(), *(plain_file(self.path, name) for name in self.checksums)]
        if sum(file.stat().st_size for file in files) > MOST_COPIES * model + LARGEST_FILE:
            raise damaged(self.path, "is larger than a checkpoint of this model can be")

    def problem(self) -> str:
        """The first fault of its files, in one line; "" if there is none."""
        from foretell.training.tensor_files import check_finite

        try:
            self.verify()
            check_finite(self.result(), self.path)
        except ConfigError as problem:
            return str(problem)
        except OSError as problem:
            return f"{self.path}: {problem.strerror}"
        return ""

    def intact(self) -> bool:
        """Whether every file exists and matches its checksum."""
        return not self.problem()


def save(run: Run, step: int, files: Mapping[str, Tensors], record: Mapping[str, Any]) -> Checkpoint:
    """Save a checkpoint of this step; an `OSError`, as for a full disk, leaves all earlier ones as they were."""
    saved = at_step(run, step)
    if saved.path.exists():
        set_aside(saved.path)
    with whole_folder(saved.path) as draft:
        for name, tensors in files.items():
            if tensors:
                write_tensors(draft / f"{name}.safetensors", tensors)
        write_json(draft / RECORD, {**record, "step": step})
        write_checksums(draft, {file.name: digest(file) for file in draft.iterdir()}, format=FORMAT, run=run.id)
    best = {"best": step} if "best" in record.get("pointers", {}) else {}
    run.note_saved({**run.saved, "last": step, **best})
    return saved


def set_aside(path: Path) -> Path:
    """Rename an unusable or obstructing checkpoint so that it is not taken for one; returns its new path."""
    number = 1
    while (aside := path.with_name(f"damaged-{path.name}-{number}")).exists():
        number += 1
    path.rename(aside)
    return aside


def keep_frozen(run: Run, tensors: Tensors) -> str | None:
    """Write the frozen weights, which checkpoints share; the name of their file, or None without frozen weights."""
    if not tensors:
        return None
    kept = run.checkpoints / "frozen.safetensors"
    write_tensors(kept, tensors)
    final = run.checkpoints / frozen_name(kept)
    kept.replace(final)
    sync_folder(run.checkpoints)
    return final.name


def frozen_name(file: Path) -> str:
    """The name of a file of frozen weights, from its digest."""
    return f"frozen-{digest(file)[:32]}.safetensors"


# --- which checkpoint -----------------------------------------------------------------------------


def at_step(run: Run, step: int) -> Checkpoint:
    """The checkpoint of a step, whether it exists or not."""
    return Checkpoint(run, run.checkpoints / f"step-{step:08d}")


def pointed(run: Run, which: str) -> tuple[Checkpoint, Record]:
    """The `last` or the `best` checkpoint, with its pointer; raises `ConfigError` if there is none."""
    if which not in ("best", "last"):
        raise ConfigError(f"no checkpoint is called {which!r}", remedy="write best or last")
    if (found := find(run, which)) is None:
        other = ", or add --which last" if which == "best" and find(run, "last") else ""
        raise ConfigError(f"{run.path} has no {which} checkpoint yet; train it further{other}")
    return found


def files_of(run: Run) -> dict[str, Path]:
    """The files that make up a run, by their paths in it; of its checkpoints, those of the best and the last."""
    top = [run.checksums_file, run.metrics_file, *(run.path / name for name in run.checksums["files"])]
    saved = [found[0] for which in ("best", "last") if (found := find(run, which))]
    for checkpoint in saved:
        checkpoint.verify()
    inner = [file for checkpoint in saved for file in sorted(checkpoint.path.iterdir())]
    frozen = [file for checkpoint in saved for file in checkpoint.weight_files()]
    return {file.relative_to(run.path).as_posix(): file for file in [*top, *inner, *frozen] if file.is_file()}


def find(run: Run, which: str) -> tuple[Checkpoint, Record] | None:
    """`pointed`, or None if there is none yet; raises `ConfigError` if a damaged record hides it or it is gone."""
    found = latest(run, which)
    if which in run.saved and (found is None or found[0].step < run.saved[which]):
        raise gone(run, which)
    return found


def latest(run: Run, which: str) -> tuple[Checkpoint, Record] | None:
    """The newest checkpoint on disk that was the `last` or the `best` when it was saved."""
    for saved in reversed(in_order(run)):
        if (facts := saved.pointer(which)) is not None:
            return saved, facts
    return None


def gone(run: Run, which: str) -> ConfigError:
    """The error for a `last` or `best` checkpoint that was saved and no longer exists."""
    there = in_order(run)
    otherwise = f", or train on from step {there[-1].step} with --resume" if there else ""
    remedy = f"restore it from a backup{otherwise}"
    return ConfigError(f"the {which} checkpoint is gone", file=at_step(run, run.saved[which]).path, remedy=remedy)


def lost(run: Run) -> dict[Path, str]:
    """The last and the best checkpoint where they no longer exist: a message for each path."""
    there = {saved.step for saved in in_order(run)}
    steps = sorted(set(run.saved.values()) - there)
    kinds = {step: " and ".join(which for which, saved in run.saved.items() if saved == step) for step in steps}
    return {at_step(run, step).path: f"the {which} checkpoint is gone" for step, which in kinds.items()}


def newest(run: Run) -> Checkpoint | None:
    """The latest checkpoint that can be used."""
    return next((saved for saved in reversed(in_order(run)) if saved.intact()), None)


def to_resume(run: Run) -> tuple[Checkpoint | None, list[str]]:
    """The checkpoint to resume from, and the faults of newer ones: they are gone, or set aside here.

    The checkpoint is None if none was ever saved. Raises `ConfigError` if some were saved and none is usable.
    """
    remove_all_dead_drafts(run.checkpoints)
    found = [(saved, saved.problem()) for saved in reversed(in_order(run))]
    chosen = next((saved for saved, problem in found if not problem), None)
    unusable = [(saved, problem) for saved, problem in found if chosen is None or saved.step > chosen.step]
    if chosen is None:
        if unusable or run.was_saved:
            what = f"no checkpoint of this run can be used: {unusable[0][1] if unusable else 'they are gone'}"
            raise ConfigError(
                what, file=run.path, remedy="bring them back from a copy, or start again with another --out"
            )
        return None, []
    faults = [f"{problem}; set aside" for _, problem in unusable]
    faults += [f"{path}: {what}" for path, what in lost(run).items()]
    kept = [saved.step for saved, _ in found if saved.step <= chosen.step]
    best = [saved.step for saved, problem in found if not problem and saved.pointer("best")]
    best += [step for step in kept if step == run.saved.get("best")]  # damaged, but on disk: opening it is an error
    run.note_saved({"last": chosen.step, **({"best": max(best)} if best else {})})
    for saved, _ in unusable:
        set_aside(saved.path)
    return chosen, faults


def in_order(run: Run) -> list[Checkpoint]:
    """All checkpoints of a run, oldest first."""
    if not run.checkpoints.exists():
        return []
    if not plain_folder(run.checkpoints):
        raise damaged(run.checkpoints, "is not a folder of its own")
    steps = [(int(match[1]), path) for path in run.checkpoints.iterdir() if (match := FOLDER.fullmatch(path.name))]
    return [Checkpoint(run, path) for _, path in sorted(steps)]


def prune(run: Run, keep: int) -> None:
    """Delete all but the last `keep` checkpoints and the best; nothing if a damaged record hides which is the best."""
    try:
        best = latest(run, "best")
        for saved in in_order(run)[:-keep]:
            if best is None or saved.path != best[0].path:
                shutil.rmtree(saved.path, ignore_errors=True)
        needed = {file for saved in in_order(run) for file in saved.weight_files()}
    except ConfigError:
        return
    for file in set(run.checkpoints.glob("frozen*")) - needed:
        file.unlink()
