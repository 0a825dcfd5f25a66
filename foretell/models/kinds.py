"""The kinds of models."""

from __future__ import annotations

from typing import Annotated

from foretell.config import Tagged
from foretell.models.context_mixing.model import ContextMixingConfig
from foretell.models.mixture import MixtureConfig
from foretell.models.ngram import NGramConfig
from foretell.models.recurrent import RecurrentConfig
from foretell.models.transformer import TransformerConfig
from foretell.models.unbounded_ngram.config import UnboundedNGramConfig

BackboneChoice = Annotated[RecurrentConfig | TransformerConfig, Tagged()]
"""models trained by gradient: see `Backbone`"""
ModelChoice = Annotated[
    RecurrentConfig | TransformerConfig | NGramConfig | UnboundedNGramConfig | ContextMixingConfig | MixtureConfig,
    Tagged(),
]
"""all models, including counted ones"""
