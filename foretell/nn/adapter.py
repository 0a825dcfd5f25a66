"""Low-rank adapters: a small learned product added to a frozen weight.

Hu et al. 2021 (LoRA, arXiv:2106.09685). N outputs, K inputs, R the rank.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

DOWN, UP = ".down", ".up"


class Adapter(nn.Module):
    """scale * up @ down, added to a weight [N, K]; initially zero, as `up` is.

    Parameters: down [R, K], uniform in +- 1 / sqrt(K) like a new linear layer; up [N, R].
    """

    def __init__(self, weight: Tensor, rank: int, scale: float):
        super().__init__()
        outputs, inputs = weight.shape
        self.scale = scale
        self.down = nn.Parameter(weight.new_empty(rank, inputs).uniform_(-(inputs**-0.5), inputs**-0.5))
        self.up = nn.Parameter(weight.new_zeros(outputs, rank))

    def forward(self, weight: Tensor) -> Tensor:
        """weight [N, K] -> the adapted weight [N, K]"""
        return torch.addmm(weight, self.up, self.down, alpha=self.scale)

    def beside(self, inputs: Tensor) -> Tensor:
        """inputs [..., K] -> the adapter's part of their product with the weight [..., N]"""
        return F.linear(F.linear(inputs, self.down) * self.scale, self.up)


def adapt(module: nn.Module, rank: int, scale: float) -> Iterator[Adapter]:
    """Add an adapter to every weight matrix of a module, except embeddings, and yield them.

    Modules that read their weight get the adapted one. Linear layers multiply inputs with weight and adapter
    separately, so that neither the sum nor a gradient of its size is computed.
    """
    for part in list(module.modules()):
        for name, weight in list(part.named_parameters(recurse=False)):
            if weight.dim() != 2 or isinstance(part, nn.Embedding):
                continue
            adapter = Adapter(weight.detach(), rank, scale)
            parametrize.register_parametrization(part, name, adapter, unsafe=True)  # it keeps shape and dtype
            if isinstance(part, nn.Linear):
                setattr(part, "forward", partial(multiply, part))  # noqa: B010 - not a method of the class
            yield adapter


def multiply(layer: nn.Linear, inputs: Tensor) -> Tensor:
    """Linear layer with an adapter: inputs [..., K] -> [..., N]."""
    adapted = cast(parametrize.ParametrizationList, cast(nn.ModuleDict, layer.parametrizations)["weight"])
    return F.linear(inputs, adapted.original, layer.bias) + cast(Adapter, adapted[0]).beside(inputs)


# --- as named tensors -----------------------------------------------------------------------------


def plain_name(name: str) -> str:
    """Name of a parameter as if no adapters were present; an adapter's own are `weight.down` and `weight.up`."""
    return re.sub(r"parametrizations\.(\w+)\.(?:original|0(\.\w+))$", r"\1\2", name)


def adapters_in(names: Collection[str]) -> set[str]:
    """The plain names that belong to adapters."""
    return {name for name in names if name.endswith((DOWN, UP)) and name.rpartition(".")[0] in names}


def merged(tensors: Mapping[str, Tensor], scale: float) -> dict[str, Tensor]:
    """The tensors by plain name, with each adapter merged into its weight."""
    own = adapters_in(tensors)
    plain = {name: tensor for name, tensor in tensors.items() if name not in own}
    for weight in {name.rpartition(".")[0] for name in own}:
        down, up = tensors[weight + DOWN], tensors[weight + UP]
        plain[weight] = torch.addmm(tensors[weight], up, down, alpha=scale)
    return plain
