"""What tasks have in common that say one thing of a whole text, or of a pair.

B examples, n readings of each, N = B x n texts, T places, D width of the model, W width of what is pooled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from foretell.data.batches.framing import Framing, Reading
from foretell.data.labelled.examples import Labelled
from foretell.errors import ConfigError
from foretell.models.backbone import Backbone
from foretell.models.model_spec import ModelSpec
from foretell.nn.pooling import PoolingChoice, PoolingConfig
from foretell.tasks.task import Task, TaskConfig, each_reading
from foretell.types import Inputs


class PooledConfig(TaskConfig):
    """What is said of a whole text; abstract."""

    pooling: PoolingChoice | None = None
    """one vector for a text, of those of its tokens; absent: "first" where a Transformer reads from both sides,
    "extract" where it reads forwards, "concat" of a recurrent model"""


class TextsConfig(PooledConfig):
    """What is said of one text or a pair; abstract."""

    takes = Labelled
    orders: Literal["given", "both"] = "given"
    """both: a pair is read in both orders, and what is pooled is added up, as where neither text comes first (GPT)"""

    def read(self, examples: Sequence[Labelled], framing: Framing) -> list[tuple[Reading, ...]]:
        """The readings of each example."""
        encoded = iter(framing.encode([text for example in examples for text in example.texts]))
        texts = [[next(encoded) for _ in example.texts] for example in examples]
        if self.orders == "given":
            return [(framing.frame(*parts),) for parts in texts]
        return [(framing.frame(*parts), framing.frame(*parts[::-1])) for parts in texts]

    def unreadable(self, example: Labelled, names: tuple[str, ...]) -> str:
        """See `TaskConfig.unreadable`."""
        if len(example.texts) not in (1, 2):
            return f"{len(example.texts)} texts, where one or two are read"
        if self.orders == "both" and len(example.texts) == 1:
            return 'one text has no other order; set objective.orders = "given"'
        return ""

    def complaint(self, example: Labelled, names: tuple[str, ...]) -> str:
        """See `TaskConfig.complaint`: what is wrong with texts."""
        empty = not all(text.strip() for text in example.texts)
        return self.unreadable(example, names) or ("an empty text" if empty else "")

    def parse_line(self, line: str, where: str) -> Labelled:
        """See `TaskConfig.parse_line`: a text, or two with a tab between them."""
        return Labelled(tuple(line.split("\t")), None, where)


class Pooled(Task):
    """A vector for each reading, and layers on it; abstract. `pooler` is what a BERT has learnt to compare texts by."""

    def __init__(self, config: PooledConfig, spec: ModelSpec, outputs: int):
        super().__init__(config, spec)
        self.pooling = allowed(config.pooling or self.backbone.pooling, self.backbone)
        width = self.backbone.dim * self.pooling.times
        self.pooler = config.outputs.linear(width, width) if self.pooling.dense else None
        self.outputs = config.outputs.build(width, outputs)

    def pooled(self, vectors: Tensor, inputs: Inputs) -> Tensor:
        """vectors [N, T, D] -> [B, W], or [B, n, W] where there are several readings"""
        found = self.pooling.pool(vectors, each_reading(inputs).lengths)  # [N, W]
        if self.pooler is not None:
            found = torch.tanh(self.pooler(found))
        return found.view(*inputs.tokens.shape[:-1], -1)


def allowed(pooling: PoolingConfig, backbone: Backbone) -> PoolingConfig:
    """The pooling, if a text can be told by it; else a `ConfigError`."""
    if pooling.needs_both_sides and "bidirectional" not in backbone.reads:
        raise ConfigError(
            'objective.pooling = "first": the first token of a model that reads forwards has seen nothing of the text; '
            'take "last", "mean", "max" or "concat"'
        )
    return pooling
