"""The ways there are to cut a text into batches."""

from __future__ import annotations

from typing import Annotated

from foretell.config import Tagged
from foretell.data.batches.framing import ExamplesConfig
from foretell.data.batches.packing import DocConfig, FullConfig, SegmentPairConfig, SentencePairConfig
from foretell.data.batches.streams import CropsConfig, DocumentsConfig, LinesConfig, StreamsConfig

BatchesChoice = Annotated[
    StreamsConfig
    | DocumentsConfig
    | LinesConfig
    | CropsConfig
    | FullConfig
    | DocConfig
    | SegmentPairConfig
    | SentencePairConfig
    | ExamplesConfig,
    Tagged(),
]
