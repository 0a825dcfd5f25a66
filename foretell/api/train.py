"""Training: from a recipe to a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from foretell.api.counting import count, open_counted
from foretell.api.initialisation import initial_counts, open_initial
from foretell.api.stages import begin_stage, build_stage
from foretell.api.trained import Trained, load_run
from foretell.data.store.store import load_counts, save_counts
from foretell.data.tokenizers.tokenizer import tokenizer_of
from foretell.errors import ConfigError
from foretell.learning.data_module import DataModule
from foretell.learning.kinds import data_module
from foretell.recipe.loading import load_recipe
from foretell.recipe.recipe import Recipe
from foretell.run import Run
from foretell.training import checkpoint
from foretell.training.callbacks import Callback
from foretell.training.checkpoint import TrainState
from foretell.training.devices import device_of
from foretell.training.monitor import Monitor
from foretell.training.trackers import Tracked, check_trackers, flat, open_trackers
from foretell.training.trainer import Trainer
from foretell.trust import keeps_key, state_folder


class Interrupted(Exception):
    """Training was stopped by a signal, after a checkpoint; `resume` continues `run`."""

    def __init__(self, run: Run):
        super().__init__(f"interrupted; saved in {run.path}, continue with --resume")
        self.run = run


def train(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    quiet: bool = False,
    device: torch.device | str | None = None,
    callbacks: Sequence[Callback] = (),
    **overrides: Any,
) -> Trained:
    """Train a recipe (a shipped name, a path, tables) and return the run, opened.

    Overrides are dotted names with `__` for the dot, or tables: `model__layers=2`, `model={"layers": 2}`. `out` is
    the run folder (default: `runs/` and the recipe's name). `callbacks` watch (see `Callback`). Raises
    `ConfigError` for invalid input, `Diverged` when the loss diverges, `Interrupted` after a signal.
    """
    settings = {key.replace("__", "."): value for key, value in overrides.items()}
    resolved = load_recipe(recipe, settings)
    return run_recipe(resolved, out or Path("runs") / (resolved.name or "run"), resume, quiet, device, callbacks)


def run_recipe(
    recipe: Recipe,
    out: str | Path,
    resume: bool,
    quiet: bool,
    device: torch.device | str | None = None,
    callbacks: Sequence[Callback] = (),
) -> Trained:
    """Run all stages of a recipe, from the beginning or from the newest checkpoint."""
    if recipe.trials():
        raise ConfigError("seeds and folds make several runs: call foretell.trials, or leave them out")
    if not resume:
        try_out(recipe)  # before a run folder exists
    with Run(out).alone():
        run = Run.create(out, recipe=recipe.text(Path(out)), resume=resume)
        try:
            return run_stages(recipe, run, quiet, device, callbacks)
        except BaseException:
            run.discard_if_empty()
            raise


def try_out(recipe: Recipe) -> None:
    """Raise `ConfigError` if a recipe cannot be trained: opens the run it starts from and its data."""
    first = recipe.resolved_stages()[0][1]
    if first.init:
        open_counted(first.init) if first.model.counted else open_initial(first)
    for _, stage in recipe.resolved_stages():
        check_trackers(stage.training.log_to)
    data_module(first).try_out()


def run_stages(
    recipe: Recipe, run: Run, quiet: bool, device: torch.device | str | None, callbacks: Sequence[Callback]
) -> Trained:
    """Run the remaining stages."""
    place = device_of(device)
    monitor = Monitor(quiet=quiet)
    saved, skipped = checkpoint.to_resume(run)
    for problem in skipped:
        monitor.say(f"warning: {problem}")
    position = saved.position() if saved else TrainState()
    run.rewind(position.step if saved else -1)
    stages = recipe.resolved_stages()
    if saved and position.finished and position.stage == len(stages) - 1:
        monitor.say(f"already finished, at step {position.step}")
    elif saved:
        run.note_resumed()
        monitor.say(f"resuming after step {position.step}")
    elif not keeps_key():
        monitor.say(f"warning: cannot store a key in {state_folder()}; later this run will need --trust")
    if not saved and (clocked := recipe.on_the_clock()):
        monitor.say(f"settings in seconds: {', '.join(clocked)}; the same seed will not give the same weights again")
        run.append({"kind": "clock", "stage": stages[0][0].name, "step": 0, "epoch": 0.0, "settings": clocked})
    if not saved and callbacks:  # the run says who watched
        names = [f"{type(callback).__module__}:{type(callback).__qualname__}" for callback in callbacks]
        run.append({"kind": "callbacks", "stage": stages[0][0].name, "step": 0, "epoch": 0.0, "names": names})
    for number, (stage_config, settings) in enumerate(stages):
        if number < position.stage or (number == position.stage and position.finished):
            continue
        data = open_data(run, settings, monitor)
        if number > position.stage or position.finished:
            alike = settings.measures_like(stages[position.stage][1])  # otherwise the best so far does not count
            best, part = (position.best, position.share) if alike else (math.inf, 1.0)
            columns = position.columns if alike else None
            position = TrainState(stage=number, step=position.step, best=best, columns=columns, share=part)
        if settings.model.counted:
            model = count(run, settings, data, monitor)
            run.trust = True  # the caller named its recipe
            return Trained(run, "best", place, quiet=quiet, counted=model)
        torch.manual_seed(settings.seed)
        stage = build_stage(stage_config, settings, data, place, load_counts(run.counts_file))
        tracked = Tracked(run.path, position.step, dict(flat(settings.tree())))
        trackers = open_trackers(settings.training.log_to, tracked)
        watching = [*trackers, *callbacks]
        trainer = Trainer(run, stage, position, seed=settings.seed, monitor=monitor, callbacks=watching)
        try:
            begin_stage(trainer, run, settings, stage_config, data)
            ending = trainer.train()
        finally:
            for tracker in trackers:
                tracker.close()
        if ending == "interrupted":
            raise Interrupted(run)
        if number == len(stages) - 1:
            for remark in data.closing_remarks(epochs_of(run)):
                monitor.say(f"warning: {remark}")
    return load_run(run.path, device=place, quiet=quiet, trust=True)  # the caller named its recipe


def epochs_of(run: Run) -> float:
    """How often all stages together have read the training split."""
    return float(sum({r["stage"]: r["epoch"] for r in run.metrics() if r["kind"] == "train"}.values()))


def open_data(run: Run, recipe: Recipe, monitor: Monitor) -> DataModule:
    """The data module of a recipe with the run's tokenizer; a new run stores tokenizer, counts and labels.

    Raises `ConfigError` if the run was trained on another text.
    """
    tokenizer = tokenizer_of(run) if run.holds(run.tokenizer_file) else None
    data = data_module(recipe, tokenizer, monitor)
    run.keep_corpus_fingerprint(recipe.data.corpus, data.fingerprints)
    if tokenizer is None:
        data.tokenizer.save(run.tokenizer_file)
        run.seal(run.tokenizer_file)
        for remark in data.remarks():
            monitor.say(f"warning: {remark}")
    if not run.holds(run.counts_file) and not recipe.model.counted:
        save_counts(run.counts_file, initial_counts(recipe, data))
        run.seal(run.counts_file)
    data.keep_labels(run, data.labels)
    return data
