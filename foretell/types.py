"""Types shared by the whole package.

Shapes: B rows of a batch, T time steps, D width, V vocabulary, P target positions of a row.

A *state* is whatever a model carries from one window to the next: nested tuples of tensors (or `None`) with rows on
dimension 0. The same functions select rows, split micro-batches, detach and save any state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

import torch
from torch import Tensor

State = Any  # nested tuples of Tensor[B, ...] or None
IGNORED = -100  # marks a position without a target
OnProgress = Callable[[float], None]
"""called with the fraction of a pass that is done, from 0 to 1"""


def no_progress(_: float) -> None:
    """Ignores progress."""


def map_state(function: Callable[[Tensor], Tensor], state: State) -> State:
    """Apply `function` to every tensor of a state."""
    if state is None:
        return None
    if isinstance(state, Tensor):
        return function(state)
    return tuple(map_state(function, part) for part in state)


def detach(state: State) -> State:
    """Cut the state from the graph, as truncated back-propagation does between windows."""
    return map_state(Tensor.detach, state)


def select_rows(state: State, rows: slice | Tensor) -> State:
    """Select rows of a state."""
    return map_state(lambda tensor: tensor[rows], state)


def join_rows(states: list[State]) -> State:
    """Concatenate states of one structure on dimension 0; smaller caches are padded with zeros."""
    first = states[0]
    if first is None:
        return None
    if isinstance(first, Tensor):
        shape = [max(sizes) for sizes in zip(*(state.shape[1:] for state in states), strict=True)]
        return torch.cat([zero_padded(state, shape) for state in states])
    return tuple(join_rows([state[i] for state in states]) for i in range(len(first)))


def zero_padded(tensor: Tensor, shape: list[int]) -> Tensor:
    """Pad [B, ...] with zeros at the end of each dimension, to [B, *shape]."""
    if list(tensor.shape[1:]) == shape:
        return tensor
    padded = tensor.new_zeros(len(tensor), *shape)
    padded[tuple(map(slice, tensor.shape))] = tensor
    return padded


def where_rows(fresh: Tensor, new: State, old: State) -> State:
    """Take rows of the `new` state where `fresh` [B] is true, of the `old` one elsewhere."""
    if isinstance(new, Tensor):
        return torch.where(fresh.view(-1, *[1] * (new.dim() - 1)), new, old)
    return None if new is None else tuple(map(lambda n, o: where_rows(fresh, n, o), new, old))


class _Rows:
    """Base of dataclasses whose tensors have rows on dimension 0."""

    def to(self, device: torch.device) -> Self:
        """Copy to a device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def rows(self, rows: slice) -> Self:
        """Select rows; a tensor with a single row is shared by all of them."""
        return self._map(lambda tensor: tensor if tensor.shape[:1] == (1,) else tensor[rows])

    def repeat(self, count: int) -> Self:
        """Repeat the only row `count` times, as copies."""
        return self._map(lambda tensor: tensor.expand(count, *tensor.shape[1:]).clone())

    def _map(self, function: Callable[[Tensor], Tensor]) -> Self:
        changed: dict[str, Any] = {}
        for item in fields(self):  # type: ignore[arg-type]
            value = getattr(self, item.name)
            if isinstance(value, Tensor):
                changed[item.name] = function(value)
            elif isinstance(value, _Rows):
                changed[item.name] = value._map(function)
        return replace(self, **changed)  # type: ignore[type-var]


Opening = tuple[int, int]
"""the boundary, and the token that a model reads in its place: what documents begin with"""


@dataclass(frozen=True)
class Inputs(_Rows):
    """Inputs of a backbone; `Backbone.reads` names the optional fields it supports."""

    tokens: Tensor
    """[B, T] int64"""
    lengths: Tensor | None = None
    """[B] int64: number of real tokens, with padding on the right; absent: all T"""
    fresh: Tensor | None = None
    """[B] bool: rows that start from the initial state"""
    positions: Tensor | None = None
    """[B, T] int64: position of each token in its text; absent: its position in the window"""
    documents: Tensor | None = None
    """[B, T] int64: number of the packed document each token belongs to"""
    segments: Tensor | None = None
    """[B, T] int64: segment of each token, such as the first or second text of a pair"""

    @property
    def all_fresh(self) -> bool:
        """Whether no row continues a text, so that there is no state before it."""
        return self.fresh is not None and bool(self.fresh.all())

    def opened(self, opening: Opening | None) -> Inputs:
        """The inputs with the token that documents begin with in the place of boundaries; see `Specials.opening`."""
        if opening is None:
            return self
        boundary, start = opening
        return replace(self, tokens=self.tokens.masked_fill(self.tokens == boundary, start))


@dataclass(frozen=True)
class Batch(_Rows):
    """Data of one step."""

    inputs: Inputs
    targets: Tensor
    """[B, T] int64; -100 marks positions without a target"""
    labels: Tensor | None = None
    """labels of a task, [B] or [B, T]"""
    label_weights: Tensor | None = None
    """fp32, as `labels`: factors on their losses; absent: 1"""
    target_positions: Tensor | None = None
    """[B, P] int64: positions of the targets in each row, padded with -1; absent: any position may have one"""
    noise: Tensor | None = None
    """[B, T] uniform numbers from [0, 1), for objectives that sample"""
    lr_factor: float = 1.0
    """factor on the learning rate; shorter random windows take smaller steps"""

    @property
    def tokens(self) -> int:
        """Number of real tokens; on the host's copy, asking needs no synchronisation."""
        lengths = self.inputs.lengths
        return self.inputs.tokens.numel() if lengths is None else int(lengths.sum())

    @property
    def all_fresh(self) -> bool:
        """Whether no row continues the previous batch; on the host's copy, asking needs no synchronisation."""
        return self.inputs.all_fresh


@dataclass(frozen=True)
class Hidden:
    """Outputs of a backbone."""

    last: Tensor
    """[B, T, D] output of the last layer"""
    dropped: Tensor
    """[B, T, D] `last` after output dropout, which heads read"""
    layers: Sequence[Tensor] = ()
    """[B, T, D_l] output of each layer, first to last"""
    state: State = None


@dataclass(frozen=True)
class Term:
    """One term of a loss: a sum, never a mean; its denominator depends only on the batch (`Objective.counts`)."""

    total: Tensor
    """[] sum of losses, in nats"""
    weight: float = 1.0


@dataclass(frozen=True)
class Step:
    """Loss of an objective on one batch."""

    terms: Mapping[str, Term]
    penalty: Tensor | None = None
    """[] weighted regularisers; not part of any reported loss"""
    state: State = None
    metrics: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Scores:
    """A scorer's results for given targets; positions without a target hold zeros."""

    logp: Tensor
    """[B, T] log-probability of each target, in nats"""
    rank: Tensor | None = None
    """[B, T] int64: number of tokens more probable than the target (0: the most probable one); exact below 5"""
    vectors: Tensor | None = None
    """[B, T, D] output of the last layer without dropout, for models with hidden vectors"""
