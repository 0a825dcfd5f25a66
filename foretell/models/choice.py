"""The models there are."""

from __future__ import annotations

from typing import Annotated

from foretell.config import Tagged
from foretell.models.ngram import NGramConfig
from foretell.models.recurrent import RecurrentConfig

BackboneChoice = Annotated[RecurrentConfig, Tagged()]
"""trained by gradient: see `Backbone`"""
ModelChoice = Annotated[RecurrentConfig | NGramConfig, Tagged()]
"""... or counted"""
