"""The tasks there are."""

from __future__ import annotations

from typing import Annotated

from foretell.config import Tagged
from foretell.tasks.classification import ClassificationConfig

TaskChoice = Annotated[ClassificationConfig, Tagged()]
