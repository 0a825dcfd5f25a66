"""Recurrent language models: an embedding and a stack of recurrent layers, regularised as in AWD-LSTM.

Merity, Keskar and Socher 2018, "Regularizing and Optimizing LSTM Language Models" (arXiv:1708.02182); Zaremba et al.
2014 (arXiv:1409.2329). B rows, T steps, E embedding width, H hidden width, D width of the last layer.
"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, Literal, cast

from torch import nn

from foretell.config import Config, Rate, Size
from foretell.models.backbone import Backbone
from foretell.nn.cells import CellChoice
from foretell.nn.dropout import dropout
from foretell.nn.embedding import EmbeddingChoice, TableConfig
from foretell.nn.layer import Layer
from foretell.nn.lstm import LSTMConfig
from foretell.nn.vocabulary import Counts
from foretell.types import Hidden, Inputs, State, where_rows


class DropoutConfig(Config):
    """How much is dropped, and where."""

    embedding: Rate = 0.0
    """whole words of the embedding"""
    input: Rate = 0.0
    """what enters the first layer"""
    between: Rate = 0.0
    """what goes from layer to layer"""
    output: Rate = 0.0
    """what leaves the last layer"""
    weight: Rate = 0.0
    """hidden-to-hidden weights (DropConnect), drawn once a window"""
    locked: bool = True
    """one mask for all time steps of a row; false: every element for itself"""


class RecurrentConfig(Config):
    """A stack of recurrent layers."""

    kind: Literal["recurrent"] = "recurrent"
    cell: CellChoice = LSTMConfig()
    """which recurrent layer"""
    embedding: Size = 400
    """width of the word vectors"""
    words: EmbeddingChoice = TableConfig()
    """one vector of that width for each token, or narrower ones for rarer tokens"""
    hidden: Size = 1150
    """width of the layers"""
    layers: Size = 3
    output: Size | None = None
    """width of the last layer; absent: `hidden`"""
    dropout: DropoutConfig = DropoutConfig()
    init_range: float | None = None
    """layers start uniform in +- this; absent: 1 / sqrt(width)"""
    embedding_range: float = 0.1
    """word vectors start uniform in +- this"""

    def build(self, vocabulary: int, counts: Counts | None = None) -> Recurrent:
        """The model for a vocabulary of that many tokens that occur so often."""
        return Recurrent(self, vocabulary, counts)


class Recurrent(Backbone):
    """Embedding and recurrent layers; the state is one tuple of [B, H] tensors a layer."""

    reads: ClassVar[frozenset[str]] = frozenset({"causal", "state", "lengths"})

    def __init__(self, config: RecurrentConfig, vocabulary: int, counts: Counts | None = None):
        super().__init__()
        self.dropout = config.dropout
        self.embedding = config.words.build(
            vocabulary, config.embedding, counts, dropout=config.dropout.embedding, init_range=config.embedding_range
        )
        self.dim = config.output or config.hidden
        widths = [config.embedding] + [config.hidden] * (config.layers - 1) + [self.dim]
        self.blocks = nn.ModuleList(
            config.cell.build(inputs, hidden, config.dropout.weight, config.init_range)
            for inputs, hidden in pairwise(widths)
        )

    def initial_state(self, rows: int) -> State:
        """One tuple of [B, H] tensors a layer."""
        return tuple(cast(Layer, block).initial(rows) for block in self.blocks)

    def forward(self, inputs: Inputs, state: State) -> Hidden:
        """See `Backbone.forward`."""
        rows = len(inputs.tokens)
        if state is None:
            state = self.initial_state(rows)
        elif inputs.fresh is not None:
            state = where_rows(inputs.fresh, self.initial_state(rows), state)
        drop, locked = self.dropout, self.dropout.locked
        x = dropout(self.embedding(inputs.tokens), drop.input, self.training, locked)  # [B, T, E]
        layers, states = [], []
        for i, (block, carried) in enumerate(zip(self.blocks, state, strict=True)):
            if i > 0:
                x = dropout(x, drop.between, self.training, locked)
            x, after = block(x, carried, inputs.lengths)  # [B, T, H]
            layers.append(x)
            states.append(after)
        dropped = dropout(x, drop.output, self.training, locked)
        return Hidden(last=x, dropped=dropped, layers=tuple(layers), state=tuple(states))
