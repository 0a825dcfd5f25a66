"""Correspondence of settings and tensors between foretell ("ours") and transformers ("theirs").

One description serves both directions, so they cannot disagree: `read` converts theirs to ours, `write` ours to theirs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from foretell.errors import ConfigError, did_you_mean
from foretell.strict_json import JsonObject, shown
from foretell.trees import Tree

Theirs = dict[str, Any]
"""the content of a config.json"""


class Misfit(ConfigError):
    """A model that a family cannot represent."""

    def __init__(self, *problems: str):
        super().__init__(", ".join(problems))
        self.problems = problems
        """the settings or tensors without a counterpart"""


# --- settings -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Setting:
    """A setting, by its dotted name in a recipe and its key in a config.json."""

    ours: str
    theirs: str
    default: Any = None
    """value of a config.json without the key"""
    spelled: Mapping[Any, Any] | None = None
    """theirs for each value of ours, if they differ"""
    alike: Mapping[str, str] = field(default_factory=dict)
    """synonyms of their values"""
    absent: Callable[[Mapping[str, Any]], Any] | None = None
    """theirs if ours is absent"""
    less: Callable[[Mapping[str, Any]], int] | None = None
    """theirs minus ours"""
    least: int | None = None
    """smallest value of theirs"""
    most: int = 2**31 - 1
    """largest value of theirs"""
    loose: bool = False
    """irrelevant for a trained model: if several of ours correspond to one of theirs, the first is written"""

    def read(self, theirs: JsonObject) -> dict[str, Any]:
        """Our setting by its name; empty if it is absent."""
        value = theirs[self.theirs]
        if self.absent is not None and value in (None, self.absent(theirs)):
            return {}
        if self.spelled is not None:
            return {self.ours: self._spelled(value, theirs.file)}
        if isinstance(self.default, bool):
            return {self.ours: theirs.flag(self.theirs)}
        if isinstance(self.default, float):
            return {self.ours: theirs.number(self.theirs, least=0, most=1)}
        less = 0 if self.less is None else self.less(theirs)
        return {self.ours: theirs.integer(self.theirs, least=1 + less, most=self.most) - less}

    def _spelled(self, value: Any, file: Path | str) -> Any:
        """Our value for one of theirs."""
        assert self.spelled is not None
        known = {theirs: ours for ours, theirs in self.spelled.items()}
        word = self.alike.get(value, value) if isinstance(value, str) else None
        if word not in known:
            near = "" if word is None else did_you_mean(word, map(str, known))
            hint = near or f" (known: {', '.join(map(str, known))})"
            raise ConfigError(f"{self.theirs} = {shown(value)} is not supported{hint}", file=file)
        return known[word]

    def write(self, tree: Tree, theirs: Theirs) -> None:
        """Write our value into theirs."""
        value = at(tree, self.ours)
        if value is None:
            if self.absent is None:
                raise Misfit(f"{self.ours} is absent")
            value = self.absent(theirs)
        elif isinstance(value, list):
            raise Misfit(f"{self.ours} = {value!r} is not one number")
        elif self.spelled is not None:
            if value not in self.spelled:
                raise Misfit(f"{self.ours} = {value!r} is not among {', '.join(map(repr, self.spelled))}")
            value = self.spelled[value]
        elif self.less is not None:
            value = value + self.less(theirs)
        elif self.least is not None:
            value = max(value, self.least)
        if self.loose:
            theirs.setdefault(self.theirs, value)
        elif theirs.setdefault(self.theirs, value) != value:
            raise Misfit(f"{self.ours} = {value!r} and {self.theirs} = {theirs[self.theirs]!r}, which must be equal")


def at(tree: Mapping[str, Any], dotted: str) -> Any:
    """The value of a dotted name, or None."""
    value: Any = tree
    for part in dotted.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


# --- tensors --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Link:
    """A tensor of ours and those of theirs that it joins on dimension 0; or all tensors of a module.

    `{}` is the number of a layer. The name of a module, without `.weight` or `.bias`, stands for both; if ours has no
    bias, theirs is zero.
    """

    ours: str
    theirs: tuple[str, ...]
    transposed: bool = False
    """their matrices are inputs x outputs"""
    first: str | None = None
    """tensor of ours with as many columns as the first of theirs has rows, while the others share the rest evenly:
    grouped queries, keys and values"""
    instead: str | None = None
    """tensor of ours with the width of the zeros that are written if ours does not exist"""

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Pattern of our names."""
        return re.compile(re.escape(self.ours).replace(r"\{\}", r"(\d+)") + r"(\.weight|\.bias)?")

    def names(self, ours: str) -> tuple[str, ...] | None:
        """Their names for one of ours; None if it does not match."""
        match = self.pattern.fullmatch(ours)
        if match is None:
            return None
        *number, part = match.groups()
        return tuple(name.format(*number) + (part or "") for name in self.theirs)

    def read(self, theirs: Sequence[Tensor]) -> Tensor:
        """Convert theirs to ours."""
        return torch.cat([t.t() if self.transposed and t.dim() == 2 else t for t in theirs])

    def rows_of_first(self, name: str, ours: Mapping[str, Tensor]) -> int | None:
        """How many rows of our tensor `name` the first of theirs has; None: all of theirs have as many."""
        match = self.pattern.fullmatch(name)
        return None if self.first is None or match is None else ours[self.first.format(*match.groups())].shape[1]

    def write(self, ours: Tensor, rows: int | None = None) -> tuple[Tensor, ...]:
        """Convert ours to theirs; `rows` as of `rows_of_first`."""
        if rows is not None:
            parts = (ours[:rows], *ours[rows:].chunk(len(self.theirs) - 1))
        else:
            parts = ours.chunk(len(self.theirs))
        # a copy: safetensors does not write tensors that share memory
        return tuple((t.t() if self.transposed and t.dim() == 2 else t).contiguous().clone() for t in parts)

    @cached_property
    def numbered(self) -> re.Pattern[str] | None:
        """Pattern of their first name, with the number of a layer; None outside layers."""
        if "{}" not in self.theirs[0]:
            return None
        return re.compile(re.escape(self.theirs[0]).replace(r"\{\}", r"(\d{1,9})") + r"(?:\.weight|\.bias)?")


def link(
    ours: str, *theirs: str, transposed: bool = False, first: str | None = None, instead: str | None = None
) -> Link:
    """A `Link`."""
    return Link(ours, theirs, transposed, first, instead)


def link_of(links: Iterable[Link], ours: str) -> tuple[Link, tuple[str, ...]]:
    """The link of one of our tensors, and their names for it."""
    for candidate in links:
        names = candidate.names(ours)
        if names is not None:
            return candidate, names
    raise Misfit(f"{ours} has no counterpart")


@dataclass(frozen=True)
class Reading:
    """The tensors read from a checkpoint."""

    tensors: dict[str, Tensor]
    """by our names"""
    missing: list[str]
    """ours that the checkpoint lacks"""
    surplus: list[str]
    """theirs without a counterpart"""


def layers_in(links: Iterable[Link], theirs: Iterable[str]) -> int:
    """The number of layers in a checkpoint with tensors of these names."""
    patterns = [link.numbered for link in links if link.numbered is not None]
    matches = (pattern.fullmatch(name) for name in theirs for pattern in patterns)
    return max((int(match[1]) + 1 for match in matches if match), default=0)


def check_shapes(
    links: Sequence[Link], theirs: Mapping[str, tuple[int, ...]], ours: Mapping[str, Tensor], file: Path
) -> None:
    """Raise `ConfigError` where the shapes of their tensors do not fit ours, which follow config.json."""
    for name, tensor in ours.items():
        matched, names = link_of(links, name)
        if not all(n in theirs for n in names):
            continue
        shapes = [theirs[n][::-1] if matched.transposed and len(theirs[n]) == 2 else theirs[n] for n in names]
        joined = (sum(shape[0] for shape in shapes if shape), *(shapes[0][1:]))
        if joined != tuple(tensor.shape) or any(shape[1:] != shapes[0][1:] for shape in shapes):
            found = ", ".join(f"{n} {tuple(theirs[n])}" for n in names)
            what = f"{found} does not fit config.json, by which {name} is {tuple(tensor.shape)}"
            raise ConfigError(what, file=file, remedy="correct config.json")


def read_tensors(links: Sequence[Link], theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> Reading:
    """The tensors of a checkpoint for a model with the tensors `ours`, of the same shapes (see `check_shapes`)."""
    tensors: dict[str, Tensor] = {}
    missing: list[str] = []
    used: set[str] = set()
    for name in ours:
        matched, names = link_of(links, name)
        if not all(n in theirs for n in names):
            missing.append(name)
            continue
        tensors[name] = matched.read([theirs[n] for n in names])
        used.update(names)
    return Reading(tensors, missing, [name for name in theirs if name not in used])


def write_tensors(links: Sequence[Link], ours: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Yield their names and tensors."""
    for name, tensor in ours.items():
        matched, names = link_of(links, name)
        yield from zip(names, matched.write(tensor, matched.rows_of_first(name, ours)), strict=True)
        bias = name.removesuffix(".weight") + ".bias"
        biases = None if matched.ours.endswith(".weight") or bias == name + ".bias" else matched.names(bias)
        if biases is not None and bias not in ours:  # their modules always have a bias
            yield from zip(biases, matched.write(tensor.new_zeros(len(tensor))), strict=True)
    for unused in links:
        if unused.instead is not None and unused.ours not in ours:
            yield unused.theirs[0], ours[unused.instead].new_zeros(1, ours[unused.instead].shape[1])
