"""Labelled data as `plan` and `doctor` take them: a name or files, with settings, or the task and reader they show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from foretell import trees
from foretell.config import Config, validate
from foretell.data.labelled.datasets import SETS
from foretell.data.labelled.examples import Example
from foretell.data.labelled.guessing import first_file, guess_reader, implied
from foretell.data.labelled.opening import check_reader, open_all
from foretell.data.labelled.sniffing import task_of_file
from foretell.data.text_files import content_ending
from foretell.errors import ConfigError
from foretell.recipe.files import kind_in
from foretell.recipe.recipe import DataConfig
from foretell.tasks.kinds import TaskChoice
from foretell.tasks.task import TaskConfig
from foretell.trees import Tree

NAME_LABELS = "say where the labels are, as in data.reader.label=NAME"


class Settings(Config):
    """The sections of a recipe that describe labelled data."""

    data: DataConfig
    objective: TaskChoice


@dataclass(frozen=True)
class LabelledData:
    """Labelled data and the task that they are for."""

    data: DataConfig
    task: TaskConfig

    @property
    def name(self) -> str:
        """The name or path, or those of all splits."""
        corpus = self.data.corpus
        return corpus if isinstance(corpus, str) else ", ".join(corpus.values())

    @property
    def skips_bad(self) -> bool:
        """Whether training leaves out bad rows."""
        return self.data.skip_bad

    def splits(self) -> tuple[dict[str, list[Example]], list[ConfigError]]:
        """The valid examples of each split, and an error for each file with bad rows."""
        return open_all(self.data.corpus, self.data.reader)


def labelled_data(what: str, settings: Sequence[str] = ()) -> LabelledData | None:
    """Labelled data: a named set, or files whose format or whose settings show that they are; None for plain text.

    `what` may be `{train = …, test = …}`. Raises `ConfigError` for wrong settings, and where it is not clear which
    column of a table is which.
    """
    tree = trees.override({"data": {"corpus": trees.table_or_text(what)}}, settings)
    corpus, given, task = tree["data"]["corpus"], tree["data"].get("reader"), kind_in(tree.get("objective"))
    if isinstance(corpus, str) and corpus in SETS:
        reader = SETS[corpus].reader if given is None else None
        return with_task(tree, task or SETS[corpus].reader.task, reader)
    if not (task := task or task_of(corpus, "classification" if given else "")):
        return None
    try:
        found = guess_reader(task, corpus, given)
    except ConfigError:
        if not settings and is_jsonl(corpus):  # rows of text are a corpus
            return None
        if task != "classification" or (found := scores_of_pairs(corpus, given)) is None:
            raise
        task = "similarity"
    return with_task(tree, task, found)


def with_task(tree: Tree, task: str, reader: Any) -> LabelledData:
    """The data of some settings, with a task and a reader unless they are None."""
    data = tree["data"] | ({} if reader is None else {"reader": reader})
    settings = {"kind": task} | implied(task, data.get("reader"))
    objective = trees.merge(settings, tree["objective"] if isinstance(tree.get("objective"), Mapping) else {})
    found = validate(Settings, tree | {"data": data, "objective": objective}, "settings")
    check_reader(found.data.corpus, found.data.reader, task)
    return LabelledData(found.data, cast(TaskConfig, found.objective))


def task_of(corpus: Any, otherwise: str = "") -> str:
    """The task that files are for, by the ending or the lines of the first."""
    path = a_file(corpus)
    if path is None or path.is_dir():
        return otherwise
    return task_of_file(path) or otherwise


def is_jsonl(corpus: Any) -> bool:
    """Whether the first file holds rows of JSON."""
    path = a_file(corpus)
    return path is not None and content_ending(path).lower() == ".jsonl"


def a_file(corpus: Any) -> Path | None:
    """The first file of the training examples; a folder where it holds others; None where there is no file."""
    place = corpus.get("train", "") if isinstance(corpus, Mapping) else corpus
    try:
        return first_file(corpus, "classification") if isinstance(place, str) and Path(place).exists() else None
    except ConfigError:  # reported where the text is opened
        return None


def scores_of_pairs(corpus: Any, given: Any = None) -> Mapping[str, Any] | None:
    """The reader of a table of scores of two texts; None if it is not one."""
    try:
        found = guess_reader("similarity", corpus, given)
    except ConfigError:
        return None
    return found if found is not None and len(found["texts"]) == 2 else None
