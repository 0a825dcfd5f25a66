"""The nouns every part of foretell speaks in.

Shapes: B rows of a batch, T time steps, D width, V vocabulary, N chosen positions, M remembered positions.

A *state* is whatever a model carries from one window to the next: nested tuples of tensors (or `None`), each with its
rows on dimension 0, so that one set of functions selects rows, splits micro-batches, detaches and saves all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

import torch
from torch import Tensor

State = Any  # nested tuples of Tensor[B, ...] or None
IGNORED = -100  # a target that is not to be predicted


def map_state(function: Callable[[Tensor], Tensor], state: State) -> State:
    """`function` applied to every tensor of a state, the nesting kept."""
    if state is None:
        return None
    if isinstance(state, Tensor):
        return function(state)
    return tuple(map_state(function, part) for part in state)


def detach(state: State) -> State:
    """The state without its history: where truncated back-propagation truncates."""
    return map_state(Tensor.detach, state)


def select_rows(state: State, rows: slice | Tensor) -> State:
    """The state of some rows of the batch."""
    return map_state(lambda tensor: tensor[rows], state)


def join_rows(states: list[State]) -> State:
    """The inverse of splitting by rows: states of one structure, concatenated on dimension 0.

    Where some have room for more places than others, these get zeros.
    """
    first = states[0]
    if first is None:
        return None
    if isinstance(first, Tensor):
        room = [max(sizes) for sizes in zip(*(state.shape[1:] for state in states), strict=True)]
        return torch.cat([with_room(state, room) for state in states])
    return tuple(join_rows([state[i] for state in states]) for i in range(len(first)))


def with_room(tensor: Tensor, room: list[int]) -> Tensor:
    """[B, ...] with zeros behind in every direction, up to [B, *room]."""
    if list(tensor.shape[1:]) == room:
        return tensor
    new = tensor.new_zeros(len(tensor), *room)
    new[tuple(map(slice, tensor.shape))] = tensor
    return new


def where_rows(fresh: Tensor, new: State, old: State) -> State:
    """Row by row the `new` state where `fresh[B]` is true, the `old` one elsewhere."""
    if isinstance(new, Tensor):
        return torch.where(fresh.view(-1, *[1] * (new.dim() - 1)), new, old)
    return None if new is None else tuple(map(lambda n, o: where_rows(fresh, n, o), new, old))


class _Rows:
    """Moving to a device, selecting and repeating rows, for dataclasses whose tensors have rows on dimension 0."""

    def to(self, device: torch.device) -> Self:
        """The same on another device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def rows(self, rows: slice) -> Self:
        """Some rows of it."""
        return self._map(lambda tensor: tensor if tensor.shape[:1] == (1,) else tensor[rows])

    def repeated(self, count: int) -> Self:
        """So many copies of its only row, side by side, each with its own memory."""
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


@dataclass(frozen=True)
class Inputs(_Rows):
    """What a backbone reads. Which of the optional fields it understands stands in its `reads`."""

    tokens: Tensor
    """[B, T] int64"""
    lengths: Tensor | None = None
    """[B] int64: how many of the T are real (padding is on the right); absent: all"""
    fresh: Tensor | None = None
    """[B] bool: rows that start anew, whatever the state says"""
    positions: Tensor | None = None
    """[B, T] int64: place of each token in its text, where that is not the place in the window"""
    documents: Tensor | None = None
    """[B, T] int64: which packed document a token belongs to"""
    segments: Tensor | None = None
    """[B, T] int64: first or second text of a pair"""
    task: Tensor | None = None
    """[B] int64: the pre-training task of a row (ERNIE 2.0)"""
    visible: Tensor | None = None
    """[B or 1, T, M + T] bool: who may look at whom (content stream)"""
    query_visible: Tensor | None = None
    """[B or 1, T, M + T] bool: the same for the query stream (XLNet)"""


@dataclass(frozen=True)
class Batch(_Rows):
    """One step's data."""

    inputs: Inputs
    targets: Tensor
    """[B, T] int64, -100 where nothing is to be predicted"""
    labels: Tensor | None = None
    """what a task predicts: [B] or [B, T]"""
    places: Tensor | None = None
    """[B, P] int64: where in its row the targets are, -1 behind the last of them; absent: they may be anywhere"""
    noise: Tensor | None = None
    """[B, T] uniform numbers from [0, 1), for objectives that draw"""
    rate: float = 1.0
    """factor on the learning rate: a shorter random window takes a smaller step"""

    @property
    def tokens(self) -> int:
        """How many of its places are no padding; asked on the host's copy, it costs no synchronisation."""
        lengths = self.inputs.lengths
        return self.inputs.tokens.numel() if lengths is None else int(lengths.sum())

    @property
    def starts_anew(self) -> bool:
        """Whether no row goes on from the batch before; asked on the host's copy, it costs no synchronisation."""
        return self.inputs.fresh is not None and bool(self.inputs.fresh.all())


@dataclass(frozen=True)
class Hidden:
    """What a backbone makes of its inputs."""

    last: Tensor
    """[B, T, D] the last layer's output"""
    dropped: Tensor
    """[B, T, D] the same after output dropout: what heads read"""
    layers: Sequence[Tensor] = ()
    """[B, T, D_l] every layer's output, first to last"""
    query: Tensor | None = None
    """[B, T, D] the query stream (XLNet)"""
    state: State = None


@dataclass(frozen=True)
class Term:
    """One part of a loss: a sum, never a mean. What it is divided by follows from the batch (`Objective.counts`)."""

    total: Tensor
    """[] sum of losses in nats"""
    weight: float = 1.0


@dataclass(frozen=True)
class Step:
    """What an objective makes of one batch."""

    terms: Mapping[str, Term]
    penalty: Tensor | None = None
    """[] regularisers, already weighted; not part of any reported loss"""
    state: State = None
    metrics: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Scores:
    """What a scorer says of given targets; positions with target -100 hold zeros."""

    logp: Tensor
    """[B, T] natural logarithm of the target's probability"""
    rank: Tensor | None = None
    """[B, T] int64: how many words were held more probable than the target (0: the first guess); exact below 5"""
    vectors: Tensor | None = None
    """[B, T, D] the last layer's output without dropout, where there is such a thing"""
