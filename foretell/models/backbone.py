"""The contract of neural language models."""

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

    `reads` names the supported properties and inputs, so that an objective can be refused when it is built instead of
    failing during training: "causal" (position t sees nothing after t), "bidirectional", "state" (outside training it
    continues from a returned state), "recurrence" (in training too), "lengths", "positions", "segments", "documents".
    """

    reads: frozenset[str]
    dim: int
    """width of `Hidden.last`"""
    embedding: Embedding
    blocks: nn.ModuleList
    """blocks from input to output, for unfreezing, layer-wise learning rates and activation checkpointing; layers may
    share a block, so that `Hidden.layers`, with a tensor per layer, may be longer"""
    embeds: ClassVar[tuple[str, ...]] = ("embedding",)
    """names of the modules before the blocks, which a model of another width may share"""
    context: int | None = None
    """longest context in tokens; None: unlimited, through the state"""
    overlap: int = 0
    """number of tokens read again when the context is full"""

    @abstractmethod
    def forward(self, inputs: Inputs, state: State) -> Hidden:
        """inputs of [B, T], state from the previous window or None -> Hidden, with the state for the next window."""

    @property
    def pooling(self) -> PoolingConfig:
        """Default pooling of a text into one vector."""
        return ConcatConfig()

    def macs_per_token(self, length: int) -> float:
        """Multiply-accumulates of matrix products per token, in rows of `length` tokens."""
        return macs_per_token(self)

    @abstractmethod
    def initial_state(self, rows: int, ahead: int = 0) -> State:
        """The state before the first token; a growing state is allocated for `ahead` tokens."""

    def cells(self, state: State) -> Sequence[Tensor]:
        """The memory cells [B, H] of each layer in a state, first to last; empty if layers have none."""
        return ()
