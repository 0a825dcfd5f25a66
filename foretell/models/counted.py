"""The contract of models that are estimated in one pass over the text, without gradients."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from foretell.coding.tokens import TokenCoder
from foretell.models.model_config import ModelConfig
from foretell.types import OnProgress, no_progress

if TYPE_CHECKING:
    from foretell.models.context_mixing.model import ContextMixing
    from foretell.models.ngram import NGram


class CountedConfig(ModelConfig):
    """Base of the settings of counted models; abstract."""

    counted: ClassVar[bool] = True

    @abstractmethod
    def fit(
        self,
        tokens: NDArray[np.unsignedinteger],
        starts: NDArray[np.int64],
        boundary: int,
        vocabulary: int,
        on_progress: OnProgress = no_progress,
        seconds: float = math.inf,
    ) -> CountedModel:
        """Estimate the model from a text [N]; `starts` are positions where the context is reset.

        In `seconds` a model that reads the text in order reads as much as it can, above all the end; others count all.
        """

    @abstractmethod
    def load(self, tensors: Mapping[str, Tensor], boundary: int, vocabulary: int) -> CountedModel:
        """Restore a model from its tensors; raises `ConfigError` if they are not those of such a model."""


class CountedModel(ABC):
    """A model that was counted; abstract."""

    @property
    @abstractmethod
    def parameters(self) -> int:
        """Number of estimated values."""

    @abstractmethod
    def scorer(self, *, ranks: bool = True) -> Any:
        """The model as a scorer (`evaluate.scoring.Scorer`); without `ranks` it gives only log-probabilities."""

    def learner(self) -> Any:
        """A scorer that learns from each token after it was scored, where `ModelConfig.learns_as_it_reads`."""
        raise NotImplementedError

    def coder(self, *, learn: bool) -> TokenCoder | None:
        """The model's own coder of tokens where it has a faster one than by distributions; `learn`: from each token it
        has coded."""
        return None

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """Tensors to save."""

    @property
    def as_ngram(self) -> NGram | None:
        """The model if it is an n-gram model, as ARPA files hold it."""
        return None

    @property
    def as_context_mixing(self) -> ContextMixing | None:
        """The model if it mixes contexts, so that other models can advise it."""
        return None

    def report(self) -> Mapping[str, Any]:
        """Facts of the estimation, for the run's records."""
        return {}

    def summary_lines(self, unit: str) -> list[str]:
        """Notes on the estimation for the terminal; `unit` is where contexts end: a line or a document."""
        return []
