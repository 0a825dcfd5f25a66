"""TOML on one side, frozen typed configs on the other.

A config is a `Config`: keyword-only, frozen, no unknown keys, strict types. Where several kinds fit one place (a
cell, a head, an objective) the field's type is a plain union marked with `Tagged()`; the member is chosen by its
`kind`:

    Head = Annotated[FullHeadConfig | AdaptiveHeadConfig, Tagged()]

In TOML that is a table with `kind = "full"`, or the bare word `"full"` where all else stays default. Classes from
outside the package plug in as `kind = "their_package.module:TheirConfig"`.
"""

from __future__ import annotations

import difflib
import importlib
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import tomli_w
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from foretell import trust
from foretell.errors import ConfigError

Tree = dict[str, Any]
Rate = Annotated[float, Field(ge=0, lt=1)]
"""a probability of dropping something: dropping all of it is no setting"""
Share = Annotated[float, Field(ge=0, le=1)]
"""a part of the whole"""
Size = Annotated[int, Field(gt=0)]
"""how many of something there has to be at least one of"""
C = TypeVar("C", bound="Config")


class Config(BaseModel):
    """Base of all settings: immutable, strict, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    @classmethod
    def kind_name(cls) -> str:
        """The value of `kind` that selects this class; outside classes go by their dotted path."""
        field = cls.model_fields.get("kind")
        return str(field.default) if field else f"{cls.__module__}:{cls.__qualname__}"


UNITS = {"steps": "steps", "epochs": "epochs", "tokens": "tokens", "s": "seconds", "m": "minutes", "h": "hours"}
_SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600}


class Amount(BaseModel):
    """How much training: `"300steps"`, `"2epochs"`, `"5e6tokens"`, or time as `"90s"`, `"10m"`, `"2h"`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float
    unit: Literal["steps", "epochs", "tokens", "seconds"]

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        match = re.fullmatch(r"\s*((?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*([a-z]+)\s*", given)
        names = {unit: unit for unit in UNITS.values()} | UNITS | {u[:-1]: u for u in UNITS.values()}
        if not match or match[2] not in names or float(match[1]) <= 0:
            raise ValueError(f'{given!r} is not an amount; write "300steps", "2epochs", "5e6tokens" or "10m"')
        unit = names[match[2]]
        return {"value": float(match[1]) * _SECONDS.get(unit, 1), "unit": "seconds" if unit in _SECONDS else unit}

    @model_serializer
    def _write(self) -> str:
        return str(self)

    def __str__(self) -> str:
        # to the last digit: a recipe is stored as text, and stages are made from it
        number = f"{self.value:.0f}" if self.value.is_integer() and self.value < 1e16 else repr(self.value)
        return f"{number}{'s' if self.unit == 'seconds' else self.unit}"


class Tagged:
    """Marks a union of `Config` classes as chosen by `kind`; the first member is the default."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        members = {member.kind_name(): member for member in union_members(source)}
        choices = {kind: handler.generate_schema(member) for kind, member in members.items()}
        default = next(iter(members))

        def kind_of(value: Any) -> str:
            if isinstance(value, Config):
                return type(value).kind_name()
            return str(value.get("kind", default)) if isinstance(value, Mapping) else default

        def expand(value: Any) -> Any:
            value = {"kind": value} if isinstance(value, str) else value
            kind = kind_of(value)
            if kind not in choices and ":" not in kind:
                hint = f"unknown kind {kind!r}{did_you_mean(kind, choices)} (known: {', '.join(choices)})"
                raise PydanticCustomError("unknown_kind", "{hint}", {"hint": hint})
            return value

        def discriminate(value: Any) -> str:
            return kind if (kind := kind_of(value)) in choices else "outside"

        outside = core_schema.no_info_plain_validator_function(
            load_outside,
            serialization=core_schema.plain_serializer_function_ser_schema(dump_outside),
            metadata={
                "pydantic_js_functions": [
                    lambda *_: {
                        "type": "object",
                        "properties": {"kind": {"type": "string", "pattern": ".+:.+"}},
                    }
                ]
            },
        )
        union = core_schema.tagged_union_schema(choices | {"outside": outside}, discriminate)
        return core_schema.no_info_before_validator_function(expand, union)


def union_members(source: Any) -> list[type[Config]]:
    """The classes of a union type, or the one class itself."""
    if get_origin(source) in (Union, UnionType):
        return [m for m in get_args(source) if m is not type(None)]
    return [source]


def load_outside(value: Any) -> Config:
    """A config of a class named by dotted path: `{"kind": "package.module:Class", ...}`."""
    if isinstance(value, Config):
        return value
    path = str(value["kind"])
    module, _, name = path.partition(":")
    if not trust.is_trusted():
        hint = f"would import {path!r}, and this recipe came with a run that was not made here; "
        hint += "if you trust who made it, add --trust"
        raise PydanticCustomError("outside", "{hint}", {"hint": hint})
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as problem:
        raise PydanticCustomError("outside", "{hint}", {"hint": f"cannot load {path!r}: {problem}"}) from None
    if not (isinstance(found, type) and issubclass(found, Config)):
        raise PydanticCustomError("outside", "{hint}", {"hint": f"{path!r} is not a foretell.config.Config"})
    settings = {key: item for key, item in value.items() if key != "kind"}
    try:
        return validate(found, settings, path)
    except ConfigError as problem:
        raise PydanticCustomError("outside", "{hint}", {"hint": str(problem)}) from None


def dump_outside(value: Config) -> Tree:
    """The table that `load_outside` reads back."""
    return value.model_dump(mode="json", exclude_none=True) | {
        "kind": f"{type(value).__module__}:{type(value).__qualname__}"
    }


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or nothing when no known word is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.55)
    return f"; did you mean {near[0]!r}?" if near else ""


# --- trees: reading, merging, overriding ----------------------------------------------------------


def read_toml(path: Path) -> Tree:
    """The tables of a TOML file; a `ConfigError` names the file and line of a mistake."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as problem:
        raise ConfigError(f"{path}: not valid TOML: {problem}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8 text, so not a TOML file") from None


def write_toml(tree: Tree) -> str:
    """The tree as TOML text, long strings on several lines."""
    return tomli_w.dumps(tree, multiline_strings=True)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> Tree:
    """`over` laid on `base`, table by table; a table whose `kind` changes starts afresh."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(value, Mapping) and isinstance(old, str) and "kind" not in value:
            old = {"kind": old}  # a bare word is short for a table with that kind
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            changed = "kind" in value and value["kind"] != old.get("kind", value["kind"])
            merged[key] = dict(value) if changed else merge(old, value)
        elif isinstance(value, str) and isinstance(old, Mapping) and old.get("kind") == value:
            continue
        else:
            merged[key] = value
    return merged


def parse_override(text: str) -> Tree:
    """`model.layers=3` as a tree; what is not a TOML value is taken as a string."""
    key, equals, raw = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"{text!r} is not an override; write it as name.of.setting=value")
    try:
        value = tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        value = raw
    return nest(key.strip(), value)


def nest(dotted: str, value: Any) -> Tree:
    """`{"a": {"b": value}}` for `a.b`."""
    for part in reversed(dotted.split(".")):
        value = {part: value}
    return dict(value)


def override(tree: Mapping[str, Any], overrides: Sequence[str] | Mapping[str, Any]) -> Tree:
    """The tree with dotted overrides applied: strings `a.b=1`, or a mapping `{"a.b": 1}`."""
    if isinstance(overrides, Mapping):
        layers = [nest(key, value) for key, value in overrides.items()]
    else:
        layers = [parse_override(text) for text in overrides]
    result = dict(tree)
    together: Tree = {}
    for layer in layers:  # first joined, so that `head.kind=x head.y=1` is one change of the section
        together = merge(together, layer)
    return merge(result, together)


# --- errors a person can act on -------------------------------------------------------------------


def validate(cls: type[C], tree: Mapping[str, Any], where: str) -> C:
    """A config from a tree, or a `ConfigError` of one line: file, key, problem, nearest right name."""
    try:
        return cls.model_validate(freeze(tree))
    except ValidationError as problem:
        raise ConfigError(explain(cls, problem, where)) from None


def freeze(tree: Any) -> Any:
    """The tree with lists as tuples: configs are immutable, and strict about it."""
    if isinstance(tree, Mapping):
        return {key: freeze(value) for key, value in tree.items()}
    return tuple(freeze(item) for item in tree) if isinstance(tree, list | tuple) else tree


def explain(cls: type[Config], problem: ValidationError, where: str) -> str:
    """The first mistake of a `ValidationError` in one line, and how many more there are."""
    errors = problem.errors()
    first = errors[0]
    key, owner = locate(cls, first["loc"])
    name = key.rpartition(".")[2]
    if first["type"] == "extra_forbidden":
        fields = list(owner.model_fields) if owner else []
        hint = did_you_mean(name, fields) or f" (known: {', '.join(fields)})"
        text = f"{key}: no such setting{hint}"
    elif first["type"] == "missing":
        text = f"{key}: has to be given"
    else:
        message = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        expected = "should be " if message != first["msg"] else ""
        shown = first["input"]
        given = f", not {shown!r}" if isinstance(shown, str | int | float | bool) else ""
        plain = first["type"] in ("unknown_kind", "outside", "value_error")
        text = message if plain else f"{expected}{message}{given}"
        text = f"{key}: {text}" if key else text  # what is wrong with all of it names its keys itself
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{where}: {text}{more}"


def locate(cls: type[Config], loc: tuple[int | str, ...]) -> tuple[str, type[Config] | None]:
    """The dotted key of an error's place, without the tags of unions, and the class that owns it."""
    owner: type[Config] | None = cls
    members: dict[str, type[Config]] = {}
    parts: list[str] = []
    untold = False  # whether the next part tells which type of a plain union was tried
    for part in loc:
        if untold and isinstance(part, str):
            untold = False
            continue
        if members and (part in members or part == "outside"):  # the tag of a union, not a key
            owner, members = members.get(str(part)), {}
            continue
        parts.append(str(part))
        if isinstance(part, int):  # an item of a list: the members stay those of the list
            continue
        field = owner.model_fields.get(part) if owner else None
        found = configs_in(field.annotation) if field else []
        untold = field is not None and not found and len(union_members(field.annotation)) > 1
        members = {member.kind_name(): member for member in found}
        if field and len(found) == 1:
            owner, members = found[0], {found[0].kind_name(): found[0]}
    return ".".join(parts), owner


def configs_in(annotation: Any) -> list[type[Config]]:
    """The `Config` classes that occur in a type: itself, members of a union, items of a list."""
    if isinstance(annotation, type) and issubclass(annotation, Config):
        return [annotation]
    return [found for inner in get_args(annotation) for found in configs_in(inner)]
