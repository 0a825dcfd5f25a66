"""How a Transformer knows the order of its tokens.

Either a vector is added to each word (learned, sinusoid), or queries and keys are turned by an angle that grows with
the place (rotary), or nothing is done: causal attention can count.

B rows, T tokens, C the context, E width of the word vectors, d width of a head.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from foretell.config import Config, Positive, Tagged
from foretell.nn.initializers import NormalConfig

Rotation = tuple[Tensor, Tensor]
"""cosines and sines [..., T, 1, 1, d] that queries and keys [..., T, 2, H, d] are turned by"""


class Positions(nn.Module):
    """What tells the places of a window's tokens; abstract: subclasses are final, and do one of the two."""

    def vectors(self, places: Tensor) -> Tensor | None:
        """places [..., T] int64 -> what is added to the word vectors, [..., T, E]."""
        return None

    def turning(self, places: Tensor) -> Rotation | None:
        """places [..., T] int64 -> what queries and keys are turned by."""
        return None


class NoPositions(Positions):
    """Nothing tells them."""


class LearnedPositions(Positions):
    """A vector for each place. `weight` [offset + C, E]; the first `offset` rows are nobody's."""

    def __init__(self, context: int, width: int, offset: int = 0):
        super().__init__()
        self.offset = offset
        self.weight = nn.Parameter(torch.empty(offset + context, width))

    def vectors(self, places: Tensor) -> Tensor:
        """See `Positions.vectors`."""
        return F.embedding(places + self.offset if self.offset else places, self.weight)


class SinusoidPositions(Positions):
    """PE[t, 2 i] = sin(t w_i), PE[t, 2 i + 1] = cos(t w_i), w_i = base^(-2 i / E) (arXiv:1706.03762, 3.5)."""

    table: Tensor
    """[C, E]"""

    def __init__(self, context: int, width: int, base: float):
        super().__init__()
        angles = angles_of(context, width, base)
        table = torch.stack([angles.sin(), angles.cos()], -1).flatten(1)
        self.register_buffer("table", table.to(torch.get_default_dtype()), persistent=False)

    def vectors(self, places: Tensor) -> Tensor:
        """See `Positions.vectors`."""
        return F.embedding(places, self.table)


class RotaryPositions(Positions):
    """Turns each pair (x_i, x_(i + d/2)) of a query or key by t w_i, w_i = base^(-2 i / d) (arXiv:2104.09864).

    Pairs of one half with the other, as GPT-NeoX and what came after it have them; the paper pairs neighbours.
    """

    cosines: Tensor
    """[C, d]"""
    sines: Tensor
    """[C, d]"""

    def __init__(self, context: int, head_width: int, base: float):
        super().__init__()
        angles = angles_of(context, head_width, base).repeat(1, 2)
        for name, table in (("cosines", angles.cos()), ("sines", angles.sin())):
            self.register_buffer(name, table.to(torch.get_default_dtype()), persistent=False)

    def turning(self, places: Tensor) -> Rotation:
        """See `Positions.turning`."""
        cosines, sines = F.embedding(places, self.cosines), F.embedding(places, self.sines)
        return cosines[..., None, None, :], sines[..., None, None, :]


def angles_of(context: int, width: int, base: float) -> Tensor:
    """[C, width / 2] float64: place times w_i = base^(-2 i / width)."""
    speeds = base ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    return torch.arange(context, dtype=torch.float64)[:, None] * speeds


def rotate(x: Tensor, turning: Rotation) -> Tensor:
    """x [..., T, 2, H, d] turned by its tokens' angles."""
    cosines, sines = turning
    one, other = x.chunk(2, -1)
    return x * cosines + torch.cat([-other, one], -1) * sines


# --- settings -------------------------------------------------------------------------------------


class LearnedConfig(Config):
    """A learned vector for each place is added to the word."""

    kind: Literal["learned"] = "learned"
    offset: Annotated[int, Field(ge=0, le=2**24)] = 0
    """so many rows before the first place's, which stand for nothing: RoBERTa's table has 2"""
    std: Positive | None = None
    """standard deviation they begin with; absent: that of all weights"""

    def build(self, context: int, width: int, head_width: int, initial: NormalConfig) -> LearnedPositions:
        """Places 0 to `context` - 1 as vectors of `width`."""
        positions = LearnedPositions(context, width, self.offset)
        initial.fill(positions.weight, scale=1.0 if self.std is None else self.std / initial.std)
        return positions


class SinusoidConfig(Config):
    """Sines and cosines of the place are added to the word; nothing is learned."""

    kind: Literal["sinusoid"] = "sinusoid"
    base: Annotated[float, Field(gt=1, le=1e12)] = 10_000.0

    def build(self, context: int, width: int, head_width: int, initial: NormalConfig) -> SinusoidPositions:
        """Places 0 to `context` - 1 as vectors of `width`, which has to be even."""
        return SinusoidPositions(context, width, self.base)


class RotaryConfig(Config):
    """Queries and keys are turned by the place, so that a head sees distances; nothing is learned."""

    kind: Literal["rotary"] = "rotary"
    base: Annotated[float, Field(gt=1, le=1e12)] = 10_000.0

    def build(self, context: int, width: int, head_width: int, initial: NormalConfig) -> RotaryPositions:
        """Places 0 to `context` - 1 as angles for heads of `head_width`, which has to be even."""
        return RotaryPositions(context, head_width, self.base)


class NoPositionsConfig(Config):
    """Nothing tells the order, but that causal attention sees what came before."""

    kind: Literal["none"] = "none"

    def build(self, context: int, width: int, head_width: int, initial: NormalConfig) -> NoPositions:
        """Without any settings."""
        return NoPositions()


PositionsChoice = Annotated[LearnedConfig | SinusoidConfig | RotaryConfig | NoPositionsConfig, Tagged()]
