"""The backbones there are."""

from __future__ import annotations

from typing import Annotated

from foretell.config import Tagged
from foretell.models.recurrent import RecurrentConfig

ModelChoice = Annotated[RecurrentConfig, Tagged()]
