"""Labelled examples: what tasks learn from and are measured on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from typing_extensions import override

from foretell.data.batches.batches import Batches, spread
from foretell.data.batches.framing import ExamplesConfig, Framing, Row
from foretell.data.files import SPLITS, no_split
from foretell.data.labelled.examples import Example
from foretell.data.labelled.folds import open_fold
from foretell.data.labelled.opening import check_reader, find_set, open_examples, read_examples
from foretell.data.labelled.readers import Reader
from foretell.data.tokenizers.tokenizer import Tokenizer
from foretell.errors import ConfigError
from foretell.evaluate import objective_metrics
from foretell.evaluate.evaluator import Evaluator
from foretell.learning.data_module import AS_VALIDATION, DataModule, Options
from foretell.learning.labels import keep_labels, load_labels
from foretell.learning.opened_text import check_trust
from foretell.nn.initializers import on_paper
from foretell.nn.vocabulary import Counts
from foretell.objectives.objective import Objective
from foretell.recipe.recipe import Recipe
from foretell.run import Run
from foretell.tasks.predictor import Predictor
from foretell.tasks.task import Task, TaskConfig
from foretell.training.monitor import Monitor
from foretell.types import OnProgress, no_progress


class Learned(NamedTuple):
    """The examples that a task learns from and is validated on."""

    train: list[Example]
    valid: list[Example]
    labels: tuple[str, ...]
    fingerprints: Mapping[str, str]


class TaskModule(DataModule):
    """The labelled examples of a recipe, its tokenizer and its labels.

    Examples that do not fit the task are refused, all at once, or left out with `data.skip_bad`. The labels are those
    of the run, else those of the training split.
    """

    def __init__(
        self,
        recipe: Recipe,
        tokenizer: Tokenizer | None = None,
        run: Run | None = None,
        monitor: Monitor | None = None,
    ) -> None:
        super().__init__(recipe, tokenizer, run, monitor)
        self.task = task_of(recipe)

    @cached_property
    def learned(self) -> Learned:
        """Both splits, read and checked."""
        train, valid = (read_split(self.recipe, split) for split in ("train", "valid"))
        fingerprints = {"train": digest_of(train), "valid": digest_of(valid)}
        self.task.check_type(train)
        labels, skip_bad = self.task.labels(train), self.recipe.data.skip_bad
        train, valid = (self.task.usable_examples(examples, labels, skip_bad) for examples in (train, valid))
        return Learned(train, valid, labels, fingerprints)

    @cached_property
    @override
    def labels(self) -> tuple[str, ...]:
        return self.learned.labels if self.run is None else load_labels(self.run.labels_file, self.task)

    @override
    def keep_labels(self, run: Run, labels: tuple[str, ...]) -> None:
        keep_labels(run, labels)

    @property
    @override
    def source(self) -> str:
        corpus = self.recipe.data.corpus
        files, _ = find_set(corpus, self.recipe.data.reader)
        return corpus if isinstance(corpus, str) else ", ".join(files)

    @property
    @override
    def fingerprints(self) -> Mapping[str, str]:
        return self.learned.fingerprints

    @property
    @override
    def tokenizer(self) -> Tokenizer:
        return self.given or self._trained_tokenizer

    @cached_property
    def _trained_tokenizer(self) -> Tokenizer:
        lines = (text + "\n" for example in self.learned.train for text in example.all_texts)
        return self.recipe.data.tokenizer.train(lines)

    @property
    def framing(self) -> Framing:
        """How texts become rows."""
        batches = self._batches
        return Framing(self.tokenizer, batches.length, batches.cut)

    @property
    def _batches(self) -> ExamplesConfig:
        return cast(ExamplesConfig, self.recipe.data.batches)  # as the recipe has checked

    def examples(self, split: str, *, skip_bad: bool | None = None) -> list[Example]:
        """The usable examples of a split, or of a file like it; `skip_bad` defaults to the setting of the recipe."""
        if self.run is None and split == "valid":
            return self.learned.valid
        skip = self.recipe.data.skip_bad if skip_bad is None else skip_bad
        if self.run is not None and split in SPLITS:
            check_trust(self.run, self.recipe.data.corpus)
        return self.task.usable_examples(read_split(self.recipe, split, skip), self.labels, skip)

    @override
    def token_counts(self) -> Counts:
        texts = [text for example in self.learned.train for text in example.all_texts]
        ids = self.framing.encode(texts)
        return np.bincount(np.concatenate(ids), minlength=self.tokenizer.size).astype(np.int64)

    @cached_property
    def _rows(self) -> list[Row]:
        return self.task.rows(self.learned.train, self.framing, self.labels)

    @override
    def closing_remarks(self, epochs: float) -> list[str]:
        unseen = (
            f"training ended after {epochs:.2f} epochs, before every example was seen; a longer limit sees them all"
        )
        return [unseen] if epochs < 1 else []

    @override
    def facts(self) -> Mapping[str, Any]:
        weights = self.task.label_weights(self._rows, self.labels)
        return {"class_weights": weights} if weights else {}

    @override
    def batches(self) -> Batches:
        rows = self.task.weighted(self._rows, self.labels)
        return self.grown(self._batches.arrange(rows, self.tokenizer.specials, self.recipe.seed))

    @override
    def evaluator(
        self, objective: Objective | None, device: torch.device, options: Options = AS_VALIDATION
    ) -> TaskEvaluator:
        task = cast(Task, objective)
        return TaskEvaluator(self, task, device, options.validation, options.skip_bad, options.details)

    @override
    def try_out(self) -> None:
        first = self.task.rows(self.learned.train[:1], self.framing, self.labels)
        self.task.label_weights(first, self.labels)
        with on_paper():
            self.recipe.build(self.tokenizer.size, labels=len(self.labels))


@dataclass
class TaskEvaluator(Evaluator):
    """The metrics of a task on labelled examples."""

    data: TaskModule
    objective: Task
    device: torch.device
    validation: Mapping[str, Any] = field(default_factory=dict)
    """the validation record with fitted settings, such as the threshold of no answer"""
    skip_bad: bool = False
    details: bool = False
    """whether to measure labels, confusions and calibration, too"""

    @property
    @override
    def context(self) -> str:
        return ""

    def predictor(self, split: str = "") -> Predictor:
        """Predicts and measures; settings fitted on validation are not used to measure validation."""
        plain = Predictor(self.data.task, self.objective, self.data.framing, self.data.labels, self.device)
        return plain if split == "valid" else replace(plain, config=plain.config.fitted(self.validation))

    def examples(self, split: str) -> list[Example]:
        """The examples that `evaluate` measures."""
        examples = self.data.examples(split, skip_bad=self.skip_bad or None)
        return [examples[i] for i in spread(len(examples), self.share)]

    @override
    def evaluate(self, split: str, on_progress: OnProgress = no_progress) -> dict[str, Any]:
        return self.evaluate_examples(split, self.examples(split), on_progress)[0]

    def evaluate_examples(
        self, split: str, examples: Sequence[Example], on_progress: OnProgress = no_progress
    ) -> tuple[dict[str, Any], list[Any]]:
        """The metrics of `evaluate` for these examples, and the predictions."""
        measured, predictions = self.predictor(split).evaluate(examples, details=self.details, on_progress=on_progress)
        return dict.fromkeys(objective_metrics.UNDEFINED) | measured, predictions

    @override
    def expected_seconds(self, split: str) -> float:
        return self.predictor(split).expected_seconds(self.data.examples(split)) * self.share


def digest_of(examples: Sequence[Example]) -> str:
    """A hash of examples, labels included."""
    state = hashlib.blake2b(digest_size=16)
    for example in examples:
        state.update(repr(example).encode(errors="surrogatepass") + b"\0")
    return state.hexdigest()


def task_of(recipe: Recipe) -> TaskConfig:
    """The task of a recipe; a `ConfigError` if it learns from text."""
    if not recipe.is_task:
        raise ConfigError(
            f'objective.kind = "{recipe.objective.kind_name()}" is not a task: it learns from text, not examples'
        )
    return cast(TaskConfig, recipe.objective)


def reader_of(recipe: Recipe) -> Reader:
    """The reader of files like those a recipe is trained on."""
    return recipe.data.reader or find_set(recipe.data.corpus, None)[1]


def read_split(recipe: Recipe, split: str, skip_bad: bool | None = None) -> list[Example]:
    """The examples of a split of the corpus, or of a file like it.

    `skip_bad` skips rows that are not valid examples; it defaults to the setting of the recipe.
    """
    data = recipe.data
    check_reader(data.corpus, data.reader, recipe.objective.kind_name())
    skip_bad = data.skip_bad if skip_bad is None else skip_bad
    if split not in SPLITS:
        if not Path(split).is_file():
            raise no_split(split)
        return read_examples(Path(split), reader_of(recipe), skip_bad)
    if data.fold is not None:
        return open_fold(data.corpus, split, data.fold, data.reader, skip_bad)
    return open_examples(data.corpus, split, data.reader, skip_bad)
