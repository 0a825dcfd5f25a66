"""Generators of ELECTRA: models that replace masked tokens by samples (arXiv:2003.10555, section 3.2)."""

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
    """A backbone and its head."""

    def __init__(self, backbone: Backbone, head: Head):
        super().__init__()
        self.backbone, self.head = backbone, head


class SmallerGeneratorConfig(Config):
    """A narrower model of the same kind, sharing the main model's embeddings of tokens, positions and segments."""

    kind: Literal["smaller"] = "smaller"
    hidden_share: Annotated[float, Field(gt=0, le=1)] = 0.25
    """its width and that of its feed-forward networks, as a fraction of the main model's; heads keep their width"""
    model: dict[str, Any] = Field(default={})
    """settings that differ from [model]"""
    head: dict[str, Any] = Field(default={})
    """settings that differ from [head]"""

    def spec(self, main: ModelSpec) -> ModelSpec:
        """The generator's specification, from that of the main model."""
        where = "objective.generator"
        main = replace(main, model=main.model.narrowed(self.hidden_share, where))
        return main.override({"model": self.model, "head": self.head}, where)

    def build(self, spec: ModelSpec, main: Backbone) -> Generator:
        """The generator for a main model."""
        spec = self.spec(spec)
        backbone = spec.backbone()
        share_embeddings(backbone, main)
        return Generator(backbone, spec.head_on(backbone))


class TiedGeneratorConfig(Config):
    """The main model itself with a second head."""

    kind: Literal["tied"] = "tied"

    def spec(self, main: ModelSpec) -> ModelSpec:
        """Spec of the generator: that of the main model."""
        return main

    def build(self, spec: ModelSpec, main: Backbone) -> Generator:
        """The generator for a main model."""
        return Generator(main, spec.head_on(main))


class UniformGeneratorConfig(Config):
    """No model: samples are uniform over the vocabulary."""

    kind: Literal["uniform"] = "uniform"

    def spec(self, main: ModelSpec) -> None:
        """None: there is no generator to build."""

    def build(self, spec: ModelSpec, main: Backbone) -> None:
        """None: there is no model."""


GeneratorChoice = Annotated[SmallerGeneratorConfig | TiedGeneratorConfig | UniformGeneratorConfig, Tagged()]


def share_embeddings(backbone: Backbone, main: Backbone) -> None:
    """Replace the embedding modules of a backbone by those of the main model."""
    for name in main.embeds:
        own, shared = getattr(backbone, name), getattr(main, name)
        shapes = [[p.shape for p in part.parameters()] if part is not None else [] for part in (own, shared)]
        if shapes[0] != shapes[1]:
            raise ConfigError(
                "objective.generator: it shares the main model's embeddings, which must have the same shapes: "
                "leave model.embedding, embedding_dim, context, positions, segments and norm as they are"
            )
        if shapes[0]:
            setattr(backbone, name, shared)
