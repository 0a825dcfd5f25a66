"""From files to examples. Nothing is guessed: a reader says what the columns are, how they are quoted and encoded.

What is no example comes out as a `BadRow` with file, line and reason, and reading goes on behind it.
"""

from __future__ import annotations

from typing import Annotated

from foretell.config import Tagged
from foretell.data.readers.columns import ColumnsConfig
from foretell.data.readers.folders import FoldersConfig
from foretell.data.readers.lines import Reader
from foretell.data.readers.prefixed import PrefixedConfig
from foretell.data.readers.questions import QuestionsConfig
from foretell.data.readers.squad import SquadConfig
from foretell.data.readers.tables import OptionsConfig, TableConfig

ReaderChoice = Annotated[
    TableConfig | OptionsConfig | PrefixedConfig | FoldersConfig | ColumnsConfig | SquadConfig | QuestionsConfig,
    Tagged(),
]

__all__ = ["Reader", "ReaderChoice"]
