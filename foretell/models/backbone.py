"""What every neural language model offers to objectives, heads, optimisers and parallelism."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from foretell.nn.embedding import Embedding
from foretell.nn.flops import macs_per_token
from foretell.nn.pooling import ConcatConfig, PoolingConfig
from foretell.types import Hidden, Inputs, State


class Backbone(nn.Module):
    """A function `(tokens, state) -> (hidden, state)`; abstract: subclasses are final.

    `reads` names what it understands beyond tokens, so that an objective can be refused when it is built instead of
    failing in the middle of training: "causal" (position t sees nothing after t), "bidirectional", "state"
    (outside training it goes on from the state it returned), "recurrence" (in training too), "lengths", "positions",
    "segments", "documents".
    """

    reads: frozenset[str]
    dim: int
    """width of `Hidden.last`"""
    embedding: Embedding
    blocks: nn.ModuleList
    """layers from input to output, each once where several share it: what FSDP wraps, unfreezing thaws, layer-wise
    rates scale, recomputing recomputes; `Hidden.layers` has one tensor a layer, so more where layers share blocks"""
    embeds: ClassVar[tuple[str, ...]] = ("embedding",)
    """the modules that make vectors of tokens, which a model of another width may share"""
    context: int | None = None
    """how many tokens it sees at most; None: as many as the state remembers"""
    overlap: int = 0
    """how many of them it reads again when the context is full"""

    @abstractmethod
    def forward(self, inputs: Inputs, state: State) -> Hidden:
        """inputs of [B, T], state from the previous window or None -> Hidden, with the state for the next window."""

    @property
    def pooling(self) -> PoolingConfig:
        """How a text becomes one vector where the recipe does not say."""
        return ConcatConfig()

    def macs_per_token(self, length: int) -> float:
        """Multiplications that one token takes, of rows of `length` tokens; those of matrix products only."""
        return macs_per_token(self)

    @abstractmethod
    def initial_state(self, rows: int, ahead: int = 0) -> State:
        """The state of rows that have seen nothing yet, with room for so many tokens where it would grow with them."""

    def cells(self, state: State) -> Sequence[Tensor]:
        """Of a state the memory cells [B, H] of each layer, first to last; none where layers have no such thing."""
        return ()
