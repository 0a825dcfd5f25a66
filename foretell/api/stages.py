"""A stage of training, assembled from a recipe and its data."""

from __future__ import annotations

from dataclasses import asdict

import torch

from foretell.api.initialisation import load_initial
from foretell.data.batches.batches import Batches
from foretell.evaluate.evaluator import Evaluator
from foretell.learning.data_module import DataModule
from foretell.models.activation_checkpointing import recompute_blocks
from foretell.nn.vocabulary import Counts
from foretell.objectives.objective import Objective
from foretell.recipe.loading import recipe_of
from foretell.recipe.recipe import Recipe, StageConfig
from foretell.run import Run
from foretell.training import checkpoint
from foretell.training.stage import Stage
from foretell.training.state_dict import load_weights
from foretell.training.trainer import Trainer


def build_stage(
    stage: StageConfig, recipe: Recipe, data: DataModule, device: torch.device, counts: Counts | None
) -> Stage:
    """Everything a stage works with; `counts` [V] is how often each token occurs."""
    objective = recipe.build(data.tokenizer.size, counts, len(data.labels)).to(device)
    recipe.trainable.prepare(objective)
    evaluator = data.evaluator(objective, device)
    evaluator.check("valid")
    return assemble_stage(
        recipe, objective, data.batches(), evaluator, name=stage.name, bytes_per_token=data.bytes_per_token
    )


def assemble_stage(
    recipe: Recipe,
    objective: Objective,
    batches: Batches,
    evaluator: Evaluator,
    *,
    name: str,
    bytes_per_token: float | None = None,
) -> Stage:
    """A stage around an objective, whatever its batches and its validation are made of."""
    if recipe.training.recompute:
        recompute_blocks(objective)
    if recipe.training.compile:
        objective.backbone.compile()
    parameters = [p for p in objective.parameters() if p.requires_grad]
    return Stage(
        name=name,
        objective=objective,
        batches=batches,
        evaluator=evaluator,
        optimizer=recipe.optimizer.build(parameters, objective.layer_depths()),
        schedule=recipe.schedule.build(),
        averager=recipe.averaging.build(parameters),
        limit=recipe.limit,
        training=recipe.training,
        saving=recipe.checkpoint,
        validate_every=recipe.evaluation.every,
        bytes_per_token=bytes_per_token,
        rate_of_rows=recipe.optimizer.batch_scaling.factor,
    )


def begin_stage(trainer: Trainer, run: Run, recipe: Recipe, stage: StageConfig, data: DataModule) -> None:
    """Load weights and other state from the run's own checkpoint, the stage before, or another run."""
    at, objective = trainer.position, trainer.stage.objective
    if frozen := sum(p.numel() for p in objective.parameters() if not p.requires_grad):
        every = sum(p.numel() for p in objective.parameters())
        trainer.monitor.say(f"{every - frozen:,} of {every:,} parameters are trained")
    if at.stage_step > 0:
        latest = checkpoint.newest(run)
        assert latest is not None  # it was found before the stage was built
        trainer.restore(latest, frozenset({"model", "optimizer", "schedule", "averager", "state"}))
    elif at.stage > 0:
        before, _ = checkpoint.pointed(run, stage.start)
        _, earlier = recipe_of(run).resolved_stages()[before.position().stage]
        same = earlier.trainable == recipe.trainable  # else adapters become part of the weights they adapt
        load_weights(objective, before.result() if same else earlier.trainable.merged(before.result()))
        trainer.restore(before, frozenset(stage.keep))
    else:
        data.check_batches(objective, trainer.stage.batches)
        place = {"stage": stage.name, "step": at.step, "epoch": 0.0}
        if account := trainer.stage.batches.accounting():
            trainer.monitor.say(str(account))
            trainer.record({"kind": "rows", **place, **asdict(account), "padding": account.padding})
        if facts := data.facts():
            trainer.record({"kind": "data", **place, **facts})
        if begun := load_initial(objective, recipe, data.tokenizer, trainer.monitor, data.labels):
            trainer.record({"kind": "init", **place, **begun})
