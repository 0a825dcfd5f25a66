"""Typed settings, and how they are read from TOML.

A `Config` is keyword-only and frozen, with strict types and no unknown keys. Where a setting has several kinds (a cell,
a head, an objective), the type of the field is a union marked with `Tagged()`, and `kind` chooses the member:

    Head = Annotated[FullHeadConfig | AdaptiveHeadConfig, Tagged()]

In TOML that is a table with `kind = "full"`, or just `"full"` with all other settings at their defaults. Classes from
outside the package are named by `kind = "their_package.module:TheirConfig"`.
"""

from __future__ import annotations

import importlib
import inspect
import re
import tomllib
from collections.abc import Mapping, Sequence
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
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError, core_schema

from foretell import trust
from foretell.errors import CONTROL, ConfigError, did_you_mean

Tree = dict[str, Any]
C = TypeVar("C", bound="Config")

# Every number has a range, so that no setting overflows or runs forever. All floats are finite.
Rate = Annotated[float, Field(ge=0, lt=1)]
"""a dropout probability, below 1"""
Share = Annotated[float, Field(ge=0, le=1)]
"""a fraction of a whole"""
Positive = Annotated[float, Field(gt=0, le=1e12)]
"""a factor above 0"""
NonNegative = Annotated[float, Field(ge=0, le=1e12)]
"""a factor of 0 or more"""
Real = Annotated[float, Field(ge=-1e12, le=1e12)]
"""a number of either sign"""
Size = Annotated[int, Field(gt=0, lt=2**31)]
"""a number of at least 1"""
Count = Annotated[int, Field(ge=0, lt=2**31)]
"""a number of at least 0"""
Width = Annotated[int, Field(gt=0, le=2**20)]
"""the length of a vector; products of two do not overflow"""
Depth = Annotated[int, Field(gt=0, le=1024)]
"""a number of layers"""
Words = Annotated[int, Field(ge=3, le=2**24)]
"""the size of a vocabulary"""
Seed = Annotated[int, Field(ge=0, lt=2**63)]
"""a random seed"""

LEVELS = 32
"""most levels of nested tables in a recipe"""
TOO_DEEP = f"tables and lists within each other, more than {LEVELS} deep"
LARGEST_FILE = 1 << 20
"""most bytes of a recipe"""


class Config(BaseModel):
    """Base of all settings: frozen, strict, without unknown keys or infinite numbers."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    @classmethod
    def kind_name(cls) -> str:
        """The value of `kind` that selects this class; the dotted path for a class from outside the package."""
        field = cls.model_fields.get("kind")
        return str(field.default) if field else f"{cls.__module__}:{cls.__qualname__}"


UNITS = {"steps": "steps", "epochs": "epochs", "tokens": "tokens", "s": "seconds", "m": "minutes", "h": "hours"}
_SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600}


class Amount(BaseModel):
    """An amount of training: `"300steps"`, `"2epochs"`, `"5e6tokens"`, or time as `"90s"`, `"10m"`, `"2h"`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    value: float = Field(gt=0, le=1e24)
    unit: Literal["steps", "epochs", "tokens", "seconds"]

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, given: Any) -> Any:
        if isinstance(given, int | float):
            raise ValueError(f'{given!r} is not an amount; write "{given}steps", "{given}epochs" or "{given}m"')
        if not isinstance(given, str):
            return given
        match = re.fullmatch(r"\s*((?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*([a-z]+)\s*", given)
        names = {unit: unit for unit in UNITS.values()} | UNITS | {u[:-1]: u for u in UNITS.values()}
        if not match or match[2] not in names or not 0 < float(match[1]) <= 1e20:
            raise ValueError(f'{given!r} is not an amount; write "300steps", "2epochs", "5e6tokens" or "10m"')
        unit = names[match[2]]
        return {"value": float(match[1]) * _SECONDS.get(unit, 1), "unit": "seconds" if unit in _SECONDS else unit}

    @model_serializer
    def _write(self) -> str:
        return str(self)

    def __str__(self) -> str:
        # exact: recipes are stored as text
        number = f"{self.value:.0f}" if self.value.is_integer() and self.value < 1e16 else repr(self.value)
        return f"{number}{'s' if self.unit == 'seconds' else self.unit}"


class Tagged:
    """Marks a union of `Config` classes whose member is chosen by `kind`; the first is the default."""

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
            if not isinstance(value, Mapping | Config):
                raise refused(f'should be a kind such as "{default}", or a table with it, not {value!r:.40}')
            kind = kind_of(value)
            if kind not in choices and ":" not in kind:
                raise refused(f"unknown kind {kind!r}{did_you_mean(kind, choices)} (known: {', '.join(choices)})")
            return value

        def discriminate(value: Any) -> str:
            return kind if (kind := kind_of(value)) in choices else "outside"

        outside = core_schema.no_info_plain_validator_function(
            lambda value: load_outside(value, members),
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
    """The classes of a union type, or the class itself."""
    if get_origin(source) in (Union, UnionType):
        return [m for m in get_args(source) if m is not type(None)]
    return [source]


def refused(hint: str) -> PydanticCustomError:
    """A validation error with our own message."""
    return PydanticCustomError("refused", "{hint}", {"hint": hint})


def load_outside(value: Any, members: Mapping[str, type[Config]]) -> Config:
    """A config of a class named by its path, `{"kind": "package.module:Class", ...}`, in a union with these members."""
    if isinstance(value, Config):
        return value
    path = str(value["kind"])
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*", path):
        raise refused(f'{path!r} is not a class; write it as "package.module:Class"')
    module, _, name = path.partition(":")
    if "__main__" in module.split("."):
        raise refused(f"{path!r} would run a program; name a module that only defines classes")
    if not trust.is_trusted():
        hint = f"would import {path!r}, and this recipe came with a run that was not made here; "
        raise refused(hint + "if you trust who made it, add --trust")
    try:
        cls: Any = importlib.import_module(module)
        for part in name.split("."):
            cls = getattr(cls, part)
    except (Exception, SystemExit) as problem:  # the module may do anything
        kind = "" if isinstance(problem, ImportError | AttributeError) else f"{type(problem).__name__}: "
        raise refused(f"cannot load {path!r}: {kind}{problem}") from None
    if not (isinstance(cls, type) and issubclass(cls, Config)):
        raise refused(f"{path!r} is not a foretell.config.Config")
    if fault := misfit(cls, list(members.values())):
        raise refused(f"{path!r} {fault}")
    settings = {key: item for key, item in value.items() if key != "kind"}
    try:
        return validate(cls, settings, path)
    except ConfigError as problem:
        raise refused(str(problem)) from None


ENTRIES = ("build", "arrange", "train", "read", "choose", "pool", "fit", "prepare")
"""methods by which a config becomes what it describes; a config has one of them"""


def misfit(cls: type[Config], members: Sequence[type[Config]]) -> str:
    """Reason a class cannot be in a union with these members, or ""."""
    if cls in members:
        return ""
    known = ", ".join(member.kind_name() for member in members)
    family = f"is of another family; name a class that is built as these are: {known}"
    if cls.__module__.partition(".")[0] == __name__.partition(".")[0]:  # all of ours are members of their union
        return family
    base = common_base(members)
    if base is not None and not issubclass(cls, base):
        return f"is not a {base.__module__}.{base.__qualname__}, the base class of {known}; derive it from that class"
    return "" if any(is_called_like(cls, member) for member in members) else family


def common_base(members: Sequence[type[Config]]) -> type[Config] | None:
    """The most specific class below `Config` that all members derive from; None if there is none."""
    return next(
        (
            base
            for base in members[0].__mro__
            if base is not Config
            and issubclass(base, Config)
            and base not in members
            and all(issubclass(member, base) for member in members)
        ),
        None,
    )


def is_called_like(cls: type[Config], member: type[Config]) -> bool:
    """Whether a class has the same entry method as a member, and takes the same arguments."""
    entry = next((name for name in ENTRIES if callable(getattr(member, name, None))), None)
    return entry is None or (callable(getattr(cls, entry, None)) and takes_like(cls, member, entry))


def takes_like(cls: type[Config], member: type[Config], entry: str) -> bool:
    """Whether a method can be called with the required arguments of the member's."""
    given = [p for p in inspect.signature(getattr(member, entry)).parameters.values() if p.default is p.empty]
    by_name = {p.name: None for p in given if p.kind is p.KEYWORD_ONLY}
    try:
        inspect.signature(getattr(cls, entry)).bind(*[None] * (len(given) - len(by_name)), **by_name)
    except (TypeError, ValueError):
        return False
    return True


def dump_outside(value: Config) -> Tree:
    """The table that `load_outside` reads back."""
    return value.model_dump(mode="json", exclude_none=True) | {
        "kind": f"{type(value).__module__}:{type(value).__qualname__}"
    }


# --- trees: reading, merging, overriding ----------------------------------------------------------


def read_toml(path: Path) -> Tree:
    """Read a TOML file; a `ConfigError` names the file and line of a mistake."""
    if path.stat().st_size > LARGEST_FILE:
        raise ConfigError(f"has {path.stat().st_size:,} bytes, and a recipe has a few thousand", file=path)
    try:
        return parse_toml(path.read_text(encoding="utf-8-sig"), path)
    except UnicodeDecodeError:
        raise ConfigError("not UTF-8 text, so not a TOML file", file=path) from None


def parse_toml(text: str, where: Path | str) -> Tree:
    """Parse TOML."""
    try:
        tree = tomllib.loads(text)
    except RecursionError:
        raise wrong(where, TOO_DEEP) from None
    except ValueError as problem:  # TOMLDecodeError, or a number with thousands of digits
        position = re.search(r" \(at line (\d+), column \d+\)", str(problem))
        raise wrong(where, f"not valid TOML: {problem}", int(position[1]) if position else None) from None
    return checked(tree, where)


def checked(tree: Tree, where: Path | str) -> Tree:
    """The tree; a `ConfigError` if it is too deep or has control characters."""
    level: list[tuple[str, Any]] = [("", tree)]
    for _ in range(LEVELS):
        inner: list[tuple[str, Any]] = []
        for key, value in level:
            if isinstance(value, Mapping):
                inner += [(f"{key}.{name}".lstrip("."), item) for name, item in value.items()]
            elif isinstance(value, list | tuple):
                inner += [(key, item) for item in value]
            if isinstance(value, str) and (found := CONTROL.search(value.replace("\n", "").replace("\t", ""))):
                raise wrong(where, f"{key}: holds the control character {found[0]!r}; leave it out")
            if found := CONTROL.search(key):
                raise wrong(where, f"{key!r} holds the control character {found[0]!r}; leave it out")
        if not (level := inner):
            return tree
    raise wrong(where, TOO_DEEP)


def write_toml(tree: Tree) -> str:
    """The tree as TOML, with multi-line strings."""
    return tomli_w.dumps(tree, multiline_strings=True)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> Tree:
    """Merge `over` into `base`, table by table; a table with another `kind` replaces the old one."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(value, Mapping) and isinstance(old, str) and "kind" not in value:
            old = {"kind": old}  # short for a table with that kind
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            changed = "kind" in value and value["kind"] != old.get("kind", value["kind"])
            merged[key] = dict(value) if changed else merge(old, value)
        elif isinstance(value, str) and isinstance(old, Mapping) and old.get("kind") == value:
            continue
        else:
            merged[key] = value
    return merged


def parse_override(text: str) -> Tree:
    """`model.layers=3` as a tree; anything but a TOML value is a string."""
    key, equals, raw = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"{text!r} is not an override; write it as name.of.setting=value")
    if key.count(".") >= LEVELS:
        raise ConfigError(f"{text[:60]!r} ...: names have at most {LEVELS} parts")
    try:
        value = tomllib.loads(f"value = {raw}")["value"]
    except RecursionError:
        raise ConfigError(f"{text[:60]!r} ...: {TOO_DEEP}") from None
    except ValueError:
        value = raw
    return checked(nest(key.strip(), value), "settings")


def nest(dotted: str, value: Any) -> Tree:
    """`{"a": {"b": value}}` for `a.b`."""
    for part in reversed(dotted.split(".")):
        value = {part: value}
    return dict(value)


def override(tree: Mapping[str, Any], overrides: Sequence[str] | Mapping[str, Any]) -> Tree:
    """Apply dotted overrides: strings `a.b=1`, or a mapping `{"a.b": 1}`."""
    if isinstance(overrides, Mapping):
        layers = [nest(key, value) for key, value in overrides.items()]
    else:
        layers = [parse_override(text) for text in overrides]
    result = dict(tree)
    together: Tree = {}
    for layer in layers:  # merged first: `head.kind=x head.y=1` is one change
        together = merge(together, layer)
    return merge(result, together)


# --- error messages ------------ -------------------------------------------------------------------


def validate(cls: type[C], tree: Mapping[str, Any], where: Path | str) -> C:
    """A config from a tree; a `ConfigError` of one line has file, key, problem and the closest valid name."""
    try:
        return cls.model_validate(freeze(checked(dict(tree), where)))
    except ValidationError as problem:
        raise wrong(where, explain(cls, problem)) from None


def wrong(where: Path | str, what: str, line: int | None = None) -> ConfigError:
    """An error in a file, or in a place that `where` describes."""
    return ConfigError(what, file=where, line=line) if isinstance(where, Path) else ConfigError(f"{where}: {what}")


def freeze(tree: Any) -> Any:
    """The tree with lists as tuples, which configs require."""
    if isinstance(tree, Mapping):
        return {key: freeze(value) for key, value in tree.items()}
    return tuple(freeze(item) for item in tree) if isinstance(tree, list | tuple) else tree


def explain(cls: type[Config], problem: ValidationError) -> str:
    """The first three errors in one line, and the number of others."""
    errors = problem.errors(include_url=False)
    messages = list(dict.fromkeys(explain_one(cls, error) for error in errors))
    more = f" (and {len(messages) - 3} more)" if len(messages) > 3 else ""
    return "; also ".join(messages[:3]) + more


def explain_one(cls: type[Config], error: ErrorDetails) -> str:
    """One error: its key, the fault, and what to write."""
    key, owner = locate(cls, error["loc"])
    name = key.rpartition(".")[2]
    if error["type"] == "extra_forbidden":
        fields = list(owner.model_fields) if owner else []
        hint = did_you_mean(name, fields) or f" (known: {', '.join(fields)})"
        return f"{key}: no such setting{hint}"
    if error["type"] == "missing":
        return f"{key}: has to be given"
    if error["type"] in ("model_type", "dict_type", "model_attributes_type"):
        return f"{key}: should be a table, not {error['input']!r:.80}"
    message = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    expected = "should be " if message != error["msg"] else ""
    shown = error["input"]
    given = f", not {shown!r:.80}" if isinstance(shown, str | int | float | bool) else ""
    plain = error["type"] in ("refused", "value_error")
    text = message if plain else f"{expected}{message}{given}"
    return f"{key}: {text}" if key else text  # errors of a whole section name their keys


def locate(cls: type[Config], loc: tuple[int | str, ...]) -> tuple[str, type[Config] | None]:
    """The dotted key of an error, without tags of unions, and the class that owns it."""
    owner: type[Config] | None = cls
    members: dict[str, type[Config]] = {}
    parts: list[str] = []
    plain_union = False  # whether the next part names a type of an untagged union
    for part in loc:
        if plain_union and isinstance(part, str):
            plain_union = False
            continue
        if members and (part in members or part == "outside"):  # the tag of a union, not a key
            owner, members = members.get(str(part)), {}
            continue
        parts.append(str(part))
        if isinstance(part, int):  # an item of a list keeps the members of the list
            continue
        field = owner.model_fields.get(part) if owner else None
        configs = configs_in(field.annotation) if field else []
        plain_union = field is not None and not configs and len(union_members(field.annotation)) > 1
        members = {member.kind_name(): member for member in configs}
        if field and len(configs) == 1:
            owner, members = configs[0], {configs[0].kind_name(): configs[0]}
    return ".".join(parts), owner


def configs_in(annotation: Any) -> list[type[Config]]:
    """The `Config` classes in a type: itself, members of a union, items of a list."""
    if isinstance(annotation, type) and issubclass(annotation, Config):
        return [annotation]
    return [config for inner in get_args(annotation) for config in configs_in(inner)]
