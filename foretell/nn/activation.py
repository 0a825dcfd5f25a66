"""Activations of feed-forward networks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

ActivationName = Literal["gelu", "gelu_tanh", "relu"]
ACTIVATIONS: dict[ActivationName, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,  # arXiv:1606.08415, exact
    "gelu_tanh": partial(F.gelu, approximate="tanh"),  # as in the original codes of GPT, GPT-2, BERT and ALBERT
    "relu": F.relu,
}
GatedName = Literal["geglu", "swiglu"]
GATES: dict[GatedName, Callable[[Tensor], Tensor]] = {"geglu": F.gelu, "swiglu": F.silu}
"""activations of the half of the inner vector that gates the other half (arXiv:2002.05202)"""


def function_of(name: ActivationName | GatedName) -> tuple[Callable[[Tensor], Tensor], bool]:
    """Return the activation and whether it gates: applies to one half of a vector, which multiplies the other."""
    if name == "geglu" or name == "swiglu":
        return GATES[name], True
    return ACTIVATIONS[name], False
