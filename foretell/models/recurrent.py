"""Recurrent language models: an embedding and a stack of recurrent layers, regularised as in AWD-LSTM.

Merity, Keskar and Socher 2018, "Regularizing and Optimizing LSTM Language Models" (arXiv:1708.02182); Zaremba et al.
2014 (arXiv:1409.2329). B rows, T steps, E embedding width, H hidden width, D width of the output.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, Self, cast

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
from foretell.units import counted

StackName = Literal["plain", "residual", "dense", "summed"]
READS: dict[Direction, frozenset[str]] = {
    "forward": frozenset({"causal", "state", "recurrence", "lengths"}),
    "reverse": frozenset({"lengths"}),
    "both": frozenset({"bidirectional", "lengths"}),
}


class DropoutConfig(Config):
    """Dropout rates; `cell.dropout` has those inside the layers, except that of recurrent weights."""

    embedding: Rate = 0.0
    """whole tokens of the embedding"""
    input: Rate = 0.0
    """input of the first layer"""
    between: Rate = 0.0
    """between layers"""
    output: Rate = 0.0
    """output of the last layer"""
    weight: Rate = 0.0
    """hidden-to-hidden weights (DropConnect), one mask per window; all weights of a QRNN"""
    layer: Rate = 0.0
    """the output of a whole layer, per row and window; for stacks that sum layers (arXiv:1603.09382)"""
    locked: bool = True
    """one mask for all time steps of a row; false: one per element"""


class RecurrentConfig(ModelConfig):
    """A stack of recurrent layers."""

    kind: Literal["recurrent"] = "recurrent"
    fine_tuned_as: ClassVar[str] = "ulmfit-imdb"
    cell: CellChoice = LSTMConfig()
    """kind of recurrent layer"""
    first_cell: CellChoice | None = None
    """kind of the first layer, if different"""
    embedding: EmbeddingChoice = TableConfig()
    """a table with a vector per token, or narrower vectors for rarer tokens"""
    embedding_dim: Width = 400
    """width of the token vectors"""
    hidden: Width | tuple[Width, ...] = 1150
    """width of the layers, per direction; or a list with one width per layer"""
    layers: Depth = 3
    output: Width | None = None
    """width of the last layer; absent: `hidden`"""
    stack: StackName = "plain"
    """plain: a layer reads the previous one; residual: its output is added to its input; dense: it reads all previous
    layers and the embedding; summed: like plain, but the output is the sum of all layers"""
    direction: Direction = "forward"
    """reverse and both read whole sequences: they have no state and cannot predict the next token"""
    dropout: DropoutConfig = DropoutConfig()
    init_range: Positive | None = None
    """weights of layers start uniform in +- this; absent: 1 / sqrt(width), in a QRNN that of the gates' inputs"""
    embedding_range: Positive = 0.1
    """token vectors start uniform in +- this"""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if isinstance(self.hidden, tuple) and len(self.hidden) != self.layers:
            raise ValueError(
                f"hidden has {counted(len(self.hidden), 'width')} for {counted(self.layers, 'layer')}; give one each"
            )
        if isinstance(self.hidden, tuple) and self.output is not None:
            raise ValueError(f"hidden already gives the width of every layer; leave out output = {self.output}")
        if self.dropout.layer > 0 and self.stack not in ("residual", "summed"):
            raise ValueError(f'dropout.layer needs stack = "residual" or "summed": "{self.stack}" cannot skip a layer')
        return self

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of the layers, first to last."""
        if isinstance(self.hidden, tuple):
            return self.hidden
        return (self.hidden,) * (self.layers - 1) + (self.output or self.hidden,)

    @property
    @override
    def reads_both_sides(self) -> bool:
        return self.direction == "both"

    @property
    @override
    def separates_documents(self) -> bool:
        return False  # rows are read from end to end

    def build(self, vocabulary: int, counts: Counts | None = None) -> Recurrent:
        """Build the model; `counts` [vocabulary] are token frequencies."""
        return Recurrent(self, vocabulary, counts)

    def block(self, number: int, inputs: int) -> Layer | Reverse | BothWays:
        """Build layer `number` of the stack, on vectors of width `inputs`."""
        cell, hidden = (number == 0 and self.first_cell) or self.cell, self.widths[number]
        cells = [
            cast(Layer, cell.build(inputs, hidden, self.dropout.weight, self.init_range))
            for _ in range(2 if self.direction == "both" else 1)
        ]
        if self.direction == "forward":
            return cells[0]
        return Reverse(cells[0]) if self.direction == "reverse" else BothWays(cells[0], cells[1])


class Recurrent(Backbone):
    """Embedding and recurrent layers; the state has a tuple of [B, H] tensors per layer."""

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
                f'model.stack = "{self.stack}" adds layers up, so all need the same width, but they are '
                f"{', '.join(map(str, outputs))}; set model.hidden to one width and leave model.output out"
            )
        self.dim = outputs[-1]

    def initial_state(self, rows: int, ahead: int = 0) -> State:
        """A tuple of [B, H] tensors per layer; None for models of whole sequences."""
        if "state" not in self.reads:
            return None
        return tuple(cast(Layer, block).initial(rows) for block in self.blocks)

    @override
    def cells(self, state: State) -> Sequence[Tensor]:
        if state is None:
            return ()
        cells = [cast(Layer, block).cell(own) for block, own in zip(self.blocks, state, strict=True)]
        return [cell for cell in cells if cell is not None] if all(cell is not None for cell in cells) else ()

    @override
    def forward(self, inputs: Inputs, state: State) -> Hidden:
        """Each of `layers` is the output of a stack that ends there."""
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
                outputs = block(x, inputs.lengths)  # [B, T, H]
            else:
                outputs, after = block(x, state[i], inputs.lengths)
                states.append(after)
            total = outputs if i == 0 or self.stack in ("plain", "dense") else total + self.drop_layer(outputs)
            layers.append(total)
            x = self.next_input(x, outputs, total) if i + 1 < len(self.blocks) else x
        dropped = dropout(total, drop.output, self.training, locked)
        return Hidden(last=total, dropped=dropped, layers=tuple(layers), state=tuple(states) or None)

    def next_input(self, x: Tensor, outputs: Tensor, total: Tensor) -> Tensor:
        """Input of the next layer, from a layer's input, its outputs and their sum with previous layers."""
        passed = total if self.stack == "residual" else outputs
        passed = dropout(passed, self.dropout.between, self.training, self.dropout.locked)
        return torch.cat([x, passed], dim=-1) if self.stack == "dense" else passed

    def drop_layer(self, outputs: Tensor) -> Tensor:
        """Layer dropout of outputs [B, T, H] before they are added, per row."""
        if not self.training or self.dropout.layer == 0:
            return outputs
        return outputs * keep_mask(outputs, (len(outputs), 1, 1), self.dropout.layer)
