"""Position encodings of Transformers.

Learned and sinusoid positions add a vector to the token's; rotary ones rotate queries and keys by an angle that grows
with the position. Without any, causal attention can still infer the order.

B rows, T tokens, C the context, E width of the token vectors, d width of a head.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn
from typing_extensions import override

from foretell.config import Config, Positive, Size, Tagged
from foretell.nn.initializers import NormalConfig

Rotation = tuple[Tensor, Tensor]
"""cosines and sines [..., T, 1, d] that rotate queries and keys [..., T, H, d]"""


class Positions(nn.Module):
    """A position encoding: added vectors, a rotation, or neither; abstract: subclasses are final."""

    def vectors(self, positions: Tensor) -> Tensor | None:
        """positions [..., T] int64 -> vectors [..., T, E] added to those of the tokens."""
        return None

    def rotation(self, positions: Tensor) -> Rotation | None:
        """positions [..., T] int64 -> the rotation of queries and keys."""
        return None


class NoPositions(Positions):
    """No position encoding."""


class LearnedPositions(Positions):
    """A learned vector per position: `weight` [offset + C, E], whose first `offset` rows are unused."""

    def __init__(self, context: int, width: int, offset: int = 0):
        super().__init__()
        self.offset = offset
        self.weight = nn.Parameter(torch.empty(offset + context, width))

    @override
    def vectors(self, positions: Tensor) -> Tensor:
        return F.embedding(positions + self.offset if self.offset else positions, self.weight)


class SinusoidPositions(Positions):
    """PE[t, 2 i] = sin(t w_i), PE[t, 2 i + 1] = cos(t w_i), w_i = base^(-2 i / E) (arXiv:1706.03762, 3.5)."""

    table: Tensor
    """[C, E]"""

    def __init__(self, context: int, width: int, base: float):
        super().__init__()
        angles = angle_table(context, frequencies(width, base))
        table = torch.stack([angles.sin(), angles.cos()], -1).flatten(1)
        self.register_buffer("table", table.to(torch.get_default_dtype()), persistent=False)

    @override
    def vectors(self, positions: Tensor) -> Tensor:
        return F.embedding(positions, self.table)


class RotaryPositions(Positions):
    """Rotates each pair (x_i, x_(i + d/2)) of a query or key by t w_i, w_i = base^(-2 i / d) (arXiv:2104.09864).

    Pairs are formed across the two halves, as in GPT-NeoX and its successors; the paper pairs neighbours. `scaling`
    lowers the frequencies w_i, for contexts longer than the model was first trained on.
    """

    cosines: Tensor
    """[C, d]"""
    sines: Tensor
    """[C, d]"""

    def __init__(self, context: int, head_width: int, base: float, scaling: ScalingChoice | None = None):
        super().__init__()
        speeds = frequencies(head_width, base)
        angles = angle_table(context, speeds if scaling is None else scaling.scaled(speeds))
        for name, function in (("cosines", torch.cos), ("sines", torch.sin)):
            table = function(angles).to(torch.get_default_dtype()).repeat(1, 2)
            self.register_buffer(name, table, persistent=False)

    @override
    def rotation(self, positions: Tensor) -> Rotation:
        cosines, sines = F.embedding(positions, self.cosines), F.embedding(positions, self.sines)
        return cosines[..., None, :], sines[..., None, :]


def frequencies(width: int, base: float) -> Tensor:
    """[width / 2] float64: w_i = base^(-2 i / width), in radians per token."""
    return base ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)


def angle_table(context: int, frequencies: Tensor) -> Tensor:
    """[C, number of frequencies] float64: position times frequency."""
    return torch.arange(context, dtype=torch.float64)[:, None] * frequencies


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Rotate x [..., T, H, d] by the angles of its positions."""
    cosines, sines = rotation
    first, second = x.chunk(2, -1)
    return x * cosines + torch.cat([-second, first], -1) * sines


# --- settings -------------------------------------------------------------------------------------


class LearnedConfig(Config):
    """Add a learned vector per position."""

    kind: Literal["learned"] = "learned"
    offset: Annotated[int, Field(ge=0, le=2**24)] = 0
    """unused rows at the start of the table: RoBERTa's has 2"""
    std: Positive | None = None
    """standard deviation of the initial vectors; absent: that of all weights"""

    def build(self, context: int, width: int, head_width: int, initial: NormalConfig) -> LearnedPositions:
        """Build vectors of `width` for positions 0 to `context` - 1."""
        positions = LearnedPositions(context, width, self.offset)
        initial.fill(positions.weight, scale=1.0 if self.std is None else self.std / initial.std)
        return positions


class SinusoidConfig(Config):
    """Add sines and cosines of the position; nothing is learned."""

    kind: Literal["sinusoid"] = "sinusoid"
    base: Annotated[float, Field(gt=1, le=1e12)] = 10_000.0

    def build(self, context: int, width: int, head_width: int, initial: NormalConfig) -> SinusoidPositions:
        """Build vectors of `width`, which has to be even, for positions 0 to `context` - 1."""
        return SinusoidPositions(context, width, self.base)


Factor = Annotated[float, Field(ge=1, le=1e12)]
"""longer context over that of the first training"""


class LinearScalingConfig(Config):
    """Divide all frequencies by `factor`: position interpolation (Chen et al. 2023, arXiv:2306.15595)."""

    kind: Literal["linear"] = "linear"
    factor: Factor = 2.0

    def scaled(self, frequencies: Tensor) -> Tensor:
        """Frequencies [d / 2] -> frequencies [d / 2]."""
        return frequencies / self.factor


class Llama3ScalingConfig(Config):
    """Divide low frequencies by `factor` and keep high ones (Llama 3.1).

    With t = `original_context` w / 2 pi, the turns that frequency w makes in the original context, w becomes
    (s + (1 - s) / factor) w, where s rises from 0 at t = `low_freq_factor` to 1 at t = `high_freq_factor`. The formula
    and the defaults are those of `apply_scaling` in Llama 3.1's code (github.com/meta-llama/llama-models), which
    transformers has as rope_type "llama3"; the models are described in arXiv:2407.21783.
    """

    kind: Literal["llama3"] = "llama3"
    factor: Factor = 8.0
    """divisor of low frequencies (Llama 3.2: 32.0)"""
    low_freq_factor: Positive = 1.0
    """frequencies with fewer turns in the original context are divided by `factor`"""
    high_freq_factor: Positive = 4.0
    """frequencies with more turns are kept"""
    original_context: Size = 8192
    """context of the first training, in tokens"""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.high_freq_factor <= self.low_freq_factor:
            low, high = self.low_freq_factor, self.high_freq_factor
            raise ValueError(f"high_freq_factor = {high:g} has to be larger than low_freq_factor = {low:g}")
        return self

    def scaled(self, frequencies: Tensor) -> Tensor:
        """Frequencies [d / 2] -> frequencies [d / 2]."""
        turns = self.original_context * frequencies / (2 * math.pi)
        kept = ((turns - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor)).clamp(0, 1)
        return frequencies * (kept + (1 - kept) / self.factor)


ScalingChoice = Annotated[LinearScalingConfig | Llama3ScalingConfig, Tagged()]


class RotaryConfig(Config):
    """Rotate queries and keys, so that their products depend on distances; nothing is learned."""

    kind: Literal["rotary"] = "rotary"
    base: Annotated[float, Field(gt=1, le=1e12)] = 10_000.0
    scaling: ScalingChoice | None = None
    """lower frequencies, for a context longer than that of the first training; absent: as `base` gives them"""

    def build(self, context: int, width: int, head_width: int, initial: NormalConfig) -> RotaryPositions:
        """Build angles for heads of `head_width`, which has to be even, and positions 0 to `context` - 1."""
        return RotaryPositions(context, head_width, self.base, self.scaling)


class NoPositionsConfig(Config):
    """No position encoding: only causal attention shows the order."""

    kind: Literal["none"] = "none"

    def build(self, context: int, width: int, head_width: int, initial: NormalConfig) -> NoPositions:
        """Build a module without parameters."""
        return NoPositions()


PositionsChoice = Annotated[LearnedConfig | SinusoidConfig | RotaryConfig | NoPositionsConfig, Tagged()]
