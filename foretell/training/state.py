"""The state of a trainer in a checkpoint, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foretell.training import checkpoint
from foretell.training.checkpoint import Checkpoint
from foretell.training.log_sums import LogSums
from foretell.training.state_dict import load_optimizer, load_weights, optimizer_tensors, parted, trained_names
from foretell.types import map_state

if TYPE_CHECKING:
    from foretell.training.trainer import Trainer


def save(trainer: Trainer, improved: bool) -> Checkpoint:
    """Write a checkpoint of everything that has to survive an interruption."""
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
            "carried": checkpoint.flatten(trainer.state),
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
    """Take from a checkpoint: "model", "optimizer", "schedule", "averager", "state"."""
    stage, record = trainer.stage, saved.record()
    if "model" in parts:
        load_weights(stage.objective, saved.weights())
        stage.objective.load_penalties(saved.tensors("penalties"))
    if "optimizer" in parts:
        load_optimizer(stage.optimizer, saved.tensors("optimizer"))
        if trainer.scaler is not None and record.get("scaler"):
            trainer.scaler.load_state_dict(record["scaler"])
    if "schedule" in parts:
        stage.schedule.load_state_dict(record["schedule"])
    if "averager" in parts:
        averaged = saved.tensors("averaged")
        names = trained_names(stage.objective)
        means = [averaged[name].to(trainer.device) for name in names] if averaged else []
        stage.averager.load_state_dict(record["averager"], means)
        trainer.window = LogSums(**record["window"])
    if "state" in parts:
        tensors = saved.tensors("carried")
        carried = checkpoint.unflatten(tensors, stage.objective.backbone.initial_state(1)) if tensors else None
        trainer.state = map_state(lambda tensor: tensor.to(trainer.device), carried)
