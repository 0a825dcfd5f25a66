"""Layer outputs that are finished on access, as most of them are never read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import overload

from torch import Tensor

from foretell.nn.ragged import real_tokens


class LazyLayers(Sequence[Tensor]):
    """Outputs of layers, to which `finish` is applied on access."""

    def __init__(self, outputs: list[Tensor], finish: Callable[[Tensor], Tensor]):
        self.outputs, self.finish = outputs, finish

    def __len__(self) -> int:
        return len(self.outputs)

    @overload
    def __getitem__(self, which: int) -> Tensor: ...
    @overload
    def __getitem__(self, which: slice) -> Sequence[Tensor]: ...
    def __getitem__(self, which: int | slice) -> Tensor | Sequence[Tensor]:
        outputs = self.outputs[which]
        return self.finish(outputs) if isinstance(outputs, Tensor) else LazyLayers(outputs, self.finish)


def zero_padding(outputs: list[Tensor], lengths: Tensor | None) -> Sequence[Tensor]:
    """The outputs [B, T, D] of layers, with zeros for padding."""
    if lengths is None:
        return outputs
    real = real_tokens(outputs[0].shape[1], lengths)[..., None]
    return LazyLayers(outputs, lambda layer: layer * real)
