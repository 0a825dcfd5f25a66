"""Several runs as one model, as a recipe names it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, NoReturn

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from foretell.config import Config
from foretell.errors import ConfigError
from foretell.models.counted import CountedConfig
from foretell.types import OnProgress, no_progress

MOST = 64
"""runs of a mixture"""
HOW = "a mixture is made of trained runs: foretell mix RUN RUN --out FOLDER"
FOLDER = r"[0-9]{1,4}(-[A-Za-z0-9_-][A-Za-z0-9_.-]*)?"


class MemberConfig(Config):
    """A run of a mixture."""

    folder: Annotated[str, Field(pattern=f"^{FOLDER}$")] = "1"
    """its copy, in the folder `members` of the mixture"""
    which: Literal["best", "last"] = "best"
    """its checkpoint"""
    digest: str = ""
    """changes with its weights and its tokenizer"""


class MixtureConfig(CountedConfig):
    """Runs whose probabilities are weighted and summed; made by `foretell mix`, not by training."""

    kind: Literal["mixture"] = "mixture"
    made_of_runs: ClassVar[bool] = True
    members: Annotated[tuple[MemberConfig, ...], Field(max_length=MOST)] = ()
    """the runs, in the order of their weights"""
    weights: Literal["fixed", "online", "gated", "logistic"] = "fixed"
    """fixed, or learned from the text that is read: by exponentiated gradient, by a small network, or bit by bit by the
    mixers of a context-mixing run"""
    fitted_to: str = ""
    """text that the weights were fitted to; "": they were given"""

    @override
    def fit(
        self,
        tokens: NDArray[np.unsignedinteger],
        starts: NDArray[np.int64],
        boundary: int,
        vocabulary: int,
        on_progress: OnProgress = no_progress,
        seconds: float = math.inf,
    ) -> NoReturn:
        raise ConfigError(HOW)

    @override
    def load(self, tensors: Mapping[str, Tensor], boundary: int, vocabulary: int) -> NoReturn:
        raise ConfigError("a mixture has no single model; name one of its members, in its folder `members`")
