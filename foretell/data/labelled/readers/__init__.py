"""Readers: from files to examples. Nothing is guessed: a reader states the columns, the quoting and the encoding.

A part that is not an example is a `BadRow` with file, line and reason, and reading continues after it.
"""

from __future__ import annotations

from typing import Annotated

from foretell.config import Tagged
from foretell.data.labelled.readers.columns import ColumnsConfig
from foretell.data.labelled.readers.folders import FoldersConfig
from foretell.data.labelled.readers.lines import Reader
from foretell.data.labelled.readers.prefixed import PrefixedConfig
from foretell.data.labelled.readers.questions import QuestionsConfig
from foretell.data.labelled.readers.squad import SquadConfig
from foretell.data.labelled.readers.tables import OptionsConfig, TableConfig

ReaderChoice = Annotated[
    TableConfig | OptionsConfig | PrefixedConfig | FoldersConfig | ColumnsConfig | SquadConfig | QuestionsConfig,
    Tagged(),
]

__all__ = ["Reader", "ReaderChoice"]
