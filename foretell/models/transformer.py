"""Transformers: token vectors, positions and a stack of attention blocks, causal or bidirectional.

Radford et al. 2018 and 2019 (GPT, GPT-2), Devlin et al. 2019 (BERT, arXiv:1810.04805), Lan et al. 2020 (ALBERT,
arXiv:1909.11942). B rows, T steps, C the context, E width of the token vectors, D width.

A causal model reads texts of any length. Its context cannot slide, because the keys and values of a token belong to
the position it was read at. Instead, when the context is full, the last `overlap` tokens are read again from position
0 and reading continues after them. The context of a token thus depends only on its position in the text, not on how
the text is cut into windows: streaming, scoring, generation and evaluation in parallel windows
(`data.batches.streams.OverlappingConfig`) agree.

Bidirectional models take whole windows, and so do causal ones whose rows hold packed documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Literal, Self, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from typing_extensions import override

from foretell.config import Config, Count, Depth, Rate, Width, validate
from foretell.errors import ConfigError
from foretell.models.backbone import Backbone
from foretell.models.model_config import ModelConfig
from foretell.nn.activation import ActivationName, GatedName
from foretell.nn.attention.kv_cache import GROWTH, CacheShape, CacheSlots, LayerCache, slots_of
from foretell.nn.attention.pattern import AttentionPattern, attention_mask
from foretell.nn.attention.positions import LearnedConfig, PositionsChoice
from foretell.nn.block import Block, NormChoice, PreNormConfig, norm_of
from foretell.nn.dropout import dropout, table_dropout
from foretell.nn.embedding import EmbeddingChoice, TableConfig
from foretell.nn.flops import macs_per_token
from foretell.nn.initializers import NormalConfig
from foretell.nn.lazy_layers import LazyLayers, zero_padding
from foretell.nn.linear import Linear
from foretell.nn.pooling import ExtractConfig, FirstConfig, PoolingConfig
from foretell.nn.ragged import Ragged, positions_in_documents
from foretell.nn.vocabulary import Counts
from foretell.types import Hidden, Inputs, State, where_rows


class TransformerDropoutConfig(Config):
    """Dropout rates; masks are drawn per element, except for `layer`."""

    table: Rate = 0.0
    """token and position embeddings: all occurrences of a token lose the same elements (GPT)"""
    input: Rate = 0.0
    """the input of the first layer: the sum of token, position and segment, after its norm"""
    attention: Rate = 0.0
    """attention weights"""
    residual: Rate = 0.0
    """outputs of attention and feed-forward network, before they are added to the residual stream"""
    layer: Rate = 0.0
    """whole layers, skipped for a training step (LayerDrop, arXiv:1909.11556)"""


class InitialConfig(NormalConfig):
    """Weights start normally distributed around zero, biases at zero, gains at one."""

    residual_scaling: bool = True
    """scale weights that write to the residual stream by 1 / sqrt(2 x layers), as their outputs add up (GPT-2)"""


class TransformerConfig(ModelConfig):
    """A Transformer: a stack of attention blocks, causal or bidirectional."""

    kind: Literal["transformer"] = "transformer"
    fine_tuned_as: ClassVar[str] = "bert-finetune-sst2"
    direction: Literal["forward", "both"] = "forward"
    """both: every token attends to its whole window; for masked models, not for next-token prediction"""
    hidden: Width = 768
    """width of the layers"""
    embedding: EmbeddingChoice = TableConfig()
    """a table with a vector per token, or narrower vectors for rarer tokens"""
    embedding_dim: Width | None = None
    """width of the token vectors, which are projected to `hidden` (ALBERT); absent: `hidden`, without a projection"""
    layers: Depth = 12
    groups: Depth | None = None
    """number of groups of consecutive layers that share their weights (ALBERT: 1); absent: no sharing"""
    heads: Width | tuple[Width, Width] = 12
    """number of attention heads; a pair: of queries, and of the keys and values they share"""
    head_dim: Width | None = None
    """width of a head; absent: hidden / heads"""
    qk_norm: bool = False
    """divide each query and key by its root mean square (Henry et al. 2020, arXiv:2010.04245, there by its norm)"""
    feed_forward: Width | None = None
    """inner width of the feed-forward networks; absent: 4 x hidden"""
    activation: ActivationName | GatedName = "gelu"
    """geglu, swiglu: half of the inner values gate the other half, with twice as many inner weights"""
    context: Annotated[int, Field(gt=0, le=2**24)] = 1024
    """longest window in tokens"""
    overlap: Count | None = None
    """tokens read again when the context is full, outside training; absent: half the context"""
    positions: PositionsChoice = LearnedConfig()
    norm: NormChoice = PreNormConfig()
    segments: Annotated[int, Field(ge=0, le=2**20)] = 0
    """number of segments, such as the two texts of a pair, with a learned vector each"""
    biases: bool = True
    """biases in linear layers and layer norms; an RMSNorm has none"""
    dropout: TransformerDropoutConfig = TransformerDropoutConfig()
    initial: InitialConfig = InitialConfig()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        heads, shared = self.query_heads, self.key_value_heads
        if self.head_dim is None and self.hidden % heads:
            raise ValueError(
                f"hidden = {self.hidden} is not divisible by heads = {heads}; make it a multiple, or set head_dim"
            )
        if heads % shared:
            raise ValueError(f"heads = [{heads}, {shared}]: the second has to divide the first")
        if self.overlap is not None and self.overlap >= self.context:
            raise ValueError(f"overlap = {self.overlap} leaves no room in context = {self.context}; make it smaller")
        if self.groups is not None and self.groups > self.layers:
            raise ValueError(f"groups = {self.groups} is more than layers = {self.layers}; make it at most that")
        if self.segments and self.direction == "forward":
            raise ValueError(
                f'segments = {self.segments} needs direction = "both": running text has no segments; leave it out'
            )
        if self.positions.kind == "rotary" and self.head_width % 2:
            raise ValueError(
                f"rotary positions need an even head size, not {self.head_width}; make hidden / heads or head_dim even"
            )
        if self.positions.kind == "sinusoid" and self.embedding_width % 2:
            raise ValueError(f"sinusoid positions need token vectors of even width, not {self.embedding_width}")
        return self

    @property
    def query_heads(self) -> int:
        """Number of heads of queries."""
        return self.heads if isinstance(self.heads, int) else self.heads[0]

    @property
    def key_value_heads(self) -> int:
        """Number of heads of keys and values."""
        return self.heads if isinstance(self.heads, int) else self.heads[1]

    @property
    def head_width(self) -> int:
        """Width of a head."""
        return self.head_dim or self.hidden // self.query_heads

    @property
    def embedding_width(self) -> int:
        """Width of the token vectors."""
        return self.embedding_dim or self.hidden

    @property
    @override
    def learns_positions(self) -> bool:
        return self.positions.kind == "learned"

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
        heads = max(hidden * self.query_heads // self.hidden, 1)
        shared, rest = divmod(heads, self.query_heads // self.key_value_heads)
        tree = self.model_dump(mode="json", exclude_none=True) | {
            "hidden": hidden,
            "heads": heads if isinstance(self.heads, int) or rest else [heads, shared],
            "embedding_dim": self.embedding_width,
        }
        if self.feed_forward is not None:
            tree["feed_forward"] = max(round(self.feed_forward * ratio), 1)
        if hidden == self.embedding_width:  # nothing to project
            del tree["embedding_dim"]
        return validate(TransformerConfig, tree, where)

    def build(self, vocabulary: int, counts: Counts | None = None) -> Transformer:
        """Build the model; `counts` [vocabulary] are token frequencies."""
        return Transformer(self, vocabulary, counts)


class Transformer(Backbone):
    """Token vectors, positions, segments and attention blocks.

    The state of a causal model is the key/value cache of `nn.attention.kv_cache`. In training every window starts
    from an empty cache, whatever the state, and returns none; so do windows with `documents` or `positions`.
    """

    embeds = ("embedding", "positions", "segments", "embedding_norm")
    context: int
    overlap: int

    def __init__(self, config: TransformerConfig, vocabulary: int, counts: Counts | None = None):
        super().__init__()
        hidden, width, heads = config.hidden, config.embedding_width, config.query_heads
        self.dim, self.dropout, self.layers = hidden, config.dropout, config.layers
        self.attended = heads * config.head_width
        self.causal = config.direction == "forward"
        self.reads = frozenset({"lengths", "documents", "positions"})
        self.reads |= {"causal", "state"} if self.causal else {"bidirectional"}
        self.reads |= {"segments"} if config.segments else set()
        self.context = config.context
        self.overlap = config.context // 2 if config.overlap is None else config.overlap
        self.cache = CacheShape(config.layers, config.key_value_heads, config.head_width, config.context)
        self.embedding = config.embedding.build(vocabulary, width, counts)
        self.positions = config.positions.build(config.context, width, config.head_width, config.initial)
        self.segments = nn.Embedding(config.segments, width) if config.segments else None

        def norm(enabled: bool, width: int) -> nn.Module:
            return norm_of(config.norm, width, biases=config.biases) if enabled else nn.Identity()

        self.embedding_norm = norm(config.norm.embedding, width)
        self.projection = Linear(width, hidden, bias=config.biases) if config.embedding_dim else nn.Identity()
        self.blocks = nn.ModuleList(
            Block(
                hidden,
                heads=heads,
                key_value_heads=config.key_value_heads,
                head_dim=config.head_dim,
                inner=config.feed_forward or 4 * hidden,
                activation=config.activation,
                norm=config.norm,
                biases=config.biases,
                qk_norm=config.qk_norm,
                attention_dropout=config.dropout.attention,
                residual_dropout=config.dropout.residual,
            )
            for _ in range(config.groups or config.layers)
        )
        self.norm = norm(config.norm.final, hidden)
        self._initialise(config.initial)

    def _initialise(self, initial: InitialConfig) -> None:
        """Draw the weights; residual scaling as in GPT-2 (Radford et al. 2019, section 2.3)."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                scaled = initial.residual_scaling and name.endswith("out")
                initial.fill(module.weight, scale=(2 * self.layers) ** -0.5 if scaled else 1.0)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    @property
    @override
    def pooling(self) -> PoolingConfig:
        return ExtractConfig() if self.causal else FirstConfig()

    def block(self, layer: int) -> Block:
        """The block used as layer number `layer`."""
        return cast(Block, self.blocks[layer * len(self.blocks) // self.layers])

    @override
    def macs_per_token(self, length: int) -> float:
        """Counts shared blocks once per use, and attention as if every token attended to all.

        This is the usual convention (Chowdhery et al. 2022, arXiv:2204.02311, appendix B), also for causal attention,
        which needs half of that.
        """
        used = sum(macs_per_token(self.block(layer)) for layer in range(self.layers))
        return macs_per_token(self) + used - macs_per_token(self.blocks) + 2 * self.layers * self.attended * length

    @override
    def initial_state(self, rows: int, ahead: int = 0) -> State:
        """An empty cache; None for bidirectional models."""
        return self._empty(rows, min(self.context, ahead or GROWTH)) if self.causal else None

    def _empty(self, rows: int, slots: int) -> State:
        return self.cache.empty(rows, slots, like=next(self.blocks.parameters()))

    @override
    def forward(self, inputs: Inputs, state: State) -> Hidden:
        tokens, lengths = inputs.tokens, inputs.lengths
        if self.training or not self.causal or inputs.documents is not None or inputs.positions is not None:
            return self._run_window(inputs)
        if state is not None and inputs.fresh is not None:
            state = where_rows(inputs.fresh, self._empty(len(tokens), slots_of(state)), state)
        if state is None and tokens.shape[1] <= self.context:
            layers, state = self._prefill(tokens, lengths)
        else:
            layers, state = self._extend(tokens, lengths, self.initial_state(len(tokens)) if state is None else state)
        return hidden_of(zero_padding(layers, lengths), state)

    # --- windows without state --------------------------------------------------------------------

    def _run_window(self, inputs: Inputs) -> Hidden:
        """Run an independent window, without state."""
        tokens, lengths, documents = inputs.tokens, inputs.lengths, inputs.documents
        if tokens.shape[1] > self.context:
            raise ConfigError(
                f"a window of {tokens.shape[1]} tokens does not fit model.context = {self.context}; "
                f"make data.batches.length, plus any special tokens, at most that"
            )
        if documents is None and (lengths is None or self.causal):  # right padding is invisible under a causal mask
            layers, _ = self._run_blocks(inputs, AttentionPattern(self.causal))
        elif on_host(tokens):
            ragged = Ragged.of(tokens, lengths, documents)
            pattern = AttentionPattern(self.causal, rectangles=ragged.rectangles)
            layers, _ = self._run_blocks(ragged.pick(inputs), pattern)
            return hidden_of(LazyLayers(layers, ragged.spread))
        else:
            if documents is not None and inputs.positions is None:
                inputs = replace(inputs, positions=positions_in_documents(tokens, documents))
            mask = attention_mask(tokens, lengths, documents, self.causal)
            layers, _ = self._run_blocks(inputs, AttentionPattern(self.causal, mask=mask))
        return hidden_of(zero_padding(layers, lengths))

    def _run_blocks(
        self, inputs: Inputs, pattern: AttentionPattern, caches: tuple[LayerCache, ...] = (), *, keep: bool = False
    ) -> tuple[list[Tensor], tuple[LayerCache, ...]]:
        """tokens [B, T] -> every layer's output [B, T, D] and, if `keep`, every layer's keys and values."""
        steps = torch.arange(inputs.tokens.shape[1], device=inputs.tokens.device)
        positions = steps if inputs.positions is None else inputs.positions
        x = self._embed(inputs, positions)
        pattern = replace(pattern, rotation=self.positions.rotation(positions))
        layers: list[Tensor] = []
        kept: list[LayerCache] = []
        for layer in range(self.layers):
            if not self._skips_layer():
                x, cache = self.block(layer)(x, pattern, caches[layer] if caches else None)
                if keep:  # otherwise keys and values of each layer are freed here
                    kept.append(cache)
            layers.append(x)
        layers[-1] = self.norm(x)
        return layers, tuple(kept)

    def _embed(self, inputs: Inputs, positions: Tensor) -> Tensor:
        """Input of the first layer [B, T, D]."""
        vocabulary, rate = self.embedding.vocabulary, self.dropout.table
        x = table_dropout(self.embedding(inputs.tokens), inputs.tokens, vocabulary, rate, self.training)  # [B, T, E]
        vectors = self.positions.vectors(positions)
        if vectors is not None:
            x = x + table_dropout(vectors, positions, self.context, rate, self.training)
        if self.segments is not None:
            x = x + (self.segments.weight[0] if inputs.segments is None else self.segments(inputs.segments))
        x = dropout(self.embedding_norm(x), self.dropout.input, self.training, locked=False)
        projected: Tensor = self.projection(x)
        return projected

    def _skips_layer(self) -> bool:
        """Whether a training step skips a layer; drawn on the host."""
        rate = self.dropout.layer
        return self.training and rate > 0 and float(torch.rand((), device="cpu")) < rate

    # --- windows that continue a text -------------------------------------------------------------

    def _prefill(self, tokens: Tensor, lengths: Tensor | None, empty: State = None) -> tuple[list[Tensor], State]:
        """Run a window [B, T <= C] from position 0 and cache its keys and values, in `empty` if given."""
        rows, steps = tokens.shape
        layers, kept = self._run_blocks(Inputs(tokens), AttentionPattern(causal=True), keep=True)
        filled = torch.full((rows,), steps, device=tokens.device) if lengths is None else lengths
        empty = self._empty(rows, self.cache.slots_for(steps)) if empty is None else empty
        slots = CacheSlots.after(empty[0], filled, steps)
        _, written, before, caches = self.cache.writable(empty, slots.filled)
        for cache, parts in zip(caches, kept, strict=True):
            for part, new in zip(cache, parts, strict=True):
                slots.write(part.transpose(1, 2), new.transpose(1, 2))
        slots.write(before, tokens)
        written.copy_(filled)
        return layers, (filled, written, before, caches)

    def _extend(self, tokens: Tensor, lengths: Tensor | None, state: State) -> tuple[list[Tensor], State]:
        """Run a window [B, T] of any length after a state, in as many pieces as contexts are filled."""
        rows, steps = tokens.shape
        lengths = torch.full((rows,), steps, device=tokens.device) if lengths is None else lengths
        pieces, begin = [], 0
        while begin < steps:
            pending = lengths > begin
            full = pending & (state[0] == self.context)
            if full.any():  # a full row has slots for the whole context
                state = where_rows(full, self._reread_overlap(state), state)
            free = (self.context - state[0])[pending]
            end = min(begin + int(free.min()), steps) if len(free) else steps
            layers, state = self._append(tokens[:, begin:end], (lengths - begin).clamp(0, end - begin), state)
            pieces.append(layers)
            begin = end
        return [torch.cat(parts, 1) for parts in zip(*pieces, strict=True)], state

    def _append(self, tokens: Tensor, lengths: Tensor, state: State) -> tuple[list[Tensor], State]:
        """Run a window [B, T] that fits after the filled slots."""
        steps = tokens.shape[1]
        if not state[0].any() and steps <= self.context:
            return self._prefill(tokens, lengths, state)
        slots = CacheSlots.after(state[0], lengths, steps)
        filled, written, before, caches = self.cache.writable(state, slots.filled)
        positions = filled[:, None] + torch.arange(steps, device=tokens.device)
        inputs = Inputs(tokens, positions=positions.clamp(max=self.context - 1))  # padding may lie outside
        layers, _ = self._run_blocks(inputs, AttentionPattern(causal=True, slots=slots), caches)
        slots.write(before, tokens)
        after = filled + lengths
        written.copy_(after)
        return layers, (after, written, before, caches)

    def _reread_overlap(self, state: State) -> State:
        """Read the last `overlap` tokens of full rows again, from position 0."""
        empty = self._empty(len(state[0]), self.context)
        if self.overlap == 0:
            return empty
        return self._prefill(state[2][:, self.context - self.overlap :], None, empty)[1]


def hidden_of(layers: Sequence[Tensor], state: State = None) -> Hidden:
    """Outputs of the model; heads read the last layer's."""
    last = layers[-1]
    return Hidden(last=last, dropped=last, layers=layers, state=state)


def on_host(tokens: Tensor) -> bool:
    """Whether reading elements needs no device synchronisation."""
    return tokens.device.type == "cpu"
