"""What stands for what: settings and tensors that go by one name here and by another there.

One description serves both directions: `read` goes from theirs to ours, `write` from ours to theirs, so the two cannot
disagree.
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

from foretell.config import Tree, did_you_mean
from foretell.errors import ConfigError
from foretell.strict_json import JsonObject, shown

Theirs = dict[str, Any]
"""the content of a config.json"""


class Misfit(ConfigError):
    """A model that a family has no place for."""

    def __init__(self, *problems: str):
        super().__init__(", ".join(problems))
        self.problems = problems
        """what is in the way"""


# --- settings -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Setting:
    """One setting, by its dotted name in a recipe and by its key in a config.json."""

    ours: str
    theirs: str
    default: Any = None
    """what a config.json means that does not name it"""
    spelled: Mapping[Any, Any] | None = None
    """their value for each of ours, where they differ"""
    alike: Mapping[str, str] = field(default_factory=dict)
    """other spellings of theirs, and which of the above they mean"""
    absent: Callable[[Mapping[str, Any]], Any] | None = None
    """what theirs is where ours is absent"""
    less: Callable[[Mapping[str, Any]], int] | None = None
    """ours is smaller than theirs by this"""
    least: int | None = None
    """theirs is no smaller"""
    most: int = 2**31 - 1
    """theirs is no larger"""
    loose: bool = False
    """of no consequence to a trained model: where two of ours are one of theirs, the first is taken"""

    def read(self, theirs: JsonObject) -> dict[str, Any]:
        """Our setting by its name; nothing where it is to be left out."""
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
        """Ours for one of the words of theirs."""
        assert self.spelled is not None
        known = {its: mine for mine, its in self.spelled.items()}
        word = self.alike.get(value, value) if isinstance(value, str) else None
        if word not in known:
            hint = did_you_mean(str(word), map(str, known)) or f" (known: {', '.join(map(str, known))})"
            raise ConfigError(f"{self.theirs} = {shown(value)} is not supported{hint}", file=file)
        return known[word]

    def write(self, tree: Tree, theirs: Theirs) -> None:
        """Our value put into theirs."""
        value = at(tree, self.ours)
        if value is None:
            if self.absent is None:
                raise Misfit(f"{self.ours} is absent")
            value = self.absent(theirs)
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
            raise Misfit(f"{self.ours} = {value!r} beside {self.theirs} = {theirs[self.theirs]!r}, where both are one")


def at(tree: Mapping[str, Any], dotted: str) -> Any:
    """The value of a dotted name; None where there is none."""
    found: Any = tree
    for part in dotted.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


# --- tensors --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Link:
    """One tensor of ours and those of theirs that it is made of, joined on dimension 0; or all parts of a module.

    `{}` stands for the number of a layer. A module's name, without `.weight` or `.bias` at its end, stands for both;
    a bias that is not there is zero to them.
    """

    ours: str
    theirs: tuple[str, ...]
    turned: bool = False
    """their matrices are inputs x outputs"""
    instead: str | None = None
    """the tensor of ours by whose width zeros are written, where there is none of this name"""

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """What our names of this link look like."""
        return re.compile(re.escape(self.ours).replace(r"\{\}", r"(\d+)") + r"(\.weight|\.bias)?")

    def names(self, ours: str) -> tuple[str, ...] | None:
        """Theirs for one of our names; None where this link is about others."""
        match = self.pattern.fullmatch(ours)
        if match is None:
            return None
        *number, part = match.groups()
        return tuple(name.format(*number) + (part or "") for name in self.theirs)

    def read(self, theirs: Sequence[Tensor]) -> Tensor:
        """Ours, made of theirs."""
        return torch.cat([t.t() if self.turned and t.dim() == 2 else t for t in theirs])

    def write(self, ours: Tensor) -> tuple[Tensor, ...]:
        """Theirs, made of ours."""
        # note: a copy, as tensors that share their memory cannot be written
        return tuple(
            (t.t() if self.turned and t.dim() == 2 else t).contiguous().clone() for t in ours.chunk(len(self.theirs))
        )

    @cached_property
    def numbered(self) -> re.Pattern[str] | None:
        """What the first of theirs looks like, with the number of a layer; None where it is of no layer."""
        if "{}" not in self.theirs[0]:
            return None
        return re.compile(re.escape(self.theirs[0]).replace(r"\{\}", r"(\d{1,9})") + r"(?:\.weight|\.bias)?")


def link(ours: str, *theirs: str, turned: bool = False, instead: str | None = None) -> Link:
    """A `Link` in one line."""
    return Link(ours, theirs, turned, instead)


def place(links: Iterable[Link], ours: str) -> tuple[Link, tuple[str, ...]]:
    """The link of one of our tensors, and theirs."""
    for one in links:
        names = one.names(ours)
        if names is not None:
            return one, names
    raise Misfit(f"{ours} has no place there")


@dataclass(frozen=True)
class Reading:
    """What became of the tensors of a checkpoint."""

    tensors: dict[str, Tensor]
    """by our names"""
    missing: list[str]
    """ours that the checkpoint has nothing for"""
    surplus: list[str]
    """theirs that stand for nothing here"""


def layers_in(links: Iterable[Link], theirs: Iterable[str]) -> int:
    """How many layers a checkpoint with tensors of these names has."""
    numbered = [one.numbered for one in links if one.numbered is not None]
    found = (pattern.fullmatch(name) for name in theirs for pattern in numbered)
    return max((int(match[1]) + 1 for match in found if match), default=0)


def check_shapes(
    links: Sequence[Link], theirs: Mapping[str, tuple[int, ...]], ours: Mapping[str, Tensor], file: Path
) -> None:
    """A `ConfigError` where a tensor there, of which the shape is enough, is not as ours, made after a config file."""
    for name, like in ours.items():
        one, names = place(links, name)
        if not all(n in theirs for n in names):
            continue
        shapes = [theirs[n][::-1] if one.turned and len(theirs[n]) == 2 else theirs[n] for n in names]
        joined = (sum(shape[0] for shape in shapes if shape), *(shapes[0][1:]))
        if joined != tuple(like.shape) or any(shape[1:] != shapes[0][1:] for shape in shapes):
            told = ", ".join(f"{n} {tuple(theirs[n])}" for n in names)
            what = f"{told} does not fit config.json, after which {name} is {tuple(like.shape)}"
            raise ConfigError(what, file=file, remedy="mend config.json")


def read_tensors(links: Sequence[Link], theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> Reading:
    """The tensors of a checkpoint for a model with those of `ours`, of the same shapes (see `check_shapes`)."""
    found: dict[str, Tensor] = {}
    missing: list[str] = []
    used: set[str] = set()
    for name in ours:
        one, names = place(links, name)
        if not all(n in theirs for n in names):
            missing.append(name)
            continue
        found[name] = one.read([theirs[n] for n in names])
        used.update(names)
    return Reading(found, missing, [name for name in theirs if name not in used])


def write_tensors(links: Sequence[Link], ours: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Their names and tensors, one after the other."""
    for name, tensor in ours.items():
        one, names = place(links, name)
        yield from zip(names, one.write(tensor), strict=True)
        bias = name.removesuffix(".weight") + ".bias"
        biases = None if one.ours.endswith(".weight") or bias == name + ".bias" else one.names(bias)
        if biases is not None and bias not in ours:  # a module of theirs always has one
            yield from zip(biases, one.write(tensor.new_zeros(len(tensor))), strict=True)
    for one in links:
        if one.instead is not None and one.ours not in ours:
            yield one.theirs[0], ours[one.instead].new_zeros(1, ours[one.instead].shape[1])
