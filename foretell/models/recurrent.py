"""Recurrent language models: an embedding and a stack of recurrent layers, regularised as in AWD-LSTM.

Merity, Keskar and Socher 2018, "Regularizing and Optimizing LSTM Language Models" (arXiv:1708.02182); Zaremba et al.
2014 (arXiv:1409.2329). B rows, T steps, E embedding width, H hidden width, D width of the output.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self, cast

import torch
from pydantic import model_validator
from torch import Tensor, nn
from typing_extensions import override

from foretell.config import Config, Depth, Positive, Rate, Width
from foretell.errors import ConfigError
from foretell.models.backbone import Backbone
from foretell.models.model_config import ModelConfig
from foretell.nn.dropout import dropout, keep_mask
from foretell.nn.embedding import EmbeddingChoice, TableConfig
from foretell.nn.recurrent.bidirectional import BothWays, Direction, Reverse
from foretell.nn.recurrent.kinds import CellChoice
from foretell.nn.recurrent.lstm import LSTMConfig
from foretell.nn.recurrent.recurrent_layer import Layer
from foretell.nn.vocabulary import Counts
from foretell.types import Hidden, Inputs, State, where_rows

StackName = Literal["plain", "residual", "dense", "summed"]
READS: dict[Direction, frozenset[str]] = {
    "forward": frozenset({"causal", "state", "recurrence", "lengths"}),
    "reverse": frozenset({"lengths"}),
    "both": frozenset({"bidirectional", "lengths"}),
}


class DropoutConfig(Config):
    """How much is dropped, and where; inside the layers, beside recurrent weights, see `cell.dropout`."""

    embedding: Rate = 0.0
    """whole words of the embedding"""
    input: Rate = 0.0
    """what enters the first layer"""
    between: Rate = 0.0
    """what goes from layer to layer"""
    output: Rate = 0.0
    """what leaves the last layer"""
    weight: Rate = 0.0
    """hidden-to-hidden weights (DropConnect), drawn once a window; all weights of a QRNN"""
    layer: Rate = 0.0
    """what a whole layer adds, for a row and window; in stacks whose layers are added up (arXiv:1603.09382)"""
    locked: bool = True
    """one mask for all time steps of a row; false: every element for itself"""


class RecurrentConfig(ModelConfig):
    """A stack of recurrent layers."""

    kind: Literal["recurrent"] = "recurrent"
    cell: CellChoice = LSTMConfig()
    """which recurrent layer"""
    first_cell: CellChoice | None = None
    """that of the first layer, where it differs"""
    embedding: EmbeddingChoice = TableConfig()
    """a table with a vector per token, or narrower vectors for rarer tokens"""
    embedding_dim: Width = 400
    """width of the token vectors"""
    hidden: Width | tuple[Width, ...] = 1150
    """width of the layers, in each direction; or a list, one for each"""
    layers: Depth = 3
    output: Width | None = None
    """width of the last layer; absent: `hidden`"""
    stack: StackName = "plain"
    """plain: a layer reads the one before; residual: and is added to it; dense: reads all before it, and the embedding;
    summed: as plain, and the output is the sum of all layers"""
    direction: Direction = "forward"
    """reverse and both read whole sequences: they carry no state and predict no next token"""
    dropout: DropoutConfig = DropoutConfig()
    init_range: Positive | None = None
    """layers start uniform in +- this; absent: 1 / sqrt(width), in a QRNN of what its gates read"""
    embedding_range: Positive = 0.1
    """word vectors start uniform in +- this"""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if isinstance(self.hidden, tuple) and len(self.hidden) != self.layers:
            raise ValueError(f"hidden names {len(self.hidden)} widths for {self.layers} layers; name one for each")
        if isinstance(self.hidden, tuple) and self.output is not None:
            raise ValueError(f"hidden names all widths; leave output = {self.output} out, or make it the last of them")
        if self.dropout.layer > 0 and self.stack not in ("residual", "summed"):
            raise ValueError(f'dropout.layer needs stack = "residual" or "summed": "{self.stack}" cannot skip a layer')
        return self

    @property
    def widths(self) -> tuple[int, ...]:
        """Of the layers, first to last."""
        if isinstance(self.hidden, tuple):
            return self.hidden
        return (self.hidden,) * (self.layers - 1) + (self.output or self.hidden,)

    @property
    @override
    def separates_documents(self) -> bool:
        return False  # rows are read from end to end

    def build(self, vocabulary: int, counts: Counts | None = None) -> Recurrent:
        """The model for a vocabulary of that many tokens that occur so often."""
        return Recurrent(self, vocabulary, counts)

    def block(self, number: int, inputs: int) -> Layer | Reverse | BothWays:
        """Layer `number` of the stack, on vectors of width `inputs`."""
        cell, hidden = (number == 0 and self.first_cell) or self.cell, self.widths[number]
        cells = [
            cast(Layer, cell.build(inputs, hidden, self.dropout.weight, self.init_range))
            for _ in range(2 if self.direction == "both" else 1)
        ]
        if self.direction == "forward":
            return cells[0]
        return Reverse(cells[0]) if self.direction == "reverse" else BothWays(cells[0], cells[1])


class Recurrent(Backbone):
    """Embedding and recurrent layers; the state is one tuple of [B, H] tensors a layer."""

    def __init__(self, config: RecurrentConfig, vocabulary: int, counts: Counts | None = None):
        super().__init__()
        self.dropout, self.stack = config.dropout, config.stack
        self.reads = READS[config.direction]
        self.embedding = config.embedding.build(
            vocabulary,
            config.embedding_dim,
            counts,
            dropout=config.dropout.embedding,
            init_range=config.embedding_range,
        )
        self.blocks = nn.ModuleList()
        inputs = config.embedding_dim
        for number in range(config.layers):
            block = config.block(number, inputs)
            self.blocks.append(block)
            inputs = block.output + (inputs if self.stack == "dense" else 0)
        outputs = [cast(int, block.output) for block in self.blocks]
        if self.stack in ("residual", "summed") and len(set(outputs)) > 1:
            raise ConfigError(
                f'model.stack = "{self.stack}" adds layers up, so all have to be as wide, but they are '
                f"{', '.join(map(str, outputs))}; set model.hidden to one width and leave model.output out"
            )
        self.dim = outputs[-1]

    def initial_state(self, rows: int, ahead: int = 0) -> State:
        """One tuple of [B, H] tensors a layer; None where whole sequences are read."""
        if "state" not in self.reads:
            return None
        return tuple(cast(Layer, block).initial(rows) for block in self.blocks)

    def cells(self, state: State) -> Sequence[Tensor]:
        """See `Backbone.cells`."""
        if state is None:
            return ()
        found = [cast(Layer, block).cell(own) for block, own in zip(self.blocks, state, strict=True)]
        return [cell for cell in found if cell is not None] if all(cell is not None for cell in found) else ()

    def forward(self, inputs: Inputs, state: State) -> Hidden:
        """See `Backbone.forward`. `layers` are what the output would be if the stack ended there."""
        rows = len(inputs.tokens)
        if state is None:
            state = self.initial_state(rows)
        elif inputs.fresh is not None:
            state = where_rows(inputs.fresh, self.initial_state(rows), state)
        drop, locked = self.dropout, self.dropout.locked
        x = dropout(self.embedding(inputs.tokens), drop.input, self.training, locked)  # [B, T, E]
        total = x
        layers: list[Tensor] = []
        states = []
        for i, block in enumerate(self.blocks):
            if state is None:
                made = block(x, inputs.lengths)  # [B, T, H]
            else:
                made, after = block(x, state[i], inputs.lengths)
                states.append(after)
            total = made if i == 0 or self.stack in ("plain", "dense") else total + self.maybe(made)
            layers.append(total)
            x = self.onwards(x, made, total) if i + 1 < len(self.blocks) else x
        dropped = dropout(total, drop.output, self.training, locked)
        return Hidden(last=total, dropped=dropped, layers=tuple(layers), state=tuple(states) or None)

    def onwards(self, x: Tensor, made: Tensor, total: Tensor) -> Tensor:
        """What the next layer reads: of a layer's inputs, what it made of them, and that with what was there before."""
        given = total if self.stack == "residual" else made
        given = dropout(given, self.dropout.between, self.training, self.dropout.locked)
        return torch.cat([x, given], dim=-1) if self.stack == "dense" else given

    def maybe(self, made: Tensor) -> Tensor:
        """What a layer adds [B, T, H]: in training nothing for some rows, and more for the others."""
        if not self.training or self.dropout.layer == 0:
            return made
        return made * keep_mask(made, (len(made), 1, 1), self.dropout.layer)
