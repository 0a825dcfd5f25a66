"""The Python interface: `train` a recipe, `load` a run and use it."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

from foretell.config import ConfigError, validate
from foretell.data.encoding import Tokenizer, load_tokenizer
from foretell.data.store import Split, Store, load_counts, prepared, save_counts
from foretell.data.streams import Windows
from foretell.evaluate.adaptation import Adaptation, AdaptationConfig, adapt
from foretell.evaluate.beam import Beam, Written, search_on
from foretell.evaluate.generate import Sampling, write_on
from foretell.evaluate.lines import Scored, score_texts
from foretell.evaluate.scoring import (
    NeuralScorer,
    NGramScorer,
    Scorer,
    TokenScores,
    Watch,
    expected_seconds,
    metrics,
    score_tokens,
    total,
    unwatched,
)
from foretell.models.backbone import Backbone
from foretell.models.ngram import NGram, NGramConfig
from foretell.nn.bands import ByFrequency
from foretell.nn.vocabulary import Counts, token_rows
from foretell.objectives.objective import Objective
from foretell.process import peak_memory
from foretell.recipe import Recipe, StageConfig, load_recipe
from foretell.run import Record, Run, write_atomic
from foretell.texts import OpenedText, adapting_windows, evaluation_windows
from foretell.training import checkpoint
from foretell.training.monitor import Monitor, reporting
from foretell.training.tensors import load_weights, weights
from foretell.training.trackers import open_trackers
from foretell.training.trainer import Position, Stage, Trainer
from foretell.training.transfer import carry_over, match
from foretell.types import Inputs


def default_device() -> torch.device:
    """The accelerator if there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


# --- training -------------------------------------------------------------------------------------


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
    first = recipe.resolved_stages()[0][1]
    if first.init and not resume:
        open_initial(first)  # before there is a folder with a recipe that cannot be trained
    with Run(out).alone():
        return run_stages(recipe, Run.create(out, recipe=recipe.text(), resume=resume), quiet, device)


def run_stages(recipe: Recipe, run: Run, quiet: bool, device: torch.device | str | None) -> Trained:
    """The stages that the run has not finished yet."""
    place = torch.device(device) if device else default_device()
    monitor = Monitor(quiet=quiet)
    saved = checkpoint.newest(run)
    position = Position(**saved.record()["position"]) if saved else Position()
    run.rewind(position.step if saved else -1)
    if saved:
        checkpoint.point_to(run, saved)
        monitor.say(f"going on after step {position.step}")
    stages = recipe.resolved_stages()
    for number, (stage_config, settings) in enumerate(stages):
        if number < position.stage or (number == position.stage and position.finished):
            continue
        store = load_data(settings, monitor)
        if not run.tokenizer_file.exists():
            write_atomic(run.tokenizer_file, (store.path / "tokenizer.json").read_bytes())
        if not run.counts_file.exists() and not isinstance(settings.model, NGramConfig):
            save_counts(run.counts_file, initial_counts(settings, store))
        if number > position.stage or position.finished:
            alike = settings.measures_like(stages[position.stage][1])  # or an earlier best is none of this stage
            position = Position(stage=number, step=position.step, best=position.best if alike else math.inf)
        if isinstance(settings.model, NGramConfig):
            fit(run, settings, settings.model, store, monitor)
            break
        torch.manual_seed(settings.seed)
        tokenizer, counts = load_tokenizer(run.tokenizer_file), load_counts(run.counts_file)
        stage = build_stage(stage_config, settings, store, tokenizer, place, counts)
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
    return load(run.path, device=place)


def fit(run: Run, recipe: Recipe, config: NGramConfig, store: Store, monitor: Monitor) -> None:
    """The one branch for models that are counted, not trained by gradient: all at once, saved when done."""
    begin, tokenizer = time.monotonic(), load_tokenizer(run.tokenizer_file)
    text, valid = store.split("train"), store.split("valid")
    anew = {"documents": text.documents, "lines": text.lines}.get(recipe.data.batches.kind, np.zeros(0, dtype=np.int64))
    tokens = text.tokens[: int(recipe.limit.value)] if recipe.limit.unit == "tokens" else text.tokens
    anew = np.asarray(anew[:-1])
    monitor.say(f"counting n-grams of {len(tokens):,} tokens")
    model = config.fit(tokens, anew[anew < len(tokens)], tokenizer.boundary, tokenizer.size)
    for report in model.reports:
        monitor.say(str(report))
    place = {"stage": "counting", "step": 0, "epoch": 1.0}
    counted = {"tokens": len(tokens), "seconds": time.monotonic() - begin}
    run.append({"kind": "fit", **place, **counted, "orders": [vars(report) for report in model.reports]})
    windows = evaluation_windows(recipe, None, valid, tokenizer.boundary, recipe.evaluation.columns)
    measured = metrics(total(NGramScorer(model, ranks=False), windows, torch.device("cpu")), valid)
    run.append({"kind": "valid", **place, **measured})
    monitor.say(f"validation perplexity {measured['perplexity']:.2f}  {measured['bits_per_byte']:.4f} bits/byte")
    save_counted(run, model)


def save_counted(run: Run, model: NGram) -> None:
    """A model that is complete as it is, as the run's only checkpoint."""
    facts = {"step": 0, "weights": "raw"}
    record = {"pointers": {"last": facts, "best": facts}, "position": vars(Position(finished=True))}
    checkpoint.point_to(run, checkpoint.save(run, 0, {"model": model.tensors()}, record))


def begin_stage(trainer: Trainer, run: Run, recipe: Recipe, stage: StageConfig) -> None:
    """Weights and whatever else goes on: from the run's own checkpoint, the stage before, or another run."""
    position = trainer.position
    if position.stage_step > 0:
        latest = checkpoint.newest(run)
        assert latest is not None
        trainer.restore(latest, frozenset({"model", "optimizer", "schedule", "averager", "state"}))
    elif position.stage > 0:
        before, _ = checkpoint.pointed(run, stage.start)
        load_weights(trainer.stage.objective, before.result())
        trainer.restore(before, frozenset(stage.keep))
    else:
        tokenizer = load_tokenizer(run.tokenizer_file)
        if begun := load_initial(trainer.stage.objective, recipe, tokenizer, trainer.monitor):
            trainer.record({"kind": "init", "stage": stage.name, "step": position.step, "epoch": 0.0, **begun})


def load_initial(objective: Objective, recipe: Recipe, tokenizer: Tokenizer, monitor: Monitor) -> Record | None:
    """The weights of the run that `init` names, if it names one, and what became of its vocabulary."""
    if not recipe.init:
        return None
    other = open_initial(recipe)
    matching = match(tokenizer, other.tokenizer)
    same = tokenizer.fingerprint == other.tokenizer.fingerprint
    had, has = ({}, {}) if same else (token_rows(other.objective), token_rows(objective))
    load_weights(objective, carry_over(other.weights, had, has, matching))
    monitor.say(f"from {recipe.init}, step {other.facts['step']}, {other.facts['weights']} weights: {matching}")
    return {"init": recipe.init, "init_step": other.facts["step"], "weights": other.facts["weights"], **matching.counts}


def open_initial(recipe: Recipe) -> Trained:
    """The run that `init` names; a `ConfigError` when the recipe's model cannot begin as that one ended."""
    other = load(recipe.init, device="cpu")
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


def first_difference(here: Recipe, there: Recipe) -> str:
    """The first tensor that only one of two models has, or each in another shape; the vocabularies do not matter."""
    with torch.device("meta"):  # which computes shapes and holds no numbers
        mine, its = ({name: tuple(t.shape) for name, t in weights(r.build(2**20)).items()} for r in (here, there))
    for name in [*mine, *its]:
        if mine.get(name) != its.get(name):
            return f"{name} is {its.get(name, 'absent')} there and {mine.get(name, 'absent')} here"
    return ""


def load_data(recipe: Recipe, monitor: Monitor) -> Store:
    """The prepared text of a recipe."""
    said = time.monotonic()

    def progress(split: str, size: int, tokens: int) -> None:
        nonlocal said
        if time.monotonic() - said > 5:
            said = time.monotonic()
            monitor.say(f"preparing {split}: {size / 1e6:,.0f} MB of text, {tokens:,} tokens")

    return prepared(recipe.data.corpus, recipe.data.tokenizer, progress)


def initial_counts(recipe: Recipe, store: Store) -> Counts:
    """How often each token occurs in the training split, or did in that of the run that `init` names.

    What was learnt there is laid out by its counts, and goes on where the vocabulary is the same.
    """
    if recipe.init:
        other = Run.open(recipe.init)
        counts = load_counts(other.counts_file)
        if counts is not None and load_tokenizer(other.tokenizer_file).fingerprint == store.tokenizer.fingerprint:
            return counts
    return store.split("train").token_counts(store.tokenizer.size)


def build_stage(
    stage: StageConfig,
    recipe: Recipe,
    store: Store,
    tokenizer: Tokenizer,
    device: torch.device,
    counts: Counts | None,
) -> Stage:
    """Everything a stage works with, from prepared text."""
    objective = recipe.build(tokenizer.size, counts).to(device)
    text, valid = store.split("train"), store.split("valid")
    windows = evaluation_windows(recipe, objective.backbone, valid, tokenizer.boundary, recipe.evaluation.columns)
    scorer = NeuralScorer(objective.backbone, objective.head, ranks=False)
    return assemble_stage(
        recipe,
        objective,
        recipe.data.batches.build(text, tokenizer.boundary, recipe.seed),
        lambda: metrics(total(scorer, windows, device), valid),
        lambda: expected_seconds(scorer, windows, device),
        name=stage.name,
        bytes_per_token=text.counts.bytes / text.counts.tokens,
    )


def assemble_stage(
    recipe: Recipe,
    objective: Objective,
    batches: Windows,
    validate: Callable[[], Record],
    validation_seconds: Callable[[], float] = lambda: 0.0,
    *,
    name: str,
    bytes_per_token: float,
) -> Stage:
    """A stage around an objective, whatever its batches and its validation are made of."""
    if recipe.training.compile:
        objective.backbone.compile()
    parameters = [p for p in objective.parameters() if p.requires_grad]
    return Stage(
        name=name,
        objective=objective,
        batches=batches,
        optimizer=recipe.optimizer.build(parameters),
        schedule=recipe.schedule.build(),
        averager=recipe.averaging.build(parameters),
        limit=recipe.limit,
        training=recipe.training,
        saving=recipe.checkpoint,
        validate=validate,
        validation_seconds=validation_seconds,
        validate_every=recipe.evaluation.every,
        bytes_per_token=bytes_per_token,
    )


# --- using a run ----------------------------------------------------------------------------------


def load(path: str | Path, *, which: str = "best", device: torch.device | str | None = None) -> Trained:
    """A run folder, opened for use with the weights of its `best` (or `last`) checkpoint."""
    return Trained(Run.open(path), which, torch.device(device) if device else default_device())


class Trained:
    """A trained language model: evaluate, score, generate, features."""

    adaptation: Adaptation | None = None
    """how it adapts to the text it is measured on; see `adapted`"""

    def __init__(self, run: Run, which: str, device: torch.device):
        self.run, self.device = run, device
        self.recipe = load_recipe(run.recipe_file)
        self.tokenizer = load_tokenizer(run.tokenizer_file)
        self.checkpoint, self.facts = checkpoint.pointed(run, which)
        if not self.checkpoint.intact():
            raise ConfigError(f"{self.checkpoint.path} is damaged; use another checkpoint with --which last")
        self.weights = self.checkpoint.result()
        _, self.settings = self.recipe.resolved_stages()[self.checkpoint.record()["position"]["stage"]]
        self.model: Objective | NGram
        if isinstance(self.settings.model, NGramConfig):
            self.model = NGram.load(self.weights, self.tokenizer.boundary)
            return
        counts = load_counts(run.counts_file)
        with torch.device(device):
            objective = self.settings.build(self.tokenizer.size, counts)
        if counts is None and any(isinstance(module, ByFrequency) for module in objective.modules()):
            raise ConfigError(
                f"{run.counts_file} is missing, by which the weights are laid out; bring it back from a copy"
            )
        load_weights(objective, self.weights)
        self.model = objective.eval().requires_grad_(False)

    @property
    def objective(self) -> Objective:
        """What was trained by gradient; a `ConfigError` for a model that was counted."""
        if isinstance(self.model, NGram):
            raise ConfigError(f"{self.run.path} is an n-gram model: it has no hidden vectors; name another run")
        return self.model

    @property
    def backbone(self) -> Backbone | None:
        """What reads tokens; None where nothing was trained by gradient."""
        return None if isinstance(self.model, NGram) else self.model.backbone

    @property
    def parameters(self) -> int:
        """How many numbers were trained or counted; shared ones count once."""
        if isinstance(self.model, NGram):
            return self.model.parameters
        return sum(p.numel() for p in self.model.parameters())

    def summary(self) -> Record:
        """The validation record of this checkpoint, with what it cost."""
        records = list(self.run.metrics())
        valid = [r for r in records if r["kind"] == "valid" and r["step"] == self.facts["step"]]
        trained = [r for r in records if r["kind"] in ("train", "fit")]
        seconds = sum({r["stage"]: r["seconds"] for r in trained}.values())
        tokens = sum({r["stage"]: r["tokens"] for r in trained}.values())
        return {
            "run": str(self.run.path),
            **(valid[-1] if valid else {}),
            "weights": self.facts["weights"],
            "parameters": self.parameters,
            "trained_tokens": tokens,
            "seconds": seconds,
            "validation_seconds": valid[-1]["seconds"] if valid else 0.0,
            "tokens_per_second": tokens / max(seconds, 1e-9),
            "peak_memory_bytes": peak_memory(),
        }

    def scorer(self, *, ranks: bool = True) -> Scorer:
        """The model as a scorer, with its adaptation; that tells no ranks."""
        if isinstance(self.model, NGram):
            return NGramScorer(self.model, ranks=ranks)
        neural = NeuralScorer(self.objective.backbone, self.objective.head, ranks=ranks)
        return neural if self.adaptation is None else self.adaptation.scorer(neural)

    def adapted(
        self,
        *,
        dynamic: bool | Mapping[str, Any] = False,
        cache: bool | Mapping[str, Any] = False,
        quiet: bool = False,
    ) -> Trained:
        """The model as one that adapts to the text it reads: by dynamic evaluation, a neural cache, or both.

        Each is `True` or settings of it (see `DynamicConfig` and `CacheConfig`); what is not given is found on the
        beginning of the validation split, now. `self` stays as it is. `quiet` says nothing on stderr.
        """
        given = {"dynamic": dynamic, "cache": cache}
        chosen = {name: {} if part is True else part for name, part in given.items() if part is not False}
        settings = validate(AdaptationConfig, chosen, "adaptation")
        neural = NeuralScorer(self.objective.backbone, self.objective.head, ranks=False)
        boundary, say = self.tokenizer.boundary, Monitor(quiet=quiet).say
        other = copy.copy(self)
        with ExitStack() as opened:
            other.adaptation = adapt(
                settings,
                neural,
                lambda: opened.enter_context(self.text("train")),
                lambda: adapting_windows(
                    self.settings, settings, opened.enter_context(self.text("valid")), boundary, 1
                ),
                boundary,
                self.device,
                say,
            )
        return other

    def watch(self) -> Watch:
        """What is told how far a pass is; only adaptation makes passes long."""
        return unwatched if self.adaptation is None else reporting(self.adaptation.say, str(self.run.path))

    def windows(self, text: Split, columns: int, batch: int | None) -> Windows:
        """One pass over a text; see `evaluation_windows`."""
        boundary = self.tokenizer.boundary
        if self.adaptation is None:
            return evaluation_windows(self.settings, self.backbone, text, boundary, columns, batch)
        return adapting_windows(self.settings, self.adaptation.settings, text, boundary, columns, batch)

    def evaluate(
        self,
        split: str = "test",
        *,
        batch: int | None = None,
        columns: int = 1,
        dynamic: bool | Mapping[str, Any] = False,
        cache: bool | Mapping[str, Any] = False,
    ) -> Record:
        """Measure a split of the run's corpus, or any text file.

        The state is carried over the whole text (or starts anew at each document or line, if training did so); with
        `columns` above 1 the text is cut into that many parts, which is faster and a little worse for the model
        (one with a bounded context needs none: its windows are computed side by side anyway).
        `batch` is how much is computed side by side and changes nothing but speed. `dynamic` and `cache` are those of
        `adapted`; columns then learn from each other.
        """
        if dynamic is not False or cache is not False:
            return self.adapted(dynamic=dynamic, cache=cache).evaluate(split, batch=batch, columns=columns)
        with self.text(split) as text:
            totals = total(self.scorer(), self.windows(text, columns, batch), self.device, self.watch())
            measured = metrics(totals, text)
        return {
            "run": str(self.run.path),
            "split": split,
            **measured,
            "context": self.context(columns),
            **({"adaptation": self.adaptation.record} if self.adaptation else {}),
            "weights": self.facts["weights"],
            "step": self.facts["step"],
            "parameters": self.parameters,
            "peak_memory_bytes": peak_memory(),
        }

    def context(self, columns: int) -> str:
        """What a token was predicted from, in words."""
        plain = self._plain_context(columns)
        return plain if self.adaptation is None else f"{plain}, {self.adaptation}"

    def _plain_context(self, columns: int) -> str:
        kind, model = self.settings.data.batches.kind, self.backbone
        reset = f"state reset at {kind}" if kind in ("documents", "lines") else ""
        if model is not None and model.context is not None:
            windows = f"windows of {model.context} tokens that overlap by {model.overlap}"
            return f"{reset}, {windows}" if reset else windows
        if reset:
            return reset
        return "carried state" if columns == 1 else f"carried state in {columns} columns"

    def text(self, split: str) -> OpenedText:
        """A split of the run's corpus, or of a file, as tokens of this run's vocabulary."""
        return OpenedText(self.recipe.data, self.tokenizer, split)

    def token_scores(
        self, text: Split, *, batch: int | None = None, columns: int = 1, ranks: bool = True
    ) -> TokenScores:
        """What `evaluate` sums up, token by token; `text` holds tokens of this run's vocabulary."""
        windows = self.windows(text, columns, batch)
        return score_tokens(self.scorer(ranks=ranks), windows, self.device, self.watch())

    def score(self, texts: Sequence[str]) -> list[Scored]:
        """Each text's log-probability, from a fresh state; many are computed side by side."""
        return score_texts(self.scorer(ranks=False), self.tokenizer, texts, self.device)

    def stream(self, prompt: str = "", tokens: int = 200, **sampling: Any) -> Iterator[str]:
        """Text that follows the prompt, piece by piece; see `Sampling` for temperature, top_k, top_p, seed."""
        return write_on(self.scorer(), self.tokenizer, prompt, tokens, Sampling(**sampling), self.device)

    def prompt(self, text: str) -> list[int]:
        """The ids of a beginning: a boundary, then the text."""
        return [self.tokenizer.boundary, *self.tokenizer.encode(text)]

    def generate(self, prompt: str = "", tokens: int = 200, **sampling: Any) -> str:
        """Text that follows the prompt; see `stream`."""
        return "".join(self.stream(prompt, tokens, **sampling))

    def search(self, prompt: str = "", tokens: int = 200, **beam: Any) -> list[Written]:
        """The most probable texts that follow, up to a boundary; see `Beam` for width, best, length_penalty."""
        return search_on(self.scorer(ranks=False), self.tokenizer, prompt, tokens, Beam(**beam), self.device)

    @torch.no_grad()
    def features(self, texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
        """[number of texts, D] the mean of the last layer over each text's tokens, fp32."""
        rows = []
        for text in texts:
            ids = torch.tensor([self.prompt(text)], device=self.device)
            hidden = self.objective.backbone(Inputs(tokens=ids), None)
            rows.append(hidden.last[0].float().mean(0).cpu().numpy())
        return np.stack(rows) if rows else np.zeros((0, self.objective.backbone.dim), np.float32)
