"""All tasks."""

from __future__ import annotations

from typing import Annotated

from foretell.config import Tagged
from foretell.tasks.answering import AnsweringConfig
from foretell.tasks.classification import ClassificationConfig
from foretell.tasks.multiple_choice import ChoiceConfig
from foretell.tasks.similarity import SimilarityConfig
from foretell.tasks.tagging import TaggingConfig

AnyTask = ClassificationConfig | SimilarityConfig | ChoiceConfig | TaggingConfig | AnsweringConfig
TaskChoice = Annotated[AnyTask, Tagged()]
