"""All objectives that learn from text."""

from __future__ import annotations

from typing import Annotated

from foretell.config import Tagged
from foretell.objectives.causal import CausalConfig
from foretell.objectives.electra.objective import ReplacedConfig
from foretell.objectives.masked import MaskedConfig

AnyObjective = CausalConfig | MaskedConfig | ReplacedConfig
ObjectiveChoice = Annotated[AnyObjective, Tagged()]
