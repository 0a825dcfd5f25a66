"""What of a model is trained: all of it, its top, or adapters beside its weights.

A stage may change it: gradual unfreezing (Howard and Ruder 2018, ULMFiT, arXiv:1801.06146, section 3.3) is a stage for
each layer more.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Literal

from torch import Tensor

from foretell.config import Config, Count, Positive, Tagged, Width
from foretell.errors import ConfigError
from foretell.nn.adapter import Adapter, adapt, merged
from foretell.objectives.objective import Objective


class TrainableConfig(Config):
    """What all kinds have in common; abstract."""

    @abstractmethod
    def prepare(self, objective: Objective) -> None:
        """Freeze what is not trained, and add what is needed for it, in place."""

    def merged(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights of a prepared model as those of a plain one that computes the same."""
        return dict(tensors)


class FullConfig(TrainableConfig):
    """All of it."""

    kind: Literal["full"] = "full"

    def prepare(self, objective: Objective) -> None:
        """See `TrainableConfig.prepare`."""


class TopConfig(TrainableConfig):
    """What is on top of the layers, and the uppermost of these; all below stays as it is."""

    kind: Literal["top"] = "top"
    layers: Count = 0
    """how many of them; 0: features are fixed. A weight that two places share belongs to the upper one"""

    def prepare(self, objective: Objective) -> None:
        """See `TrainableConfig.prepare`."""
        layer_depths = objective.layer_depths()
        if min(layer_depths.values()) > self.layers:
            raise ConfigError(
                f"trainable.layers = {self.layers} trains nothing: there is no weight on top of the layers"
            )
        for parameter, height in layer_depths.items():
            parameter.requires_grad_(height <= self.layers)


class LoRAConfig(TrainableConfig):
    """Low-rank adapters beside all weight matrices of the layers, and what is on top (LoRA, arXiv:2106.09685)."""

    kind: Literal["lora"] = "lora"
    rank: Width = 8
    """of the product that is added to a weight; a matrix for several gates, or queries, keys and values, has one"""
    alpha: Positive = 16.0
    """that product is multiplied by alpha / rank"""

    @property
    def scale(self) -> float:
        """What the product is multiplied by."""
        return self.alpha / self.rank

    def prepare(self, objective: Objective) -> None:
        """See `TrainableConfig.prepare`."""
        objective.backbone.requires_grad_(False)
        adapters: list[Adapter] = list(adapt(objective.backbone.blocks, self.rank, self.scale))
        if not adapters:
            raise ConfigError(
                'trainable.kind = "lora" finds no weight matrices in the layers of this model; set "full"'
            )

    def merged(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `TrainableConfig.merged`."""
        return merged(tensors, self.scale)


TrainableChoice = Annotated[FullConfig | TopConfig | LoRAConfig, Tagged()]
