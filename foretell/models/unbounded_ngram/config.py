"""Settings of n-grams of unbounded order. The model itself is compiled, and imported when it is needed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from foretell.models.counted import CountedConfig
from foretell.types import OnProgress, no_progress

if TYPE_CHECKING:
    from foretell.models.unbounded_ngram.model import UnboundedNGram


class UnboundedNGramConfig(CountedConfig):
    """n-grams of unbounded order: contexts of any length, in a suffix array of the training text (as in infini-gram,
    arXiv:2401.17377), with Kneser-Ney counts and learned discounts. They also count what they read."""

    learns_as_it_reads: ClassVar[bool] = True
    kind: Literal["unbounded-ngram"] = "unbounded-ngram"

    @override
    def fit(
        self,
        tokens: NDArray[np.unsignedinteger],
        starts: NDArray[np.int64],
        boundary: int,
        vocabulary: int,
        on_progress: OnProgress = no_progress,
        seconds: float = math.inf,
    ) -> UnboundedNGram:
        from foretell.models.unbounded_ngram.model import UnboundedNGram

        return UnboundedNGram.fit(np.asarray(tokens), starts, boundary, vocabulary, on_progress)

    @override
    def load(self, tensors: Mapping[str, Tensor], boundary: int, vocabulary: int) -> UnboundedNGram:
        from foretell.models.unbounded_ngram.model import UnboundedNGram

        return UnboundedNGram.load(tensors, boundary, vocabulary)
