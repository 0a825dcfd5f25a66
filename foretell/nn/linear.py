"""A linear layer that generation may call thousands of times with the same weights."""

from __future__ import annotations

from torch import Tensor, nn

from foretell.kernels.product import linear


class Linear(nn.Linear):
    """torch's, with the weights laid out once where they do not change; see `kernels.product`."""

    def forward(self, inputs: Tensor) -> Tensor:
        """inputs [..., I] -> [..., O]"""
        return linear(inputs, self.weight, self.bias)
