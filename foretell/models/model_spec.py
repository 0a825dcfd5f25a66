"""Specification of the model that an objective builds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from foretell import config, trees
from foretell.config import Config
from foretell.models.backbone import Backbone
from foretell.models.kinds import BackboneChoice
from foretell.nn.heads import Head, HeadChoice
from foretell.nn.vocabulary import Counts


class Parts(Config):
    """The sections of a recipe in a `ModelSpec`."""

    model: BackboneChoice
    head: HeadChoice


@dataclass(frozen=True)
class ModelSpec:
    """Settings of a backbone and its head, and what building them needs besides."""

    model: Any
    """a member of `BackboneChoice`, or one from outside"""
    head: Any
    """a member of `HeadChoice`, or one from outside"""
    vocabulary: int
    counts: Counts | None = None
    """[vocabulary] frequency of each token in the training split"""
    labels: int = 0
    """number of labels of a task; 0 for language models"""
    pair_kinds: int = 0
    """number of labels of text pairs; 0: rows are not labelled"""
    built: tuple[Backbone, Head] | None = None
    """a backbone and head to use instead of new ones, for objectives that share them"""

    def build(self) -> tuple[Backbone, Head]:
        """Build a newly initialised backbone and head, unless they are given."""
        if self.built is not None:
            return self.built
        backbone = self.backbone()
        return backbone, self.head_on(backbone)

    def backbone(self) -> Backbone:
        """Build a newly initialised backbone, unless one is given."""
        if self.built is not None:
            return self.built[0]
        built: Backbone = self.model.build(self.vocabulary, self.counts)
        return built

    def head_on(self, backbone: Backbone) -> Head:
        """Build a newly initialised head on an existing backbone, unless that one came with its head."""
        if self.built is not None and self.built[0] is backbone:
            return self.built[1]
        built: Head = self.head.build(backbone.dim, self.vocabulary, backbone.embedding, self.counts)
        return built

    def with_built(self, backbone: Backbone, head: Head) -> ModelSpec:
        """A copy whose `build` returns these modules."""
        return replace(self, built=(backbone, head))

    def override(self, tables: Mapping[str, Any], where: str = "override") -> ModelSpec:
        """A copy with other settings, as in a recipe: `{"model": {"hidden": 64}}`; raises `ConfigError` if invalid."""
        tree = {name: part.model_dump(mode="json", exclude_none=True) for name, part in self.sections()}
        for name, part in self.sections():
            tree[name]["kind"] = type(part).kind_name()
        parts = config.validate(Parts, trees.merge(tree, tables), where)
        return replace(self, model=parts.model, head=parts.head, built=None)

    def sections(self) -> tuple[tuple[str, Config], ...]:
        """The settings by section name."""
        return ("model", self.model), ("head", self.head)
