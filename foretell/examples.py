"""The examples that a run of a task learns from and is measured on, its vocabulary, and its labels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from foretell.artifacts import write_json
from foretell.data.batches.framing import ExampleBatches, ExamplesConfig, Framing
from foretell.data.files import SPLITS, no_split
from foretell.data.labelled.examples import Choice, Example, Labelled, Tagged, label_fault
from foretell.data.labelled.folds import open_fold
from foretell.data.labelled.opening import find_set, open_examples, read_examples
from foretell.data.labelled.readers import Reader
from foretell.data.tokenizers.tokenizer import Tokenizer
from foretell.errors import ConfigError
from foretell.nn.vocabulary import Counts
from foretell.recipe.recipe import Recipe
from foretell.run import Run
from foretell.strict_json import read_object, shown
from foretell.tasks.task import TaskConfig


class Examples:
    """What a recipe learns from: training and validation examples of which it has been made sure that they fit."""

    def __init__(self, recipe: Recipe, tokenizer: Tokenizer | None = None):
        self.recipe, self.task, self.given = recipe, task_of(recipe), tokenizer
        self.train, self.valid = (read_split(recipe, split) for split in ("train", "valid"))
        self.texts = {"train": digest_of(self.train), "valid": digest_of(self.valid)}
        self.task.prepare()
        self.task.accept(self.train)
        self.names = self.task.names(self.train)
        self.train, self.valid = (
            self.task.usable(examples, self.names, recipe.data.skip_bad) for examples in (self.train, self.valid)
        )

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The one that was given, or else the one that the recipe names, or makes of the training texts."""
        lines = (text + "\n" for example in self.train for text in texts_of(example))
        return self.given or self.recipe.data.tokenizer.train(lines)

    def framing(self, tokenizer: Tokenizer) -> Framing:
        """How texts become rows."""
        return framing_of(self.recipe, tokenizer)

    def batches(self, tokenizer: Tokenizer) -> ExampleBatches:
        """What is trained on."""
        rows = self.task.rows(self.train, self.framing(tokenizer), self.names)
        return batches_of(self.recipe).arrange(rows, tokenizer.specials, self.recipe.seed)

    def token_counts(self, tokenizer: Tokenizer) -> Counts:
        """How often each token occurs in the training texts: [V]."""
        texts = [text for example in self.train for text in texts_of(example)]
        ids = self.framing(tokenizer).encode(texts)
        return np.bincount(np.concatenate(ids), minlength=tokenizer.size).astype(np.int64)


def digest_of(examples: Sequence[Example]) -> str:
    """A hash of examples, labels included."""
    state = hashlib.blake2b(digest_size=16)
    for example in examples:
        state.update(repr(example).encode(errors="surrogatepass") + b"\0")
    return state.hexdigest()


def task_of(recipe: Recipe) -> TaskConfig:
    """What a recipe learns; a `ConfigError` if that is no task."""
    if not isinstance(recipe.objective, TaskConfig):
        raise ConfigError(f'objective.kind = "{recipe.objective.kind}" is no task: it learns from text, not examples')
    return recipe.objective


def batches_of(recipe: Recipe) -> ExamplesConfig:
    """How a recipe for a task makes batches."""
    assert isinstance(recipe.data.batches, ExamplesConfig)  # as the recipe has made sure
    return recipe.data.batches


def reader_of(recipe: Recipe) -> Reader:
    """How files like those a recipe learns from are read."""
    return recipe.data.reader or find_set(recipe.data.corpus, None)[1]


def framing_of(recipe: Recipe, tokenizer: Tokenizer) -> Framing:
    """How texts become rows."""
    batches = batches_of(recipe)
    return Framing(tokenizer, batches.length, batches.cut)


def read_split(recipe: Recipe, split: str, skip_bad: bool | None = None) -> list[Example]:
    """The examples of a split of the corpus, or of a file like it; rows that are none are left out as the recipe says,
    or as is said here."""
    data = recipe.data
    skip_bad = data.skip_bad if skip_bad is None else skip_bad
    if split not in SPLITS:
        if not Path(split).is_file():
            raise no_split(split)
        return read_examples(Path(split), reader_of(recipe), skip_bad)
    if data.fold is not None:
        return open_fold(data.corpus, split, data.fold, data.reader, skip_bad)
    return open_examples(data.corpus, split, data.reader, skip_bad)


def texts_of(example: Example) -> Sequence[str]:
    """All that stands in an example."""
    if isinstance(example, Labelled):
        return example.texts
    if isinstance(example, Choice):
        return (example.context, *example.options)
    return (" ".join(example.words),) if isinstance(example, Tagged) else (example.question, example.passage)


# --- the labels of a run --------------------------------------------------------------------------


def keep_names(run: Run, names: tuple[str, ...]) -> None:
    """Write the labels into a run; a `ConfigError` where it has learnt others."""
    if not run.holds(run.labels_file):
        check_names(names, run.labels_file)
        write_json(run.labels_file, {"labels": list(names)})
        run.seal(run.labels_file)
    if (learnt := load_names(run.labels_file)) != names:
        raise ConfigError(
            f"{run.path} has learnt other labels than its data has now{difference(learnt, names)}",
            remedy="bring the data back as it was, or train a new run",
        )


def difference(learnt: Sequence[str], names: Sequence[str]) -> str:
    """Which labels are new in the data, and which are gone."""
    sides = {
        "new": [name for name in names if name not in learnt],
        "gone": [name for name in learnt if name not in names],
    }
    return "".join(f" ({how}: {', '.join(map(shown, some[:5]))})" for how, some in sides.items() if some)


def load_names(path: Path, task: TaskConfig | None = None) -> tuple[str, ...]:
    """The labels of a run, which fit its task; a `ConfigError` where they are missing or damaged."""
    try:
        names = tuple(read_object(path).texts("labels"))
        check_names(names, path)
        if task is not None and (fault := task.misfit(names)):
            raise ConfigError(fault, file=path)
    except ConfigError as problem:
        remedy = "bring it back from a copy: without it no prediction has a name"
        raise ConfigError(problem.what, file=path, line=problem.line, remedy=remedy) from None
    return names


def check_names(names: Sequence[str], path: Path) -> None:
    """A `ConfigError` where labels could not be told apart, or not be printed."""
    for name in names:
        if fault := label_fault(name):
            raise ConfigError(f"the label {shown(name)} {fault}", file=path)
    if len(set(names)) < len(names):
        raise ConfigError("has a label twice", file=path)
