"""Tasks that predict one thing of a whole text or a pair, from one pooled vector.

B examples, n readings of each, N = B x n texts, T positions, D width of the model, W width of the pooled vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from typing_extensions import override

from foretell.data.batches.framing import Framing, Reading
from foretell.data.labelled.examples import Labelled
from foretell.errors import ConfigError
from foretell.models.backbone import Backbone
from foretell.models.model_spec import ModelSpec
from foretell.nn.pooling import PoolingChoice, PoolingConfig
from foretell.tasks.task import Task, TaskConfig, each_reading
from foretell.types import Inputs
from foretell.units import counted


class PooledConfig(TaskConfig):
    """Base of tasks that pool a text into one vector; abstract."""

    pooling: PoolingChoice | None = None
    """how the vectors of a text's tokens become one; absent: "first" for a bidirectional Transformer, "extract" for a
    causal one, "concat" for a recurrent model"""


class TextsConfig(PooledConfig):
    """Base of tasks on one text or a pair; abstract."""

    takes = Labelled
    orders: Literal["given", "both"] = "given"
    """both: read a pair in both orders and add the pooled vectors, for pairs without an order (GPT)"""

    def readings(self, examples: Sequence[Labelled], framing: Framing) -> list[tuple[Reading, ...]]:
        """The readings of each example."""
        encoded = iter(framing.encode([text for example in examples for text in example.texts]))
        texts = [[next(encoded) for _ in example.texts] for example in examples]
        if self.orders == "given":
            return [(framing.frame(*parts),) for parts in texts]
        return [(framing.frame(*parts), framing.frame(*parts[::-1])) for parts in texts]

    @override
    def input_fault(self, example: Labelled, labels: tuple[str, ...]) -> str:
        if len(example.texts) not in (1, 2):
            return f"{counted(len(example.texts), 'text')}, where one or two are read"
        if self.orders == "both" and len(example.texts) == 1:
            return 'one text has no other order; set objective.orders = "given"'
        return ""

    @override
    def example_fault(self, example: Labelled, labels: tuple[str, ...]) -> str:
        """Faults of the texts; subclasses check the label."""
        empty = not all(text.strip() for text in example.texts)
        return self.input_fault(example, labels) or ("an empty text" if empty else "")

    @override
    def parse_line(self, line: str, where: str) -> Labelled:
        """A text, or two separated by a tab."""
        return Labelled(tuple(line.split("\t")), None, where)


class Pooled(Task):
    """Output layers on one vector per reading; abstract. `pooler` is BERT's dense layer on the first token."""

    def __init__(self, config: PooledConfig, spec: ModelSpec, outputs: int):
        super().__init__(config, spec)
        self.pooling = config.pooling or self.backbone.pooling
        check_pooling(self.pooling, self.backbone)
        width = self.backbone.dim * self.pooling.times
        self.pooler = config.outputs.linear(width, width) if self.pooling.dense else None
        self.outputs = config.outputs.build(width, outputs)

    def pooled(self, vectors: Tensor, inputs: Inputs) -> Tensor:
        """Vectors [N, T, D] -> [B, W], or [B, n, W] where there are several readings."""
        pooled = self.pooling.pool(vectors, each_reading(inputs).lengths)  # [N, W]
        if self.pooler is not None:
            pooled = torch.tanh(self.pooler(pooled))
        return pooled.view(*inputs.tokens.shape[:-1], -1)


def check_pooling(pooling: PoolingConfig, backbone: Backbone) -> None:
    """Raise `ConfigError` where the pooled vector would not depend on the text."""
    if pooling.needs_both_sides and "bidirectional" not in backbone.reads:
        raise ConfigError(
            'objective.pooling = "first": the first token of a model that reads forwards has seen nothing of the text; '
            'take "last", "mean", "max" or "concat"'
        )
