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
    pairs: Literal["joined", "both-orders", "apart"] = "joined"
    """how a pair is read. joined: in one row; both-orders: in one row each way, the pooled vectors added, for pairs
    without an order (GPT); apart: each text alone, and the outputs see u, v, |u - v| and u * v of their vectors
    (InferSent, arXiv:1705.02364)"""

    def readings(self, examples: Sequence[Labelled], framing: Framing) -> list[tuple[Reading, ...]]:
        """The readings of each example."""
        encoded = iter(framing.encode([text for example in examples for text in example.texts]))
        texts = [[next(encoded) for _ in example.texts] for example in examples]
        if self.pairs == "joined":
            return [(framing.frame(*parts),) for parts in texts]
        if self.pairs == "apart":
            return [(framing.frame(first), framing.frame(second)) for first, second in texts]
        return [(framing.frame(*parts), framing.frame(*parts[::-1])) for parts in texts]

    @override
    def input_fault(self, example: Labelled, labels: tuple[str, ...]) -> str:
        if len(example.texts) not in (1, 2):
            return f"{counted(len(example.texts), 'text')}, where one or two are read"
        if self.pairs != "joined" and len(example.texts) == 1:
            return f'one text, and objective.pairs = "{self.pairs}" takes two; leave that out'
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
    """Output layers on one vector per reading, or on `joins` vectors of that width; abstract. `pooler` is BERT's dense
    layer on the first token."""

    def __init__(self, config: PooledConfig, spec: ModelSpec, outputs: int, joins: int = 1):
        super().__init__(config, spec)
        self.pooling = config.pooling or self.backbone.pooling
        check_pooling(self.pooling, self.backbone)
        width = self.backbone.dim * self.pooling.times
        self.pooler = config.outputs.linear(width, width) if self.pooling.dense else None
        self.outputs = config.outputs.build(joins * width, outputs)

    def pooled(self, vectors: Tensor, inputs: Inputs) -> Tensor:
        """Vectors [N, T, D] -> [B, W], or [B, n, W] where there are several readings."""
        pooled = self.pooling.pool(vectors, each_reading(inputs).lengths)  # [N, W]
        if self.pooler is not None:
            pooled = torch.tanh(self.pooler(pooled))
        return pooled.view(*inputs.tokens.shape[:-1], -1)


class PooledTexts(Pooled):
    """Output layers on one vector per example; abstract."""

    def __init__(self, config: TextsConfig, spec: ModelSpec, outputs: int):
        super().__init__(config, spec, outputs, joins=4 if config.pairs == "apart" else 1)
        self.pairs = config.pairs

    def joined(self, vectors: Tensor, inputs: Inputs) -> Tensor:
        """Vectors [N, T, D] -> the one of each example [B, W], or [B, 4 W] where the texts of pairs are read apart."""
        pooled = self.pooled(vectors, inputs)  # [B, W] or [B, 2, W]
        if pooled.dim() == 2:
            return pooled
        if self.pairs == "both-orders":
            return pooled.sum(1)
        u, v = pooled.unbind(1)
        return torch.cat([u, v, (u - v).abs(), u * v], -1)


def check_pooling(pooling: PoolingConfig, backbone: Backbone) -> None:
    """Raise `ConfigError` where the pooled vector would not depend on the text."""
    if pooling.needs_both_sides and "bidirectional" not in backbone.reads:
        raise ConfigError(
            'objective.pooling = "first": the first token of a model that reads forwards has seen nothing of the text; '
            'take "last", "mean", "max" or "concat"'
        )
