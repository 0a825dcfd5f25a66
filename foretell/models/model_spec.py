"""What objectives build their models from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from foretell import config
from foretell.config import Config
from foretell.models.backbone import Backbone
from foretell.models.kinds import BackboneChoice
from foretell.nn.heads import Head, HeadChoice
from foretell.nn.vocabulary import Counts


class Parts(Config):
    """The sections of a recipe that a blueprint holds."""

    model: BackboneChoice
    head: HeadChoice


@dataclass(frozen=True)
class ModelSpec:
    """A backbone with its head as settings, and what else there is to know before they are built."""

    model: Any
    """a member of `BackboneChoice`, or one from outside"""
    head: Any
    """a member of `HeadChoice`, or one from outside"""
    vocabulary: int
    counts: Counts | None = None
    """how often each token occurs in the training split"""
    labels: int = 0
    """number of labels of a task; 0 for language models"""
    pair_kinds: int = 0
    """number of kinds of pairs that rows are labelled with; 0: none"""
    built: tuple[Backbone, Head] | None = None
    """a backbone and head to use instead of new ones, for objectives that share them"""

    def build(self) -> tuple[Backbone, Head]:
        """A backbone and the head on it, freshly initialised."""
        if self.built is not None:
            return self.built
        backbone = self.backbone()
        return backbone, self.head_on(backbone)

    def backbone(self) -> Backbone:
        """A backbone, freshly initialised, or the one it was given."""
        if self.built is not None:
            return self.built[0]
        built: Backbone = self.model.build(self.vocabulary, self.counts)
        return built

    def head_on(self, backbone: Backbone) -> Head:
        """A head, freshly initialised, on a backbone that there is already."""
        built: Head = self.head.build(backbone.dim, self.vocabulary, backbone.embedding, self.counts)
        return built

    def with_built(self, backbone: Backbone, head: Head) -> ModelSpec:
        """The same, whose `build` returns these."""
        return replace(self, built=(backbone, head))

    def override(self, tables: Mapping[str, Any], where: str = "override") -> ModelSpec:
        """The same with other settings, as a recipe has them: `{"model": {"hidden": 64}}`; a `ConfigError` if wrong."""
        tree = {name: part.model_dump(mode="json", exclude_none=True) for name, part in self.sections()}
        for name, part in self.sections():
            tree[name]["kind"] = type(part).kind_name()
        parts = config.validate(Parts, config.merge(tree, tables), where)
        return replace(self, model=parts.model, head=parts.head, built=None)

    def sections(self) -> tuple[tuple[str, Config], ...]:
        """The settings by the names of their sections."""
        return ("model", self.model), ("head", self.head)
