"""Training: from a recipe to a run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foretell.api.trained import Trained, load
from foretell.data.batches.batches import Batches
from foretell.data.batches.framing import ExamplesConfig
from foretell.data.opening import open_corpus
from foretell.data.preparing import prepared
from foretell.data.store.store import Store, is_store, load_counts, save_counts
from foretell.data.tokenizers.tokenizer import Tokenizer, tokenizer_of
from foretell.errors import ConfigError
from foretell.evaluate import objective_metrics
from foretell.evaluate.scoring import (
    NeuralScorer,
    NGramScorer,
    expected_seconds,
    metrics,
    total,
)
from foretell.examples import Examples, keep_names, load_names
from foretell.models import kneser_ney
from foretell.models.ngram import NGram, NGramConfig
from foretell.nn.initializers import on_paper
from foretell.nn.vocabulary import Counts, token_rows
from foretell.objectives.objective import Objective
from foretell.recipe.loading import load_recipe, recipe_names, recipe_of
from foretell.recipe.recipe import Recipe, StageConfig
from foretell.run import Record, Run
from foretell.tasks.predictor import Predictor
from foretell.tasks.task import Task
from foretell.texts import evaluation_rows, evaluation_windows
from foretell.training import checkpoint
from foretell.training.activation_checkpointing import recompute_blocks
from foretell.training.checkpoint import TrainState
from foretell.training.devices import device_of
from foretell.training.monitor import Monitor
from foretell.training.state_dict import load_weights, weights
from foretell.training.trackers import open_trackers
from foretell.training.trainer import Stage, Trainer
from foretell.training.vocabulary_transfer import carry_over, match, move_between_bands
from foretell.trust import keeps_key, state_folder


class Interrupted(Exception):
    """Training was stopped by a signal, after saving; `run` goes on from there with `resume`."""

    def __init__(self, run: Run):
        super().__init__(f"interrupted; saved in {run.path}, go on with --resume")
        self.run = run


def train(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    quiet: bool = False,
    device: torch.device | str | None = None,
    **overrides: Any,
) -> Trained:
    """Train a recipe (a shipped name, a path, tables) and return the run, opened.

    Overrides are dotted names with `__` for the dot, or tables: `model__layers=2`, `model={"layers": 2}`. `out` is
    the run folder (default: `runs/` and the recipe's name). Raises `ConfigError` for wrong input, `Diverged` when the
    loss is lost, `Interrupted` after a signal.
    """
    settings = {key.replace("__", "."): value for key, value in overrides.items()}
    resolved = load_recipe(recipe, settings)
    return run_recipe(resolved, out or Path("runs") / (resolved.name or "run"), resume, quiet, device)


def run_recipe(
    recipe: Recipe, out: str | Path, resume: bool, quiet: bool, device: torch.device | str | None = None
) -> Trained:
    """All stages of a resolved recipe, from the beginning or from the newest checkpoint."""
    if recipe.trials():
        raise ConfigError("seeds and folds make several runs: call foretell.trials, or leave them out")
    if not resume:
        try_out(recipe)  # before there is a folder with a recipe that cannot be trained
    with Run(out).alone():
        run = Run.create(out, recipe=recipe.text(Path(out)), resume=resume)
        try:
            return run_stages(recipe, run, quiet, device)
        except BaseException:
            run.discard_if_empty()
            raise


def try_out(recipe: Recipe) -> None:
    """A `ConfigError` where a recipe cannot be trained: the run that it begins with is opened, text is looked for, and
    the examples of a task are read, one is framed, a model is made on paper."""
    first = recipe.resolved_stages()[0][1]
    if first.init:
        open_initial(first)
    if not first.is_task:
        if not is_store(first.data.corpus):
            open_corpus(first.data.corpus).source("train")
        return
    source = Examples(first)
    source.task.rows(source.train[:1], source.framing(source.tokenizer), source.names)
    with on_paper():
        first.build(source.tokenizer.size, labels=len(source.names))


def run_stages(recipe: Recipe, run: Run, quiet: bool, device: torch.device | str | None) -> Trained:
    """The stages that the run has not finished yet."""
    place = device_of(device)
    monitor = Monitor(quiet=quiet)
    saved, skipped = checkpoint.to_resume(run)
    for problem in skipped:
        monitor.say(f"warning: {problem}; set aside")
    position = saved.position() if saved else TrainState()
    run.rewind(position.step if saved else -1)
    stages = recipe.resolved_stages()
    if saved and position.finished and position.stage == len(stages) - 1:
        monitor.say(f"finished already, at step {position.step}")
    elif saved:
        run.note_resumed()
        monitor.say(f"going on after step {position.step}")
    elif not keeps_key():
        monitor.say(
            f"warning: no key can be kept in {state_folder()}: later this run counts as made elsewhere (--trust)"
        )
    if not saved and (clocked := recipe.on_the_clock()):
        monitor.say(f"{', '.join(clocked)}: places in seconds, so equal seeds do not give equal weights")
        run.append({"kind": "clock", "stage": stages[0][0].name, "step": 0, "epoch": 0.0, "settings": clocked})
    for number, (stage_config, settings) in enumerate(stages):
        if number < position.stage or (number == position.stage and position.finished):
            continue
        source = open_source(run, settings, monitor)
        if number > position.stage or position.finished:
            alike = settings.measures_like(stages[position.stage][1])  # or an earlier best is none of this stage
            position = TrainState(stage=number, step=position.step, best=position.best if alike else math.inf)
        if isinstance(settings.model, NGramConfig):
            assert isinstance(source, Store)
            fit(run, settings, settings.model, source, monitor)
            break
        torch.manual_seed(settings.seed)
        tokenizer, counts = tokenizer_of(run), load_counts(run.counts_file)
        stage = build_stage(stage_config, settings, source, tokenizer, place, counts)
        trackers = open_trackers(settings.training.log_to, run.path, position.step)
        trainer = Trainer(run, stage, position, seed=settings.seed, monitor=monitor, trackers=trackers)
        try:
            begin_stage(trainer, run, settings, stage_config)
            ending = trainer.train()
        finally:
            for tracker in trackers:
                tracker.close()
        if ending == "interrupted":
            raise Interrupted(run)
    return load(run.path, device=place, quiet=quiet, trust=True)  # its recipe was named by who called


def open_source(run: Run, recipe: Recipe, monitor: Monitor) -> Store | Examples:
    """What a recipe learns from, in tokens of the run's vocabulary; a new run takes over tokenizer, counts and labels.

    A `ConfigError` where the run has learned from another text.
    """
    tokenizer = tokenizer_of(run) if run.holds(run.tokenizer_file) else None
    source = load_source(recipe, monitor, tokenizer)
    run.keep_corpus_fingerprint(recipe.data.corpus, source.texts)
    if tokenizer is None:
        source.tokenizer.save(run.tokenizer_file)
        run.seal(run.tokenizer_file)
    if not run.holds(run.counts_file) and not isinstance(recipe.model, NGramConfig):
        save_counts(run.counts_file, initial_counts(recipe, source))
        run.seal(run.counts_file)
    if isinstance(source, Examples):
        keep_names(run, source.names)
    return source


def fit(run: Run, recipe: Recipe, config: NGramConfig, store: Store, monitor: Monitor) -> None:
    """The one branch for models that are counted, not trained by gradient: all at once, saved when done."""
    begin, tokenizer = time.monotonic(), tokenizer_of(run)
    text, valid = store.split("train"), store.split("valid")
    anew = {"documents": text.documents, "lines": text.lines}.get(recipe.data.batches.kind, np.zeros(0, dtype=np.int64))
    tokens = text.tokens[: int(recipe.limit.value)] if recipe.limit.unit == "tokens" else text.tokens
    anew = np.asarray(anew[:-1])
    monitor.say(f"counting n-grams of {len(tokens):,} tokens")
    model = config.fit(tokens, anew[anew < len(tokens)], tokenizer.boundary, tokenizer.size)
    unit = "line" if tokenizer.ends_lines or recipe.data.batches.kind == "lines" else "document"
    for line in kneser_ney.told(model.reports, unit):
        monitor.say(line)
    place = {"stage": "counting", "step": 0, "epoch": 1.0}
    counted = {"tokens": len(tokens), "seconds": time.monotonic() - begin}
    run.append({"kind": "fit", **place, **counted, "orders": [vars(report) for report in model.reports]})
    windows = evaluation_windows(recipe, None, valid, tokenizer.specials, recipe.evaluation.columns)
    measured = metrics(total(NGramScorer(model, ranks=False), windows, torch.device("cpu")), valid)
    validation = {"kind": "valid", **place, **measured}
    run.append(validation)
    monitor.say(f"validation perplexity {measured['perplexity']:.2f}  {measured['bits_per_byte']:.4f} bits/byte")
    save_finished(run, model.tensors(), validation)


def save_finished(run: Run, tensors: Mapping[str, Tensor], validation: Record | None = None) -> None:
    """A model that is complete as it is, as the run's only checkpoint."""
    facts = {"step": 0, "weights": "raw"}
    record = {"pointers": {"last": facts, "best": facts}, "position": vars(TrainState(finished=True))}
    checkpoint.save(run, 0, {"model": tensors}, {**record, "validation": validation or {}})


def begin_stage(trainer: Trainer, run: Run, recipe: Recipe, stage: StageConfig) -> None:
    """Weights and whatever else goes on: from the run's own checkpoint, the stage before, or another run."""
    position = trainer.position
    if held := sum(p.numel() for p in trainer.stage.objective.parameters() if not p.requires_grad):
        whole = sum(p.numel() for p in trainer.stage.objective.parameters())
        trainer.monitor.say(f"{whole - held:,} of {whole:,} parameters are trained")
    if position.stage_step > 0:
        latest = checkpoint.newest(run)
        assert latest is not None  # it was found before the stage was built
        trainer.restore(latest, frozenset({"model", "optimizer", "schedule", "averager", "state"}))
    elif position.stage > 0:
        before, _ = checkpoint.pointed(run, stage.start)
        _, earlier = recipe_of(run).resolved_stages()[before.position().stage]
        same = earlier.tuning == recipe.tuning  # or adapters become part of the weights they are beside
        load_weights(trainer.stage.objective, before.result() if same else earlier.tuning.merged(before.result()))
        trainer.restore(before, frozenset(stage.keep))
    else:
        tokenizer = tokenizer_of(run)
        if not recipe.is_task and not trainer.is_causal_lm:
            objective_metrics.check_targets(trainer.stage.objective, trainer.stage.batches, "train")
        if account := trainer.stage.batches.accounting():
            trainer.monitor.say(str(account))
            place = {"stage": stage.name, "step": position.step, "epoch": 0.0}
            trainer.record({"kind": "rows", **place, **asdict(account), "padding": account.padding})
        names = load_names(run.labels_file) if recipe.is_task else ()
        if begun := load_initial(trainer.stage.objective, recipe, tokenizer, trainer.monitor, names):
            trainer.record({"kind": "init", "stage": stage.name, "step": position.step, "epoch": 0.0, **begun})


def load_initial(
    objective: Objective, recipe: Recipe, tokenizer: Tokenizer, monitor: Monitor, names: Sequence[str] = ()
) -> Record | None:
    """The weights of the run that `init` names, if it names one, and what became of its vocabulary."""
    if not recipe.init:
        return None
    other = open_initial(recipe)
    matching = match(tokenizer, other.tokenizer)
    same = tokenizer.fingerprint == other.tokenizer.fingerprint
    had, has = ({}, {}) if same else (token_rows(other.objective), token_rows(objective))
    mine = weights(objective)
    shared = shared_by(recipe, mine, other, names)
    carried = carry_over(shared, had, has, matching)
    # of another shape are the entries of bands, where the frequencies of this text make more or fewer of them
    taken = {name: tensor for name, tensor in carried.items() if tensor.shape == mine[name].shape}
    begun = {name: tensor.detach().clone() for name, tensor in mine.items()} | taken
    if not same:
        matching = move_between_bands(begun, shared, other.objective, objective, matching)
    load_weights(objective, begun)
    monitor.say(f"from {recipe.init}, step {other.facts['step']}, {other.facts['weights']} weights: {matching}")
    new, left = (sorted(names) for names in (mine.keys() - taken.keys(), other.weights.keys() - taken.keys()))
    if new and not recipe.is_task:
        monitor.say(f"not in {recipe.init}, or of another shape, and begun as for training: {', '.join(new)}")
    facts = {"init": recipe.init, "init_step": other.facts["step"], "weights": other.facts["weights"]}
    return facts | {"new_weights": new, "left_weights": left} | matching.counts


def shared_by(recipe: Recipe, mine: Mapping[str, Tensor], other: Trained, names: Sequence[str]) -> Mapping[str, Tensor]:
    """The weights of another run that go on here: what both have; of a task the outputs only where the task is the same
    and says the same."""
    if not recipe.is_task:
        return {name: tensor for name, tensor in other.weights.items() if name in mine}
    alike = other.names == tuple(names) and other.settings.objective.kind == recipe.objective.kind

    def goes_on(name: str, tensor: Tensor) -> bool:
        if name.startswith(("backbone.", "head.")):
            return name in mine
        return name in mine and tensor.shape == mine[name].shape and (alike or not name.startswith("outputs."))

    return {name: tensor for name, tensor in other.weights.items() if goes_on(name, tensor)}


def open_initial(recipe: Recipe) -> Trained:
    """The run that `init` names; a `ConfigError` when the recipe's model cannot begin as that one ended."""
    path = Path(recipe.init)
    if not path.exists() and path.name in recipe_names():
        raise ConfigError(
            f"init: {path} is not there yet; make it with foretell train {path.name}, or name another run: init=RUN"
        )
    other = load(path, device="cpu")
    if isinstance(other.model, NGram):
        raise ConfigError(
            f"init: {recipe.init} is an n-gram model, which is counted and cannot be trained further; "
            "name a run of another model, or leave init out"
        )
    if odd := first_difference(recipe, other.settings):
        raise ConfigError(
            f"init: {recipe.init} has another architecture: {odd}; "
            f"take its recipe: foretell train {recipe.init} init={recipe.init} data.corpus=…"
        )
    return other


ANY_SIZE = 2**20
"""of a vocabulary, where it does not matter"""


def shape_of(tensor: Tensor) -> str:
    """A shape in words, the size of the vocabulary by name."""
    return f"({', '.join('tokens' if size == ANY_SIZE else str(size) for size in tensor.shape)})"


def first_difference(here: Recipe, there: Recipe) -> str:
    """The first tensor that only one of two models has, or each in another shape; the vocabularies do not matter.

    What an objective has beside backbone and head, for pairs of texts say, may be there in one alone. A task takes over
    what reads texts, and what predicts their tokens where it goes on doing so.
    """
    with on_paper():  # which computes shapes and holds no numbers
        mine, its = ({name: shape_of(t) for name, t in weights(r.build(ANY_SIZE)).items()} for r in (here, there))
    if here.is_task:
        wanted = [name for name in mine if name.startswith(("backbone.", "head."))]
        whole = [name for name in its if name.startswith("backbone.")]
    else:
        wanted = [name for name in mine if name in its or name.startswith(("backbone.", "head."))]
        whole = [name for name in its if name.startswith(("backbone.", "head."))]
    for name in [*wanted, *whole]:
        if mine.get(name) != its.get(name):
            return f"{name} is {its.get(name, 'absent')} there and {mine.get(name, 'absent')} here"
    return ""


def load_source(recipe: Recipe, monitor: Monitor, tokenizer: Tokenizer | None = None) -> Store | Examples:
    """What a recipe learns from, prepared text or the examples of its task, in tokens of that tokenizer or of the one
    that the recipe says."""
    return Examples(recipe, tokenizer) if recipe.is_task else load_data(recipe, monitor, tokenizer)


def load_data(recipe: Recipe, monitor: Monitor, tokenizer: Tokenizer | None = None) -> Store:
    """The prepared text of a recipe, in tokens of that tokenizer or of the one that the recipe says."""
    said = time.monotonic()

    def progress(split: str, size: int, tokens: int) -> None:
        nonlocal said
        if time.monotonic() - said > 5:
            said = time.monotonic()
            monitor.say(f"preparing {split}: {size / 1e6:,.0f} MB of text, {tokens:,} tokens")

    return prepared(recipe.data.corpus, tokenizer or recipe.data.tokenizer, progress)


def initial_counts(recipe: Recipe, source: Store | Examples) -> Counts:
    """How often each token occurs in the training split, or did in that of the run that `init` names.

    What was learnt there is laid out by its counts, and goes on where the vocabulary is the same.
    """
    if recipe.init:
        other = Run.open(recipe.init)
        counts = load_counts(other.counts_file)
        if counts is not None and tokenizer_of(other).fingerprint == source.tokenizer.fingerprint:
            return counts
    if isinstance(source, Examples):
        return source.token_counts(source.tokenizer)
    return source.split("train").token_counts(source.tokenizer.size)


def build_stage(
    stage: StageConfig,
    recipe: Recipe,
    source: Store | Examples,
    tokenizer: Tokenizer,
    device: torch.device,
    counts: Counts | None,
) -> Stage:
    """Everything a stage works with, from prepared text or examples."""
    if isinstance(source, Examples):
        return build_task_stage(stage, recipe, source, tokenizer, device, counts)
    objective = recipe.build(tokenizer.size, counts).to(device)
    recipe.tuning.prepare(objective)
    assert not isinstance(recipe.data.batches, ExamplesConfig)  # as the recipe has made sure
    text, valid = source.split("train"), source.split("valid")
    batches = recipe.data.batches.build(text, tokenizer.specials, recipe.seed)
    assemble = partial(
        assemble_stage,
        recipe,
        objective,
        name=stage.name,
        bytes_per_token=text.counts.bytes / text.counts.tokens,
    )
    if not objective.is_causal_lm:
        rows = evaluation_rows(recipe, tokenizer, valid)
        objective_metrics.check_targets(objective, rows, "valid")
        return assemble(
            grown(recipe, recipe.objective.batches(batches, tokenizer, recipe.seed)),
            lambda: objective_metrics.measure(objective, rows, device),
            lambda: objective_metrics.expected_seconds(objective, rows, device),
        )
    windows = evaluation_windows(recipe, objective.backbone, valid, tokenizer.specials, recipe.evaluation.columns)
    scorer = NeuralScorer(objective.backbone, objective.head, ranks=False)
    return assemble(
        grown(recipe, batches),
        lambda: metrics(total(scorer, windows, device), valid),
        lambda: expected_seconds(scorer, windows, device),
    )


def build_task_stage(
    stage: StageConfig,
    recipe: Recipe,
    source: Examples,
    tokenizer: Tokenizer,
    device: torch.device,
    counts: Counts | None,
) -> Stage:
    """The same of a task, which is validated by its metric."""
    objective = recipe.build(tokenizer.size, counts, len(source.names)).to(device)
    recipe.tuning.prepare(objective)
    assert isinstance(objective, Task)  # as the recipe has made sure
    telling = Predictor(source.task, objective, source.framing(tokenizer), source.names, device)
    return assemble_stage(
        recipe,
        objective,
        grown(recipe, source.batches(tokenizer)),
        lambda: dict.fromkeys(objective_metrics.UNDEFINED) | telling.measure(source.valid),
        lambda: telling.expected_seconds(source.valid),
        name=stage.name,
        bytes_per_token=1.0,
    )


def grown(recipe: Recipe, batches: Batches) -> Batches:
    """The batches of a recipe, or growing ones made of them."""
    ramp, kind = recipe.data.ramp, recipe.data.batches
    return batches if ramp is None else ramp.build(batches, kind.batch * kind.length)


def assemble_stage(
    recipe: Recipe,
    objective: Objective,
    batches: Batches,
    validate: Callable[[], Record],
    validation_seconds: Callable[[], float] = lambda: 0.0,
    *,
    name: str,
    bytes_per_token: float,
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
        optimizer=recipe.optimizer.build(parameters, objective.layer_depths()),
        schedule=recipe.schedule.build(),
        averager=recipe.averaging.build(parameters),
        limit=recipe.limit,
        training=recipe.training,
        saving=recipe.checkpoint,
        validate=validate,
        validation_seconds=validation_seconds,
        validate_every=recipe.evaluation.every,
        bytes_per_token=bytes_per_token,
        rate_of_rows=recipe.optimizer.batch_scaling.factor,
    )
