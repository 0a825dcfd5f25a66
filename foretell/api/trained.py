"""A run that has been trained, opened for use."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foretell.checksums import damaged
from foretell.config import validate
from foretell.data.batches.framing import Framing
from foretell.data.batches.packing import RowsConfig
from foretell.data.batches.streams import Windows
from foretell.data.files import SPLITS
from foretell.data.labelled.examples import Example
from foretell.data.store.store import Split, load_counts
from foretell.data.text.reviews import preparation_of
from foretell.data.tokenizers.tokenizer import tokenizer_of
from foretell.errors import ConfigError
from foretell.evaluate import objective_metrics
from foretell.evaluate.adaptation import Adaptation, AdaptationConfig, adapt
from foretell.evaluate.features import Extractor, FeaturesConfig, Vectors
from foretell.evaluate.language_model import LanguageModel
from foretell.evaluate.pseudo_likelihood import pseudo_likelihood
from foretell.evaluate.scoring import (
    NeuralScorer,
    NGramScorer,
    OnProgress,
    Scorer,
    TokenScores,
    checked,
    metrics,
    no_progress,
    score_tokens,
    total,
)
from foretell.examples import framing_of, load_names, read_split, task_of
from foretell.models.backbone import Backbone
from foretell.models.ngram import NGram, NGramConfig
from foretell.nn.frequency_bands import ByFrequency
from foretell.nn.initializers import on_paper
from foretell.objectives.objective import Objective
from foretell.process import peak_memory
from foretell.recipe.loading import recipe_of
from foretell.recipe.recipe import Recipe
from foretell.run import Record, Run
from foretell.tasks.predictor import Predictor
from foretell.tasks.task import Task
from foretell.texts import (
    OpenedText,
    adapting_windows,
    check_trust,
    evaluation_rows,
    evaluation_windows,
    rows_of_one_text,
)
from foretell.training import checkpoint
from foretell.training.checkpoint import Checkpoint, check_finite
from foretell.training.devices import device_of
from foretell.training.monitor import Monitor, reporting
from foretell.training.state_dict import check_fit, load_weights

# --- training -------------------------------------------------------------------------------------


def load(
    path: str | Path,
    *,
    which: str = "best",
    device: torch.device | str | None = None,
    quiet: bool = False,
    trust: bool = False,
) -> Trained:
    """A run folder, opened for use with the weights of its `best` (or `last`) checkpoint.

    Passes of more than ten seconds say on stderr how far they are, unless `quiet`. A run that was made by somebody else
    may import classes from outside the package, and open the corpus that its recipe names, only with `trust`. Raises
    `ConfigError` where a file of the run is missing or damaged.
    """
    run = Run.open(path)
    run.trust = trust
    return Trained(run, which, device_of(device), quiet=quiet)


class Trained(LanguageModel):
    """A trained model: evaluate, score, generate, features, predict."""

    adaptation: Adaptation | None = None
    """how it adapts to the text it is measured on; see `adapted`"""

    def __init__(self, run: Run, which: str, device: torch.device, *, quiet: bool = False):
        self.run, self.device, self.quiet = run, device, quiet
        self.recipe = recipe_of(run)
        self.tokenizer = tokenizer_of(run)
        self.checkpoint, self.facts = checkpoint.pointed(run, which)
        self.checkpoint.verify()
        self.settings = self.stage_of(self.checkpoint)
        self.weights: Mapping[str, Tensor] = self.settings.tuning.merged(self.checkpoint.result())
        check_finite(self.weights, self.checkpoint.path)
        self.model: Objective | NGram
        self.names: tuple[str, ...] = ()  # what a task may say
        if isinstance(self.settings.model, NGramConfig):
            self.model = NGram.load(self.weights, self.tokenizer.boundary, self.tokenizer.size)
            return
        counts = load_counts(run.counts_file)
        self.names = load_names(run.labels_file, task_of(self.settings)) if self.settings.is_task else ()
        if not run.is_trusted:
            with on_paper():  # first: a recipe can ask for any size, and a file of weights has the one it has
                check_fit(self.settings.build(self.tokenizer.size, counts, len(self.names)), self.weights)
        with torch.device(device):
            objective = self.settings.build(self.tokenizer.size, counts, len(self.names))
        if counts is None and any(isinstance(module, ByFrequency) for module in objective.modules()):
            raise ConfigError(
                f"{run.counts_file} is missing, by which the weights are laid out; bring it back from a copy"
            )
        load_weights(objective, self.weights)
        self.model = objective.eval().requires_grad_(False)

    def stage_of(self, saved: Checkpoint) -> Recipe:
        """The recipe as it held in the stage of a checkpoint."""
        stages, number = self.recipe.resolved_stages(), saved.position().stage
        if not 0 <= number < len(stages):
            raise damaged(saved.path / "record.json", f"names stage {number}, and the recipe has {len(stages)}")
        return stages[number][1]

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
        valid = self.validation()
        trained = [r for r in records if r["kind"] in ("train", "fit")]
        seconds = sum({r["stage"]: r["seconds"] for r in trained}.values())
        tokens = sum({r["stage"]: r["tokens"] for r in trained}.values())
        return {
            "run": str(self.run.path),
            **valid,
            "weights": self.facts["weights"],
            "parameters": self.parameters,
            "trained_tokens": tokens,
            "seconds": seconds,
            "validation_seconds": valid.get("seconds", 0.0),
            "tokens_per_second": tokens / max(seconds, 1e-9),
            "peak_memory_bytes": peak_memory(),
        }

    def validation(self) -> Record:
        """The record of the validation of this checkpoint; empty where it had none."""
        found = self.checkpoint.record().get("validation")
        return found if isinstance(found, dict) else {}

    def scorer(self, *, ranks: bool = True) -> Scorer:
        """The model as a scorer, with its adaptation; that tells no ranks."""
        if isinstance(self.model, NGram):
            return NGramScorer(self.model, ranks=ranks)
        if not self.model.is_causal_lm:
            does = "was fine-tuned for a task" if self.settings.is_task else "guesses masked tokens"
            raise ConfigError(
                f"{self.run.path} {does}: it gives no probability to the next one, nor to a text; "
                "name another run, or measure it with foretell evaluate"
            )
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
        self.scorer()  # refuses models that have no next token
        given = {"dynamic": dynamic, "cache": cache}
        chosen = {name: {} if part is True else part for name, part in given.items() if part is not False}
        settings = validate(AdaptationConfig, chosen, "adaptation")
        neural = NeuralScorer(self.objective.backbone, self.objective.head, ranks=False)
        other, specials = copy.copy(self), self.tokenizer.specials
        other.quiet = quiet or self.quiet
        with ExitStack() as opened:
            other.adaptation = adapt(
                settings,
                neural,
                lambda: opened.enter_context(self.text("train")),
                lambda: adapting_windows(
                    self.settings, settings, opened.enter_context(self.text("valid")), specials, 1
                ),
                specials,
                self.device,
                Monitor(quiet=other.quiet).say,
            )
        return other

    def on_progress(self) -> OnProgress:
        """What is told how far a pass is, and says so where it takes long."""
        return no_progress if self.quiet else reporting(Monitor().say, str(self.run.path))

    def windows(self, text: Split, columns: int, batch: int | None) -> Windows:
        """One pass over a text; see `evaluation_windows`."""
        specials = self.tokenizer.specials
        if self.adaptation is None:
            return evaluation_windows(self.settings, self.backbone, text, specials, columns, batch)
        return adapting_windows(self.settings, self.adaptation.settings, text, specials, columns, batch)

    def evaluate(
        self,
        split: str = "test",
        *,
        batch: int | None = None,
        columns: int = 1,
        dynamic: bool | Mapping[str, Any] = False,
        cache: bool | Mapping[str, Any] = False,
        skip_bad: bool = False,
    ) -> Record:
        """Measure a split of the run's corpus, or any text file.

        The state is carried over the whole text (or starts anew at each document or line, if training did so); with
        `columns` above 1 the text is cut into that many parts, which is faster and a little worse for the model
        (one with a bounded context needs none: its windows are computed side by side anyway).
        `batch` is how much is computed side by side and changes nothing but speed. `dynamic` and `cache` are those of
        `adapted`; columns then learn from each other. `skip_bad` leaves out what is no example of a task.
        """
        if isinstance(self.model, Task):
            return self.measured_task(split, skip_bad=skip_bad)
        if skip_bad:
            raise ConfigError("--skip-bad is of labelled examples, and this is no run of a task; leave it out")
        if isinstance(self.model, Objective) and not self.model.is_causal_lm:
            return self.measured(split, batch=batch)
        if dynamic is not False or cache is not False:
            return self.adapted(dynamic=dynamic, cache=cache).evaluate(split, batch=batch, columns=columns)
        opened = self.text(split)
        with opened as text:
            totals = total(self.scorer(), self.windows(text, columns, batch), self.device, self.on_progress())
            measured = metrics(checked(totals, str(self.run.path)), text)
            fitted = self.fitted_on(text)
        return {
            "run": str(self.run.path),
            "split": split,
            **opened.note(),
            **measured,
            "context": self.context(columns),
            **({"adaptation": self.adaptation.record, "fitted_here": fitted} if self.adaptation else {}),
            "weights": self.facts["weights"],
            "step": self.facts["step"],
            "parameters": self.parameters,
            "peak_memory_bytes": peak_memory(),
        }

    def fitted_on(self, text: Split) -> list[str]:
        """The settings of its adaptation that were found on this very text."""
        found = {} if self.adaptation is None else self.adaptation.record
        tuned = [f"{part}.{name}" for part, facts in found.items() for name in facts["tuned"]]
        return tuned if tuned and self.holds("valid", text) else []

    def holds(self, split: str, text: Split) -> bool:
        """Whether a split of its corpus, or a file, is this text, whatever it is called."""
        with self.text(split) as mine:
            return np.array_equal(mine.tokens, text.tokens)

    def measured(self, split: str = "test", *, batch: int | None = None) -> Record:
        """What `evaluate` says of a model that guesses masked tokens: by the terms of its objective, on fixed masks."""
        opened = self.text(split)
        with opened as text:
            rows = evaluation_rows(self.settings, self.tokenizer, text, batch)
            found = objective_metrics.measure(self.objective, rows, self.device, self.on_progress())
            objective_metrics.check(found, f"{self.run.path}, {split}")
            kept = {"lossy": text.lossy, "lost": text.lost, "unknown_rate": text.counts.unknown / len(text.tokens)}
        return {
            "run": str(self.run.path),
            "split": split,
            **opened.note(),
            **found,
            **kept,
            "tokens": len(text.tokens),
            "tokens_per_second": len(text.tokens) / found["seconds"],
            "context": f"rows of {self.settings.data.batches.length} tokens, {self.settings.data.batches.kind}",
            "weights": self.facts["weights"],
            "step": self.facts["step"],
            "parameters": self.parameters,
            "peak_memory_bytes": peak_memory(),
        }

    def measured_task(self, split: str = "test", *, skip_bad: bool = False) -> Record:
        """What `evaluate` says of a task: its metrics on labelled examples, a split or a file that the reader reads."""
        return self.judged(split, self.usable(split, skip_bad=skip_bad))[0]

    def usable(self, split: str, *, skip_bad: bool = False) -> list[Example]:
        """The labelled examples that a task can be measured on, of a split or a file."""
        skip = skip_bad or self.settings.data.skip_bad
        if split in SPLITS:
            check_trust(self.run, self.settings.data.corpus)
        return self.telling.config.usable(read_split(self.settings, split, skip), self.names, skip)

    def judged(self, split: str, examples: Sequence[Example]) -> tuple[Record, list[Any]]:
        """What `evaluate` says of these examples, and what `predict` does."""
        # what was fitted on validation is not measured on it
        telling = self.unfitted if split == "valid" else self.telling
        found, predictions = telling.judge(examples, by_label=True, on_progress=self.on_progress())
        record = {
            "run": str(self.run.path),
            "split": split,
            **dict.fromkeys(objective_metrics.UNDEFINED),
            **found,
            "examples_per_second": len(examples) / found["seconds"],
            "weights": self.facts["weights"],
            "step": self.facts["step"],
            "parameters": self.parameters,
            "peak_memory_bytes": peak_memory(),
        }
        return record, predictions

    @property
    def framing(self) -> Framing:
        """How a task's texts become rows."""
        return framing_of(self.settings, self.tokenizer)

    def predict(self, examples: Sequence[str | Example]) -> list[Any]:
        """What a task says of examples, in their order; a text alone is read as a line is by `foretell predict`.

        What comes out is a `Prediction` of its task, with probabilities, and offsets in characters where it is about
        parts of a text.
        """
        telling = self.telling
        task = telling.config
        asked = [
            task.parse_line(one, f"text {i}") if isinstance(one, str) else one for i, one in enumerate(examples, 1)
        ]
        return telling.tell(task.readable(asked, self.names), self.on_progress())

    @property
    def telling(self) -> Predictor:
        """What tells and measures examples of its task, as validation found best; a `ConfigError` where it has none."""
        unfitted = self.unfitted
        return replace(unfitted, config=unfitted.config.fitted(self.validation()))

    @property
    def unfitted(self) -> Predictor:
        """The same with its settings as they are."""
        task = task_of(self.settings)
        assert isinstance(self.model, Task)
        return Predictor(task, self.model, self.framing, self.names, self.device)

    def pseudo_likelihood(self, split: str = "test", tokens: int = 1000) -> Record:
        """The pseudo-perplexity of a masked model, over so many tokens; see `evaluate.pseudo`."""
        if not isinstance(self.model, Objective) or "bidirectional" not in self.model.needs:
            raise ConfigError(f"{self.run.path} predicts the next token: it has a perplexity, and no pseudo-perplexity")
        if tokens < 1:
            raise ConfigError(f"a pseudo-perplexity of {tokens} tokens is none; name 1 or more")
        specials, batches = self.tokenizer.specials, self.settings.data.batches
        assert isinstance(batches, RowsConfig)  # which such a model learns from
        with self.text(split) as text:
            rows = rows_of_one_text(batches).build(text, specials, seed=0)
            return pseudo_likelihood(self.model, rows, specials, tokens, self.device, self.on_progress())

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
        return OpenedText(self.run, self.recipe.data, self.tokenizer, split)

    def token_scores(
        self, text: Split, *, batch: int | None = None, columns: int = 1, ranks: bool = True
    ) -> TokenScores:
        """What `evaluate` sums up, token by token; `text` holds tokens of this run's vocabulary."""
        windows = self.windows(text, columns, batch)
        found = score_tokens(self.scorer(ranks=ranks), windows, self.device, self.on_progress())
        checked(found.totals, str(self.run.path), zeros=True)
        return found

    def prompt(self, text: str) -> list[int]:
        """The ids of a beginning: a boundary, then the text."""
        return [self.tokenizer.boundary, *self.tokenizer.encode(text)]

    def extractor(self, **settings: Any) -> Extractor:
        """The model as one that makes vectors of texts; see `FeaturesConfig`."""
        chosen = validate(FeaturesConfig, settings, "features")
        if chosen.prepare is None:
            chosen = chosen.model_copy(update={"prepare": preparation_of(self.settings.data.corpus)})
        return Extractor(self.objective.backbone, self.tokenizer, chosen, self.device)

    def features(self, texts: Iterable[str], **settings: Any) -> Vectors:
        """[number of texts, width] fp32: of each the mean of the last layer over its tokens and those around them.

        Settings are those of `FeaturesConfig`: other poolings, other layers, a mix of layers, texts prepared as
        reviews. `extractor(...).blocks(texts)` gives the same piece by piece, for more texts than memory holds.
        """
        return self.extractor(**settings).all(texts)
