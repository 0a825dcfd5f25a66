"""What puts tokens in the place of hidden ones, for a main model to find out (ELECTRA, arXiv:2003.10555, 3.2)."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field
from torch import nn

from foretell.config import Config, Tagged
from foretell.errors import ConfigError
from foretell.models.backbone import Backbone
from foretell.models.model_spec import ModelSpec
from foretell.nn.heads import Head


class Generator(nn.Module):
    """A backbone and the head on it."""

    def __init__(self, backbone: Backbone, head: Head):
        super().__init__()
        self.backbone, self.head = backbone, head


class SmallerGeneratorConfig(Config):
    """A narrower model of the same kind on the main one's embeddings: words, positions, segments and their norm."""

    kind: Literal["smaller"] = "smaller"
    hidden_share: Annotated[float, Field(gt=0, le=1)] = 0.25
    """its width, and that of its feed-forward networks, beside the main model's; its heads are as wide as those"""
    model: dict[str, Any] = Field(default={})
    """what else differs from the main model, as in [model]"""
    head: dict[str, Any] = Field(default={})
    """what differs from [head]"""

    def spec(self, main: ModelSpec) -> ModelSpec:
        """What the generator beside a main model is built from."""
        where = "objective.generator"
        main = replace(main, model=main.model.narrowed(self.hidden_share, where))
        return main.override({"model": self.model, "head": self.head}, where)

    def build(self, spec: ModelSpec, main: Backbone) -> Generator:
        """The generator beside a main model."""
        spec = self.spec(spec)
        backbone = spec.backbone()
        share_embeddings(backbone, main)
        return Generator(backbone, spec.head_on(backbone))


class TiedGeneratorConfig(Config):
    """The main model itself, with a head of its own."""

    kind: Literal["tied"] = "tied"

    def spec(self, main: ModelSpec) -> ModelSpec:
        """Spec of the generator: that of the main model."""
        return main

    def build(self, spec: ModelSpec, main: Backbone) -> Generator:
        """The generator beside a main model."""
        return Generator(main, spec.head_on(main))


class UniformGeneratorConfig(Config):
    """No model: every token of the vocabulary is as probable as any other."""

    kind: Literal["uniform"] = "uniform"

    def spec(self, main: ModelSpec) -> None:
        """None: there is no generator to build."""

    def build(self, spec: ModelSpec, main: Backbone) -> None:
        """Nothing."""


GeneratorChoice = Annotated[SmallerGeneratorConfig | TiedGeneratorConfig | UniformGeneratorConfig, Tagged()]


def share_embeddings(backbone: Backbone, main: Backbone) -> None:
    """Let a model use the modules of another that make vectors of tokens."""
    for name in main.embeds:
        mine, theirs = getattr(backbone, name), getattr(main, name)
        shapes = [[p.shape for p in part.parameters()] if part is not None else [] for part in (mine, theirs)]
        if shapes[0] != shapes[1]:
            raise ConfigError(
                "objective.generator: it shares the main model's embeddings, which have to be of the same shape: "
                "leave model.embedding, embedding_dim, context, positions, segments and norm as they are"
            )
        if shapes[0]:
            setattr(backbone, name, theirs)
