"""Checkpoints that survive anything: written apart, checksummed, renamed when whole.

    checkpoints/step-00000120/    model.safetensors      weights as trained, but for those that are frozen
                                  averaged.safetensors   their mean, once averaging has begun
                                  optimizer.safetensors  carried.safetensors  penalties.safetensors
                                  record.json            where training stands, and a SHA-256 of each file above
    checkpoints/frozen-….safetensors    weights that a stage does not train, once for all of its checkpoints; by digest
    checkpoints/best.json, last.json    which of them, and whether its raw or averaged weights are meant

Nothing is ever unpickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from foretell.artifacts import sync_folder, write_json
from foretell.errors import ConfigError
from foretell.run import Record, Run
from foretell.types import State

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk."""

    path: Path

    def record(self) -> Record:
        """Where training stood."""
        return dict(json.loads((self.path / "record.json").read_text(encoding="utf-8")))

    def tensors(self, name: str) -> dict[str, Tensor]:
        """The tensors of one file; empty when the checkpoint has no such file."""
        file = self.path / f"{name}.safetensors"
        return load_file(file) if file.exists() else {}

    def weight_files(self) -> list[Path]:
        """The files that hold the weights as trained: first those that were frozen, if any."""
        frozen = self.record().get("frozen")
        return [*([self.path.parent / frozen] if frozen else []), self.path / "model.safetensors"]

    def weights(self) -> dict[str, Tensor]:
        """The weights as trained, frozen ones included."""
        return {name: tensor for file in self.weight_files() for name, tensor in load_file(file).items()}

    def result(self) -> dict[str, Tensor]:
        """The weights to use: the averaged ones where there are any."""
        return self.weights() | self.tensors("averaged")

    def intact(self) -> bool:
        """Whether every file is there and is what was written."""
        try:
            files = self.record()["files"]
            *frozen, _ = self.weight_files()
            return all(digest(self.path / name) == expected for name, expected in files.items()) and all(
                file.name == frozen_name(file) for file in frozen
            )
        except (OSError, ValueError, KeyError):
            return False


def save(run: Run, step: int, files: Mapping[str, Tensors], record: Mapping[str, Any]) -> Checkpoint:
    """A new checkpoint of this step; an `OSError` (a full disk) leaves all earlier ones as they were."""
    final = run.checkpoints / f"step-{step:08d}"
    temporary = run.checkpoints / f".step-{step:08d}.{os.getpid()}"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir()
        digests = {}
        for name, tensors in files.items():
            if not tensors:
                continue
            file = temporary / f"{name}.safetensors"
            write_tensors({key: tensor.detach().contiguous() for key, tensor in tensors.items()}, file)
            sync_file(file)
            digests[file.name] = digest(file)
        write_json(temporary / "record.json", {**record, "step": step, "files": digests})
        sync_folder(temporary)
        shutil.rmtree(final, ignore_errors=True)  # only a damaged one can be in the way
        temporary.rename(final)
        sync_folder(run.checkpoints)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return Checkpoint(final)


def keep_frozen(run: Run, tensors: Tensors) -> str | None:
    """The name of the file that holds weights which several checkpoints share; None for none."""
    if not tensors:
        return None
    temporary = run.checkpoints / f".frozen.{os.getpid()}"
    try:
        write_tensors({key: tensor.detach().contiguous() for key, tensor in tensors.items()}, temporary)
        sync_file(temporary)
        final = run.checkpoints / frozen_name(temporary)
        temporary.rename(final)
        sync_folder(run.checkpoints)
    finally:
        temporary.unlink(missing_ok=True)
    return final.name


def frozen_name(file: Path) -> str:
    """What a file of frozen weights is called: after what is in it."""
    return f"frozen-{digest(file)[:32]}.safetensors"


def write_tensors(tensors: dict[str, Tensor], file: Path) -> None:
    """A safetensors file; what the system refuses is an `OSError`, which the library only tells in its message."""
    try:
        save_file(tensors, file)
    except SafetensorError as problem:
        told = re.search(r"os error (\d+)", str(problem))
        if told is None:
            raise
        raise OSError(int(told[1]), os.strerror(int(told[1])), str(file)) from problem


def point(run: Run, name: str, checkpoint: Checkpoint, **facts: Any) -> None:
    """Let `best` or `last` name a checkpoint, with what is known of it."""
    write_json(run.checkpoints / f"{name}.json", {"checkpoint": checkpoint.path.name, **facts})


def point_to(run: Run, checkpoint: Checkpoint) -> None:
    """Let `last`, and `best` if it was, name a checkpoint, as its own record says: a crash between its renaming and
    theirs is made good by calling this again."""
    for name, facts in checkpoint.record().get("pointers", {}).items():
        point(run, name, checkpoint, **facts)


def pointed(run: Run, name: str) -> tuple[Checkpoint, Record]:
    """The checkpoint that `best` or `last` names."""
    file = run.checkpoints / f"{name}.json"
    if not file.exists():
        raise ConfigError(f"{run.path} has no {name} checkpoint yet; train it further")
    facts = json.loads(file.read_text(encoding="utf-8"))
    return Checkpoint(run.checkpoints / facts["checkpoint"]), facts


def newest(run: Run) -> Checkpoint | None:
    """The latest checkpoint that is intact; half-written ones are cleared away."""
    for rest in run.checkpoints.glob(".step-*"):
        shutil.rmtree(rest, ignore_errors=True)
    for file in run.checkpoints.glob(".frozen.*"):
        file.unlink()
    for path in reversed(in_order(run)):
        if Checkpoint(path).intact():
            return Checkpoint(path)
    return None


def in_order(run: Run) -> list[Path]:
    """The folders of all checkpoints, oldest first."""
    return sorted(run.checkpoints.glob("step-*"), key=lambda path: int(path.name.removeprefix("step-")))


def prune(run: Run, keep: int) -> None:
    """Delete all but the last `keep` checkpoints and those that `best` and `last` name."""
    named = set()
    for name in ("best", "last"):
        if (run.checkpoints / f"{name}.json").exists():
            named.add(pointed(run, name)[0].path)
    for path in in_order(run)[: -keep or None]:
        if path not in named:
            shutil.rmtree(path, ignore_errors=True)
    needed: set[Path] = set()
    for path in in_order(run):
        with contextlib.suppress(OSError, ValueError):  # a damaged one, which nobody can use
            needed.update(Checkpoint(path).weight_files())
    for file in set(run.checkpoints.glob("frozen-*")) - needed:
        file.unlink()


def digest(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sync_file(file: Path) -> None:
    """Force a file to the disk."""
    handle = os.open(file, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def flatten(state: State, prefix: str = "state") -> dict[str, Tensor]:
    """The tensors of a state by their place in it, such as `state.0.1`."""
    if state is None:
        return {}
    if isinstance(state, Tensor):
        return {prefix: state}
    return {name: tensor for i, part in enumerate(state) for name, tensor in flatten(part, f"{prefix}.{i}").items()}


def unflatten(tensors: Tensors, like: State, prefix: str = "state") -> State:
    """The inverse of `flatten`, given a state of the same structure."""
    if like is None:
        return None
    if isinstance(like, Tensor):
        return tensors[prefix]
    return tuple(unflatten(tensors, part, f"{prefix}.{i}") for i, part in enumerate(like))
