"""The contract of data modules: everything a recipe learns from and is measured on.

There is one class for each way to learn: running text (`text`), packed rows of text (`rows`), labelled examples
(`task`). A new way to learn is another class and its line in `kinds`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from foretell.data.batches.batches import Batches
from foretell.data.tokenizers.tokenizer import Tokenizer
from foretell.evaluate.adaptation import Adaptation
from foretell.evaluate.evaluator import Evaluator
from foretell.evaluate.scoring import Scorer
from foretell.nn.vocabulary import Counts
from foretell.objectives.objective import Objective
from foretell.recipe.recipe import Recipe
from foretell.run import Run
from foretell.training.monitor import Monitor


@dataclass(frozen=True)
class Options:
    """How a model is measured where that differs from validation during training."""

    batch: int | None = None
    """rows computed side by side, which changes nothing but speed; absent: the recipe's"""
    columns: int | None = None
    """parts that running text is cut into; absent: the recipe's"""
    skip_bad: bool = False
    """whether rows that are not valid examples are left out"""
    details: bool = False
    """whether labels, confusions and calibration of a task are measured, too"""
    validation: Mapping[str, Any] = field(default_factory=dict)
    """the validation record with fitted settings, such as the threshold of no answer"""
    scorer: Callable[[], Scorer] | None = None
    """makes the scorer of text; absent: the objective's model without ranks"""
    adaptation: Adaptation | None = None
    """how the scorer adapts to the text it reads"""
    audit: bool = False
    """whether what a scorer gives is audited by another of its kind"""


AS_VALIDATION = Options()


class DataModule(ABC):
    """Sources, tokenizer, labels and batches of a recipe; abstract.

    Opened for a `run`, it reads what the run names as far as the run is trusted, with the run's tokenizer and labels.
    Without one, tokenizer and labels come from the training split.
    """

    def __init__(
        self,
        recipe: Recipe,
        tokenizer: Tokenizer | None = None,
        run: Run | None = None,
        monitor: Monitor | None = None,
    ) -> None:
        self.recipe, self.given, self.run = recipe, tokenizer, run
        self.monitor = monitor or Monitor(quiet=True)
        """reports the progress of preparation"""

    @property
    @abstractmethod
    def tokenizer(self) -> Tokenizer:
        """The given tokenizer, or the one the recipe names or trains on the training split."""

    @property
    @abstractmethod
    def fingerprints(self) -> Mapping[str, str]:
        """A hash of each split, by its name."""

    @property
    @abstractmethod
    def source(self) -> str:
        """Name of the text or the data set; a `ConfigError` if it is missing."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of a task; text has none."""
        return ()

    def keep_labels(self, run: Run, labels: tuple[str, ...]) -> None:  # noqa: B027 - text has none
        """Write the labels of a task into a run. Raises `ConfigError` if it was trained with different ones."""

    @property
    def bytes_per_token(self) -> float | None:
        """Bytes per token of the training split, for bits per byte in the log; None if the loss is not that of text."""
        return None

    @abstractmethod
    def token_counts(self) -> Counts:
        """How often each token occurs in the training split: [V]."""

    @abstractmethod
    def batches(self) -> Batches:
        """The training batches."""

    @abstractmethod
    def evaluator(
        self, objective: Objective | None, device: torch.device, options: Options = AS_VALIDATION
    ) -> Evaluator:
        """Measures an objective, by default as validation does; None for a model that was counted."""

    @abstractmethod
    def try_out(self) -> None:
        """Raise `ConfigError` if the sources cannot be read or do not fit the recipe; reads no more than necessary."""

    def remarks(self) -> list[str]:
        """Remarks on the data, for users to read before training."""
        return []

    def closing_remarks(self, epochs: float) -> list[str]:
        """Remarks on a training that has read the training split this many times."""
        return []

    def facts(self) -> Mapping[str, Any]:
        """Figures of the training split that the loss depends on, for the run's records."""
        return {}

    def check_batches(self, objective: Objective, batches: Batches) -> None:  # noqa: B027 - most have nothing to check
        """Raise `ConfigError` if batches have no targets for a term of the objective."""

    def grown(self, batches: Batches) -> Batches:
        """Batches that grow over training, where the recipe has a ramp."""
        ramp, kind = self.recipe.data.ramp, self.recipe.data.batches
        return batches if ramp is None else ramp.build(batches, kind.batch * kind.length)
