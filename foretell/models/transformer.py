"""Transformers: word vectors, positions and a stack of attention blocks, causal or seeing both sides.

Radford et al. 2018 and 2019 (GPT, GPT-2), Devlin et al. 2019 (BERT, arXiv:1810.04805), Lan et al. 2020 (ALBERT,
arXiv:1909.11942). B rows, T steps, C the context, E width of the word vectors, D width.

A causal one reads texts of any length. Its context ends, and cannot slide: a token's keys and values belong to the
place it was read at. So there is one rule: when the context is full, the last `overlap` tokens are read again
from place 0, and reading goes on behind them. What a token is predicted from then depends on its place in the text
alone, not on how the text is cut into windows; streaming, scoring, generation and evaluation in windows side by
side (`data.streams.OverlappingConfig`) agree.

One that sees both sides takes whole windows, and so does a causal one whose rows are packed with documents.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, Literal, Self, cast, overload

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from typing_extensions import override

from foretell.config import Config, Count, Depth, Rate, Width, validate
from foretell.errors import ConfigError
from foretell.models.backbone import Backbone
from foretell.models.model_config import ModelConfig
from foretell.nn.activation import ActivationName, GatedName
from foretell.nn.attention.attention import AttentionPattern, Cache, CacheSlots
from foretell.nn.attention.positions import LearnedConfig, PositionsChoice
from foretell.nn.block import Block, NormChoice, PreNormConfig
from foretell.nn.dropout import dropout, table_dropout
from foretell.nn.embedding import EmbeddingChoice, TableConfig
from foretell.nn.flops import macs_per_token
from foretell.nn.initializers import NormalConfig
from foretell.nn.linear import Linear
from foretell.nn.pooling import ExtractConfig, FirstConfig, PoolingConfig
from foretell.nn.ragged import Ragged, places_in_texts, real_tokens, visible
from foretell.nn.vocabulary import Counts
from foretell.types import Hidden, Inputs, State, where_rows


class TransformerDropoutConfig(Config):
    """How much is dropped, and where; every element for itself but for `layer`."""

    table: Rate = 0.0
    """the tables of words and positions: all occurrences of a word lose the same numbers (GPT)"""
    input: Rate = 0.0
    """what enters the first layer: the sum of word, position and segment, after its norm"""
    attention: Rate = 0.0
    """whom a token looks at"""
    residual: Rate = 0.0
    """what attention and feed-forward network add to the residual stream"""
    layer: Rate = 0.0
    """whole layers, which a training step then goes without (LayerDrop, arXiv:1909.11556)"""


class InitialConfig(NormalConfig):
    """Weights begin normally distributed around zero, biases at zero, gains at one."""

    residual_scaling: bool = True
    """those that write to the residual stream are smaller by the root of 2 x layers, as their outputs add up (GPT-2)"""


class TransformerConfig(ModelConfig):
    """A stack of attention blocks, in which each token sees those before it, or all."""

    kind: Literal["transformer"] = "transformer"
    direction: Literal["forward", "both"] = "forward"
    """both: every token sees all of its window, which predicts no next token but hidden ones"""
    hidden: Width = 768
    """width of every layer"""
    embedding: EmbeddingChoice = TableConfig()
    """a table with a vector per token, or narrower vectors for rarer tokens"""
    embedding_dim: Width | None = None
    """width of the token vectors, which are projected to `hidden` (ALBERT); absent: `hidden`, without a projection"""
    layers: Depth = 12
    groups: Depth | None = None
    """layers that follow each other share their weights in so many groups (ALBERT: 1); absent: none do"""
    heads: Width = 12
    """of attention, each hidden / heads wide"""
    feed_forward: Width | None = None
    """inner width of the feed-forward networks; absent: 4 x hidden"""
    activation: ActivationName | GatedName = "gelu"
    """geglu: half of the inner values gate the other half, which makes twice as many inner weights"""
    context: Annotated[int, Field(gt=0, le=2**24)] = 1024
    """how many tokens it sees at most"""
    overlap: Count | None = None
    """tokens read again when the context is full, outside training; absent: half of it"""
    positions: PositionsChoice = LearnedConfig()
    norm: NormChoice = PreNormConfig()
    segments: Annotated[int, Field(ge=0, le=2**20)] = 0
    """kinds of segments, such as the two texts of a pair, with a learned vector each"""
    biases: bool = True
    """of linear layers and layer norms"""
    dropout: TransformerDropoutConfig = TransformerDropoutConfig()
    initial: InitialConfig = InitialConfig()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.hidden % self.heads:
            raise ValueError(
                f"hidden = {self.hidden} cannot be shared out among heads = {self.heads}; make it a multiple"
            )
        if self.overlap is not None and self.overlap >= self.context:
            raise ValueError(f"overlap = {self.overlap} leaves no room in context = {self.context}; make it smaller")
        if self.groups is not None and self.groups > self.layers:
            raise ValueError(f"groups = {self.groups} is more than layers = {self.layers}; make it at most that")
        if self.segments and self.direction == "forward":
            raise ValueError(
                f'segments = {self.segments} needs direction = "both": text that goes on has none; leave them out'
            )
        if self.positions.kind == "rotary" and self.hidden // self.heads % 2:
            raise ValueError(
                f"heads {self.hidden // self.heads} wide cannot be turned in pairs, as rotary positions do; "
                "make hidden / heads even"
            )
        if self.positions.kind == "sinusoid" and self.embedding_width % 2:
            raise ValueError(f"sinusoid positions need word vectors of even width, not {self.embedding_width}")
        return self

    @property
    def embedding_width(self) -> int:
        """Of the word vectors."""
        return self.embedding_dim or self.hidden

    @property
    @override
    def longest_window(self) -> int:
        return self.context

    @property
    @override
    def shares_layers(self) -> bool:
        return (self.groups or self.layers) < self.layers

    @override
    def narrowed(self, ratio: float, where: str) -> TransformerConfig:
        hidden = max(round(self.hidden * ratio), 1)
        tree = self.model_dump(mode="json", exclude_none=True) | {
            "hidden": hidden,
            "heads": max(hidden // (self.hidden // self.heads), 1),
            "embedding_dim": self.embedding_width,
        }
        if self.feed_forward is not None:
            tree["feed_forward"] = max(round(self.feed_forward * ratio), 1)
        if hidden == self.embedding_width:  # nothing to project
            del tree["embedding_dim"]
        return validate(TransformerConfig, tree, where)

    def build(self, vocabulary: int, counts: Counts | None = None) -> Transformer:
        """The model for a vocabulary of that many tokens that occur so often."""
        return Transformer(self, vocabulary, counts)


class Transformer(Backbone):
    """Word vectors, positions, segments and attention blocks.

    The state of a causal one is (filled [B], written [B], tokens [B, C], keys and values [B, H, P, d] of each layer):
    how many tokens of the present context there are, how many are written by whoever shares its memory (see
    `_writable`), which they are, and what the layers made of them, with room for P <= C. In training every window
    starts anew, whatever the state, and leaves none; so do windows with `documents` or `positions`.
    """

    embeds = ("embedding", "positions", "segments", "embedding_norm")
    context: int
    overlap: int

    def __init__(self, config: TransformerConfig, vocabulary: int, counts: Counts | None = None):
        super().__init__()
        hidden, width = config.hidden, config.embedding_width
        self.dim, self.heads, self.dropout, self.layers = hidden, config.heads, config.dropout, config.layers
        self.causal = config.direction == "forward"
        self.reads = frozenset({"lengths", "documents", "positions"})
        self.reads |= {"causal", "state"} if self.causal else {"bidirectional"}
        self.reads |= {"segments"} if config.segments else set()
        self.context = config.context
        self.overlap = config.context // 2 if config.overlap is None else config.overlap
        self.embedding = config.embedding.build(vocabulary, width, counts)
        self.positions = config.positions.build(config.context, width, hidden // config.heads, config.initial)
        self.segments = nn.Embedding(config.segments, width) if config.segments else None

        def norm(wanted: bool, width: int) -> nn.Module:
            return nn.LayerNorm(width, config.norm.epsilon, bias=config.biases) if wanted else nn.Identity()

        self.embedding_norm = norm(config.norm.embedding, width)
        self.projection = Linear(width, hidden, bias=config.biases) if config.embedding_dim else nn.Identity()
        self.blocks = nn.ModuleList(
            Block(
                hidden,
                heads=config.heads,
                inner=config.feed_forward or 4 * hidden,
                activation=config.activation,
                norm=config.norm,
                biases=config.biases,
                attention_dropout=config.dropout.attention,
                residual_dropout=config.dropout.residual,
            )
            for _ in range(config.groups or config.layers)
        )
        self.norm = norm(config.norm.final, hidden)
        self._initialise(config.initial)

    def _initialise(self, initial: InitialConfig) -> None:
        """The scaled std is that of GPT-2 (Radford et al. 2019, section 2.3)."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                writes = initial.residual_scaling and name.endswith("out")
                initial.fill(module.weight, scale=(2 * self.layers) ** -0.5 if writes else 1.0)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    @property
    @override
    def pooling(self) -> PoolingConfig:
        return ExtractConfig() if self.causal else FirstConfig()

    def block(self, layer: int) -> Block:
        """The one that is layer number `layer`."""
        return cast(Block, self.blocks[layer * len(self.blocks) // self.layers])

    def macs_per_token(self, length: int) -> float:
        """See `Backbone.macs_per_token`: blocks as often as they are used, and attention as if all looked at all.

        So it is usually counted (Chowdhery et al. 2022, arXiv:2204.02311, appendix B), also where half is spared.
        """
        again = sum(macs_per_token(self.block(layer)) for layer in range(self.layers)) - macs_per_token(self.blocks)
        return macs_per_token(self) + again + 2 * self.layers * self.dim * length

    def initial_state(self, rows: int, ahead: int = 0) -> State:
        """Nothing filled, see the class; None for one that sees both sides."""
        return self._empty(rows, min(self.context, ahead or ROOM)) if self.causal else None

    def _empty(self, rows: int, places: int) -> State:
        """Nothing filled, with room for so many."""
        weight = next(self.blocks.parameters())
        filled = torch.zeros(rows, dtype=torch.int64, device=weight.device)
        shape = (rows, self.heads, places, self.dim // self.heads)
        caches = tuple((weight.new_zeros(shape), weight.new_zeros(shape)) for _ in range(self.layers))
        return filled, filled.clone(), filled.new_zeros(rows, self.context), caches

    def _room(self, filled: int) -> int:
        """For how many places there is room where so many are filled: a quarter more, so that it seldom grows."""
        return min(self.context, ROOM * math.ceil(1.25 * filled / ROOM))

    def forward(self, inputs: Inputs, state: State) -> Hidden:
        """See `Backbone.forward`."""
        tokens, lengths = inputs.tokens, inputs.lengths
        if self.training or not self.causal or inputs.documents is not None or inputs.positions is not None:
            return self._whole(inputs)
        if state is not None and inputs.fresh is not None:
            state = where_rows(inputs.fresh, self._empty(len(tokens), room_of(state)), state)
        if state is None and tokens.shape[1] <= self.context:
            layers, state = self._prefill(tokens, lengths)
        else:
            layers, state = self._extend(tokens, lengths, self.initial_state(len(tokens)) if state is None else state)
        return hidden_of(real_part(layers, lengths), state)

    # --- windows that start anew ------------------------------------------------------------------

    def _whole(self, inputs: Inputs) -> Hidden:
        """A window that knows nothing of others and leaves no state."""
        tokens, lengths, documents = inputs.tokens, inputs.lengths, inputs.documents
        if tokens.shape[1] > self.context:
            raise ConfigError(
                f"a window of {tokens.shape[1]} tokens does not fit model.context = {self.context}; "
                f"make data.batches.length (with what may come on top) at most that"
            )
        if documents is None and (lengths is None or self.causal):  # what a causal row ends with, nobody sees
            layers, _ = self._run_blocks(inputs, AttentionPattern(self.causal))
        elif on_host(tokens):
            ragged = Ragged.of(tokens, lengths, documents)
            layers, _ = self._run_blocks(
                ragged.pick(inputs), AttentionPattern(self.causal, rectangles=ragged.rectangles)
            )
            return hidden_of(LazyLayers(layers, ragged.spread))
        else:
            if documents is not None and inputs.positions is None:
                inputs = replace(inputs, positions=places_in_texts(tokens, documents))
            view = AttentionPattern(self.causal, visible=visible(tokens, lengths, documents, self.causal))
            layers, _ = self._run_blocks(inputs, view)
        return hidden_of(real_part(layers, lengths))

    def _run_blocks(
        self, inputs: Inputs, view: AttentionPattern, caches: tuple[Cache, ...] = (), *, keep: bool = False
    ) -> tuple[list[Tensor], tuple[Cache, ...]]:
        """tokens [B, T] at their places -> every layer's output [B, T, D]; if wanted, the caches with them in."""
        steps = torch.arange(inputs.tokens.shape[1], device=inputs.tokens.device)
        places = steps if inputs.positions is None else inputs.positions
        x = self._embed(inputs, places)
        view = replace(view, turning=self.positions.turning(places))
        layers: list[Tensor] = []
        after: list[Cache] = []
        for layer in range(self.layers):
            if not self._left_out():
                x, cache = self.block(layer)(x, view, caches[layer] if caches else None)
                if keep:  # or the keys and values of all layers would stay until the end
                    after.append(cache)
            layers.append(x)
        layers[-1] = self.norm(x)
        return layers, tuple(after)

    def _embed(self, inputs: Inputs, places: Tensor) -> Tensor:
        """What enters the first layer [B, T, D]."""
        vocabulary, rate = self.embedding.vocabulary, self.dropout.table
        x = table_dropout(self.embedding(inputs.tokens), inputs.tokens, vocabulary, rate, self.training)  # [B, T, E]
        vectors = self.positions.vectors(places)
        if vectors is not None:
            x = x + table_dropout(vectors, places, self.context, rate, self.training)
        if self.segments is not None:
            x = x + (self.segments.weight[0] if inputs.segments is None else self.segments(inputs.segments))
        x = dropout(self.embedding_norm(x), self.dropout.input, self.training, locked=False)
        entering: Tensor = self.projection(x)
        return entering

    def _left_out(self) -> bool:
        """Whether a training step goes without a layer; drawn on the host."""
        rate = self.dropout.layer
        return self.training and rate > 0 and float(torch.rand((), device="cpu")) < rate

    # --- windows that go on -----------------------------------------------------------------------

    def _prefill(self, tokens: Tensor, lengths: Tensor | None, empty: State = None) -> tuple[list[Tensor], State]:
        """A window [B, T <= C] from place 0, which looks into no cache; its state, in the room of an empty one."""
        rows, steps = tokens.shape
        layers, made = self._run_blocks(Inputs(tokens), AttentionPattern(causal=True), keep=True)
        filled = torch.full((rows,), steps, device=tokens.device) if lengths is None else lengths
        empty = self._empty(rows, self._room(steps)) if empty is None else empty
        where = CacheSlots.after(empty[0], filled, steps)
        _, written, before, caches = self._writable(empty, where.places)
        for cache, parts in zip(caches, made, strict=True):
            for part, new in zip(cache, parts, strict=True):
                where.write(part.transpose(1, 2), new.transpose(1, 2))
        where.write(before, tokens)
        written.copy_(filled)
        return layers, (filled, written, before, caches)

    def _extend(self, tokens: Tensor, lengths: Tensor | None, state: State) -> tuple[list[Tensor], State]:
        """A window [B, T] of any length behind a state: as many pieces as there are contexts to fill."""
        rows, steps = tokens.shape
        lengths = torch.full((rows,), steps, device=tokens.device) if lengths is None else lengths
        pieces, begin = [], 0
        while begin < steps:
            waiting = lengths > begin
            full = waiting & (state[0] == self.context)
            if full.any():
                state = where_rows(
                    full, self._reread_overlap(state), state
                )  # a full row has room for the whole context
            room = (self.context - state[0])[waiting]
            end = min(begin + int(room.min()), steps) if len(room) else steps
            layers, state = self._append(tokens[:, begin:end], (lengths - begin).clamp(0, end - begin), state)
            pieces.append(layers)
            begin = end
        return [torch.cat(parts, 1) for parts in zip(*pieces, strict=True)], state

    def _append(self, tokens: Tensor, lengths: Tensor, state: State) -> tuple[list[Tensor], State]:
        """A window [B, T] that fits behind what is filled."""
        steps = tokens.shape[1]
        if not state[0].any() and steps <= self.context:
            return self._prefill(tokens, lengths, state)
        where = CacheSlots.after(state[0], lengths, steps)
        filled, written, before, caches = self._writable(state, where.places)
        places = filled[:, None] + torch.arange(steps, device=tokens.device)
        inputs = Inputs(tokens, positions=places.clamp(max=self.context - 1))  # padding may lie outside
        layers, _ = self._run_blocks(inputs, AttentionPattern(causal=True, placement=where), caches)
        where.write(before, tokens)
        after = filled + lengths
        written.copy_(after)
        return layers, (after, written, before, caches)

    def _writable(self, state: State, places: int) -> State:
        """The same state, or a copy if it has no room for so many places, or what lies behind it is another's.

        A state and those that go on from it share memory: each sees what was filled when it was made. Whoever goes on
        from it first writes behind that, and `written`, which they share, tells all others.
        """
        filled, written, before, caches = state
        ours = not torch.is_grad_enabled() and bool((written == filled).all())
        if ours and room_of(state) >= places:
            return state
        room, most = max(room_of(state), self._room(places)), int(filled.max())
        real = real_tokens(most, filled)[:, None, :, None]

        def copied(old: Tensor) -> Tensor:
            new = old.new_empty(*old.shape[:2], room, old.shape[3])
            new[:, :, :most] = old[:, :, :most]
            new[:, :, :most] *= real
            new[:, :, most:] = 0
            return new

        return filled, filled.clone(), before.clone(), tuple((copied(keys), copied(values)) for keys, values in caches)

    def _reread_overlap(self, state: State) -> State:
        """Full rows with room: their last `overlap` tokens read anew from place 0."""
        empty = self._empty(len(state[0]), self.context)
        if self.overlap == 0:
            return empty
        return self._prefill(state[2][:, self.context - self.overlap :], None, empty)[1]


ROOM = 64
"""a cache that grows has a multiple of that many places"""


def room_of(state: State) -> int:
    """How many places its caches have."""
    return int(state[3][0][0].shape[2])


class LazyLayers(Sequence[Tensor]):
    """Layers' outputs that are brought into shape when they are asked for, as most of them never are."""

    def __init__(self, made: list[Tensor], finish: Callable[[Tensor], Tensor]):
        self.made, self.finish = made, finish

    def __len__(self) -> int:
        return len(self.made)

    @overload
    def __getitem__(self, which: int) -> Tensor: ...
    @overload
    def __getitem__(self, which: slice) -> Sequence[Tensor]: ...
    def __getitem__(self, which: int | slice) -> Tensor | Sequence[Tensor]:
        return LazyLayers(self.made[which], self.finish) if isinstance(which, slice) else self.finish(self.made[which])


def real_part(layers: list[Tensor], lengths: Tensor | None) -> Sequence[Tensor]:
    """The layers' outputs [B, T, D], zero behind the end of a row."""
    if lengths is None:
        return layers
    real = real_tokens(layers[0].shape[1], lengths)[..., None]
    return LazyLayers(layers, lambda layer: layer * real)


def hidden_of(layers: Sequence[Tensor], state: State = None) -> Hidden:
    """A model's outputs, the last of which heads read."""
    last = layers[-1]
    return Hidden(last=last, dropped=last, layers=layers, state=state)


def on_host(tokens: Tensor) -> bool:
    """Whether numbers in it can be read without waiting for a device."""
    return tokens.device.type == "cpu"
