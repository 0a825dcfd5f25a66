"""Transformer language models: embeddings, positions and a stack of attention blocks.

Radford et al. 2018 and 2019 (GPT, GPT-2). B rows, T steps, C the context, D width.

Learned positions end with the context, and cannot slide: a token's keys and values belong to the place it was read
at. So there is one rule for texts of any length: when the context is full, the last `overlap` tokens are read again
from place 0, and reading goes on behind them. What a token is predicted from then depends on its place in the text
alone, not on how the text is cut into windows; streaming, scoring, generation and evaluation in windows side by
side (`data.streams.OverlappingConfig`) agree.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from foretell.config import Config, ConfigError, Rate, Size
from foretell.models.backbone import Backbone
from foretell.nn.attention import Cache, Placement
from foretell.nn.block import ActivationName, Block, NormPlace
from foretell.nn.dropout import dropout
from foretell.nn.embedding import EmbeddingChoice, TableConfig
from foretell.nn.vocabulary import Counts
from foretell.types import Hidden, Inputs, State, where_rows


class TransformerDropoutConfig(Config):
    """How much is dropped, and where; every element for itself."""

    input: Rate = 0.0
    """what enters the first layer: the sum of word and position"""
    attention: Rate = 0.0
    """whom a token looks at"""
    residual: Rate = 0.0
    """what attention and feed-forward network add to the residual stream"""


class TransformerConfig(Config):
    """A stack of attention blocks over learned positions, each token seeing those before it."""

    kind: Literal["transformer"] = "transformer"
    hidden: Size = 768
    """width of the word vectors and of every layer"""
    words: EmbeddingChoice = TableConfig()
    """one vector of that width for each token, or narrower ones for rarer tokens"""
    layers: Size = 12
    heads: Size = 12
    """of attention, each hidden / heads wide"""
    feed_forward: Size | None = None
    """inner width of the feed-forward networks; absent: 4 x hidden"""
    context: Size = 1024
    """how many tokens it sees at most, and how many positions are learnt"""
    overlap: Annotated[int, Field(ge=0)] | None = None
    """tokens read again when the context is full, outside training; absent: half of it"""
    activation: ActivationName = "gelu"
    norm: NormPlace = "pre"
    """layer norm before each sublayer and a last one behind all, or after each sum"""
    norm_epsilon: float = 1e-5
    biases: bool = True
    """of linear layers and layer norms"""
    dropout: TransformerDropoutConfig = TransformerDropoutConfig()
    init_deviation: float = 0.02
    """standard deviation of the weights at the start; biases start at zero"""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.hidden % self.heads:
            raise ValueError(
                f"hidden = {self.hidden} cannot be shared out among heads = {self.heads}; make it a multiple"
            )
        if self.overlap is not None and self.overlap >= self.context:
            raise ValueError(f"overlap = {self.overlap} leaves no room in context = {self.context}; make it smaller")
        return self

    def build(self, vocabulary: int, counts: Counts | None = None) -> Transformer:
        """The model for a vocabulary of that many tokens that occur so often."""
        return Transformer(self, vocabulary, counts)


class Transformer(Backbone):
    """Embedding, learned positions and attention blocks.

    The state is (filled [B], tokens [B, C], a pair of keys and values [B, C, H, d] a layer): the tokens of the present
    context, how many they are, and what the layers made of them. In training every window starts anew, whatever the
    state, and leaves none.
    """

    reads = frozenset({"causal", "state", "lengths"})
    context: int
    overlap: int

    def __init__(self, config: TransformerConfig, vocabulary: int, counts: Counts | None = None):
        super().__init__()
        self.dim, self.heads, self.dropout = config.hidden, config.heads, config.dropout
        self.context = config.context
        self.overlap = config.context // 2 if config.overlap is None else config.overlap
        self.embedding = config.words.build(vocabulary, config.hidden, counts)
        self.positions = nn.Embedding(config.context, config.hidden)
        self.blocks = nn.ModuleList(
            Block(
                config.hidden,
                heads=config.heads,
                inner=config.feed_forward or 4 * config.hidden,
                activation=config.activation,
                norm=config.norm,
                norm_epsilon=config.norm_epsilon,
                biases=config.biases,
                attention_dropout=config.dropout.attention,
                residual_dropout=config.dropout.residual,
            )
            for _ in range(config.layers)
        )
        ends = nn.LayerNorm(config.hidden, config.norm_epsilon, bias=config.biases)
        self.norm = ends if config.norm == "pre" else nn.Identity()
        self._initialise(config.init_deviation)

    def _initialise(self, deviation: float) -> None:
        """Normal weights; those that write to the residual stream smaller, as their 2 x layers outputs add up.

        GPT-2 (Radford et al. 2019, section 2.3) with the deviations of its public re-implementations.
        """
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                scale = (2 * len(self.blocks)) ** -0.5 if name.endswith("outward") else 1.0
                nn.init.normal_(module.weight, std=deviation * scale)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def initial_state(self, rows: int) -> State:
        """Nothing filled; see the class."""
        weight = self.positions.weight
        filled = torch.zeros(rows, dtype=torch.int64, device=weight.device)
        empty = weight.new_zeros(rows, self.context, self.heads, self.dim // self.heads)
        return filled, filled.new_zeros(rows, self.context), ((empty, empty),) * len(self.blocks)

    def forward(self, inputs: Inputs, state: State) -> Hidden:
        """See `Backbone.forward`."""
        tokens, lengths = inputs.tokens, inputs.lengths
        if self.training:
            if tokens.shape[1] > self.context:
                raise ConfigError(
                    f"a window of {tokens.shape[1]} tokens does not fit model.context = {self.context}; "
                    f"make data.batches.length (with what may come on top) at most that"
                )
            layers, _ = self._read(tokens)
            return hidden_of(layers, lengths, None)
        if state is not None and inputs.fresh is not None:
            state = where_rows(inputs.fresh, self.initial_state(len(tokens)), state)
        if state is None and tokens.shape[1] <= self.context:
            layers, state = self._begin(tokens, lengths)
        else:
            layers, state = self._go_on(tokens, lengths, self.initial_state(len(tokens)) if state is None else state)
        return hidden_of(layers, lengths, state)

    def _read(
        self, tokens: Tensor, filled: Tensor | int = 0, caches: tuple[Cache, ...] = (), where: Placement | None = None
    ) -> tuple[list[Tensor], tuple[Cache, ...]]:
        """tokens [B, T] behind `filled` others -> every layer's output [B, T, D], and the caches with them in."""
        steps = torch.arange(tokens.shape[1], device=tokens.device)
        places = steps + filled if isinstance(filled, int) else steps + filled[:, None]
        x = self.embedding(tokens) + self.positions(places.clamp(max=self.context - 1))  # padding may lie outside
        x = dropout(x, self.dropout.input, self.training, locked=False)  # [B, T, D]
        layers: list[Tensor] = []
        after: list[Cache] = []
        for i, block in enumerate(self.blocks):
            x, cache = block(x, caches[i] if caches else None, where)
            layers.append(x)
            after.append(cache)
        layers[-1] = self.norm(x)
        return layers, tuple(after)

    def _begin(self, tokens: Tensor, lengths: Tensor | None) -> tuple[list[Tensor], State]:
        """A window [B, T <= C] from place 0, which needs no cache; its state."""
        rows, steps = tokens.shape
        layers, caches = self._read(tokens)
        filled = torch.full((rows,), steps, device=tokens.device) if lengths is None else lengths
        real = torch.arange(steps, device=tokens.device) < filled[:, None]  # [B, T]

        def kept(new: Tensor) -> Tensor:
            new = new if lengths is None else new * real.view(rows, steps, *[1] * (new.dim() - 2))
            return F.pad(new, (*[0] * (2 * new.dim() - 3), self.context - steps))  # [B, C, ...]

        return layers, (filled, kept(tokens), tuple((kept(keys), kept(values)) for keys, values in caches))

    def _go_on(self, tokens: Tensor, lengths: Tensor | None, state: State) -> tuple[list[Tensor], State]:
        """A window [B, T] of any length behind a state: as many pieces as there are contexts to fill."""
        rows, steps = tokens.shape
        lengths = torch.full((rows,), steps, device=tokens.device) if lengths is None else lengths
        pieces, begin = [], 0
        while begin < steps:
            waiting = lengths > begin
            full = waiting & (state[0] == self.context)
            if full.any():
                state = where_rows(full, self._again(state), state)
            room = (self.context - state[0])[waiting]
            end = min(begin + int(room.min()), steps) if len(room) else steps
            layers, state = self._piece(tokens[:, begin:end], (lengths - begin).clamp(0, end - begin), state)
            pieces.append(layers)
            begin = end
        return [torch.cat(parts, 1) for parts in zip(*pieces, strict=True)], state

    def _piece(self, tokens: Tensor, lengths: Tensor, state: State) -> tuple[list[Tensor], State]:
        """A window [B, T] that fits behind what is filled."""
        filled, before, caches = state
        if not filled.any() and tokens.shape[1] <= self.context:
            return self._begin(tokens, None if (lengths == tokens.shape[1]).all() else lengths)
        where = Placement.after(filled, lengths, tokens.shape[1], self.context)
        layers, caches = self._read(tokens, filled, caches, where)
        return layers, (filled + lengths, where.write(before, tokens), caches)

    def _again(self, state: State) -> State:
        """Full rows with room: their last `overlap` tokens read anew from place 0."""
        if self.overlap == 0:
            return self.initial_state(len(state[0]))
        return self._begin(state[1][:, self.context - self.overlap :], None)[1]


def hidden_of(layers: list[Tensor], lengths: Tensor | None, state: State) -> Hidden:
    """The layers' outputs [B, T, D], zero behind the end of a row."""
    if lengths is not None:
        real = torch.arange(layers[0].shape[1], device=lengths.device) < lengths[:, None]
        layers = [layer * real[..., None] for layer in layers]
    return Hidden(last=layers[-1], dropped=layers[-1], layers=tuple(layers), state=state)
