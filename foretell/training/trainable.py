"""Which parameters of a model are trained: all, the top layers, or adapters.

A stage may change this: gradual unfreezing (Howard and Ruder 2018, ULMFiT, arXiv:1801.06146, section 3.3) is one stage
for each layer.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Literal

from torch import Tensor
from typing_extensions import override

from foretell.config import Config, Count, Positive, Tagged, Width
from foretell.errors import ConfigError
from foretell.nn.adapter import Adapter, adapt, merged
from foretell.objectives.objective import Objective


class TrainableConfig(Config):
    """Base of the settings; abstract."""

    @abstractmethod
    def prepare(self, objective: Objective) -> None:
        """Freeze the other parameters, and add adapters, in place."""

    def merged(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights of a prepared model as those of a plain one that computes the same."""
        return dict(tensors)


class FullConfig(TrainableConfig):
    """All parameters."""

    kind: Literal["full"] = "full"

    @override
    def prepare(self, objective: Objective) -> None:
        pass


class TopConfig(TrainableConfig):
    """The output layers and the uppermost layers of the backbone; the rest is frozen."""

    kind: Literal["top"] = "top"
    layers: Count = 0
    """number of layers of the backbone; 0: none. A weight shared by two layers belongs to the upper one"""

    @override
    def prepare(self, objective: Objective) -> None:
        layer_depths = objective.layer_depths()
        if min(layer_depths.values()) > self.layers:
            raise ConfigError(
                f"trainable.layers = {self.layers} trains nothing: there is no weight on top of the layers"
            )
        for parameter, depth in layer_depths.items():
            parameter.requires_grad_(depth <= self.layers)


class LoRAConfig(TrainableConfig):
    """Low-rank adapters on all weight matrices of the backbone, and the output layers (LoRA, arXiv:2106.09685)."""

    kind: Literal["lora"] = "lora"
    rank: Width = 8
    """of the product added to a weight; a matrix for several gates, or for queries, keys and values, has one adapter"""
    alpha: Positive = 16.0
    """the product is multiplied by alpha / rank"""

    @property
    def scale(self) -> float:
        """The factor on the product."""
        return self.alpha / self.rank

    @override
    def prepare(self, objective: Objective) -> None:
        objective.backbone.requires_grad_(False)
        adapters: list[Adapter] = list(adapt(objective.backbone.blocks, self.rank, self.scale))
        if not adapters:
            raise ConfigError(
                'trainable.kind = "lora" finds no weight matrices in the layers of this model; set "full"'
            )

    @override
    def merged(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return merged(tensors, self.scale)


TrainableChoice = Annotated[FullConfig | TopConfig | LoRAConfig, Tagged()]
