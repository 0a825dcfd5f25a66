"""Save and restore the state of a trainer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from foretell.checksums import damaged
from foretell.run import Record, is_number
from foretell.training import checkpoint
from foretell.training.checkpoint import RECORD, Checkpoint
from foretell.training.log_sums import LogSums
from foretell.training.state_dict import load_optimizer, load_weights, optimizer_tensors, parted, trained_names
from foretell.training.tensor_files import flatten, unflatten
from foretell.types import map_state

if TYPE_CHECKING:
    from foretell.training.trainer import Trainer


def save(trainer: Trainer, improved: bool) -> Checkpoint:
    """Write a checkpoint of the complete training state."""
    stage, position = trainer.stage, trainer.position
    names, (trained, frozen) = trained_names(stage.objective), parted(stage.objective)
    if trainer.frozen_file == "":
        trainer.frozen_file = checkpoint.keep_frozen(trainer.run, frozen)
    facts = {"step": position.step, "weights": "averaged" if stage.averager.means else "raw"}
    pointers = {"last": facts} | ({"best": {**facts, "loss": position.best}} if improved else {})
    return checkpoint.save(
        trainer.run,
        position.step,
        {
            "model": trained,
            "averaged": dict(zip(names, stage.averager.means, strict=False)),
            "optimizer": optimizer_tensors(stage.optimizer),
            "penalties": stage.objective.penalty_tensors(),
            "carried": flatten(trainer.state),
        },
        {
            "pointers": pointers,
            "validation": trainer.validated if trainer.validated.get("step") == position.step else {},
            "frozen": trainer.frozen_file,
            "position": vars(position),
            "schedule": stage.schedule.state_dict(),
            "averager": stage.averager.state_dict(),
            "scaler": trainer.scaler.state_dict() if trainer.scaler else {},
            "window": trainer.window.state_dict(),
        },
    )


def restore(trainer: Trainer, saved: Checkpoint, parts: frozenset[str]) -> None:
    """Restore from a checkpoint any of "model", "optimizer", "schedule", "averager", "state"."""
    stage = trainer.stage
    if "model" in parts:
        load_weights(stage.objective, saved.weights())
        stage.objective.load_penalties(saved.tensors("penalties"))
    if "optimizer" in parts:
        load_optimizer(stage.optimizer, saved.tensors("optimizer"))
        if trainer.scaler is not None and saved.record().get("scaler"):
            trainer.scaler.load_state_dict(state_of(saved, "scaler", trainer.scaler.state_dict()))
    if "schedule" in parts:
        stage.schedule.load_state_dict(state_of(saved, "schedule", stage.schedule.state_dict()))
    if "averager" in parts:
        averaged = saved.tensors("averaged")
        names = trained_names(stage.objective)
        means = [averaged[name].to(trainer.device) for name in names] if averaged else []
        stage.averager.load_state_dict(state_of(saved, "averager", stage.averager.state_dict()), means)
        trainer.window = LogSums(**state_of(saved, "window", LogSums().state_dict()))
    if "state" in parts:
        tensors = saved.tensors("carried")
        carried = unflatten(tensors, stage.objective.backbone.initial_state(1)) if tensors else None
        trainer.state = map_state(lambda tensor: tensor.to(trainer.device), carried)


def state_of(saved: Checkpoint, section: str, like: Mapping[str, Any]) -> Record:
    """A section of a checkpoint's record: the keys of `like`, with values of the same types."""
    found = saved.record().get(section)
    kept = {key: found[key] for key in like if key in found} if isinstance(found, dict) else None
    if kept is None or not all(fits(value, like[key]) for key, value in kept.items()):
        raise damaged(saved.path / RECORD, f"does not hold the state of the {section}")
    return kept


def fits(value: Any, like: Any) -> bool:
    """Whether a value has the type of another; None: unknown so far."""
    if isinstance(like, dict):
        return isinstance(value, dict) and all(map(is_number, value.values()))
    if isinstance(like, list):
        return isinstance(value, list) and all(map(is_number, value))
    if isinstance(like, bool | str):
        return isinstance(value, type(like))
    if isinstance(like, int):
        return isinstance(value, int) and is_number(value) and value >= 0
    return is_number(value) or (like is None and value is None)
