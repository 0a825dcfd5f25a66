"""Typed settings, and how they are read from TOML.

A `Config` is keyword-only and frozen, with strict types and no unknown keys. Where a setting has several kinds (a cell,
a head, an objective), the type of the field is a union marked with `Tagged()`, and `kind` chooses the member:

    Head = Annotated[FullHeadConfig | AdaptiveHeadConfig, Tagged()]

In TOML that is a table with `kind = "full"`, or just `"full"` with all other settings at their defaults. Classes from
outside the package are named by `kind = "their_package.module:TheirConfig"`, or by the short name under which their
package is installed (see `plugins`), which stands for that path.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

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

from foretell import plugins, trust
from foretell.errors import ConfigError, did_you_mean, some_of
from foretell.trees import Tree, checked, wrong

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


class Config(BaseModel):
    """Base of all settings: frozen, strict, without unknown keys or infinite numbers."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    @classmethod
    def kind_name(cls) -> str:
        """The value of `kind` that selects this class; the path of a class from outside, which defines no `kind`.

        A subclass of a class with a `kind` is another class, so it does not inherit the name.
        """
        own = "kind" in cls.__annotations__
        return str(cls.model_fields["kind"].default) if own else f"{cls.__module__}:{cls.__qualname__}"


SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86400}
SHORT = {
    "seconds": ("s", "sec", "secs"),
    "minutes": ("m", "min", "mins"),
    "hours": ("h", "hr", "hrs"),
    "days": ("d",),
}
UNITS = {
    name: unit
    for unit in ("steps", "epochs", "tokens", *SECONDS)
    for name in (unit, unit.removesuffix("s"), *SHORT.get(unit, ()))
}
NUMBER = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"


class Amount(BaseModel):
    """An amount of training: `"300steps"`, `"2epochs"`, `"5e6tokens"`, or time as `"90s"`, `"10m"`, `"1h30m"`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    value: float = Field(gt=0, le=1e24)
    unit: Literal["steps", "epochs", "tokens", "seconds"]

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, given: Any) -> Any:
        if isinstance(given, int | float) and given > 0:
            raise ValueError(f'{given!r} is not an amount; write "{given}steps", "{given}epochs" or "{given}m"')
        if isinstance(given, int | float):
            raise ValueError(f'must be above 0, not {given!r}; write "300steps", "2epochs", "5e6tokens" or "10m"')
        if not isinstance(given, str):
            return given
        parts = re.findall(rf"({NUMBER})\s*([a-z]+)", given)
        whole = re.fullmatch(rf"(?:\s*{NUMBER}\s*[a-z]+)+\s*", given)
        units = [UNITS.get(name, "") for _, name in parts]
        together = len(set(units)) == len(units) and (len(units) == 1 or SECONDS.keys() >= set(units))
        if not whole or "" in units or not together or any(float(number) > 1e20 for number, _ in parts):
            raise ValueError(f'{given!r} is not an amount; write "300steps", "2epochs", "5e6tokens", "10m" or "1h30m"')
        value = sum(float(number) * SECONDS.get(unit, 1) for (number, _), unit in zip(parts, units, strict=True))
        if value == 0:
            raise ValueError(f"must be above 0, not {given!r}")
        return {"value": value, "unit": "seconds" if units[0] in SECONDS else units[0]}

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
            if kind not in choices and (path := plugins.path_of(kind)) and not isinstance(value, Config):
                return {**value, "kind": path}
            if kind not in choices and ":" not in kind:
                known = [*choices]
                text = unknown_kind("", kind, known)
                raise PydanticCustomError("unknown_kind", "{text}", {"text": text, "kind": kind, "known": known})
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
    cls = outside_class(path, members)
    settings = {key: item for key, item in value.items() if key != "kind"}
    try:
        return validate(cls, settings, path)
    except ConfigError as problem:
        raise refused(str(problem)) from None


def outside_class(path: str, members: Mapping[str, type[Config]]) -> type[Config]:
    """The class at `package.module:Class`, if it is trusted and fits a union with these members."""
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
    return cls


def installed_kinds(section: str, members: Sequence[type[Config]]) -> dict[str, type[Config]]:
    """The kinds of installed packages for a section with these members, by their short names. Imports them."""
    named = {member.kind_name(): member for member in members}
    found = {}
    for name, point in plugins.installed(plugins.KINDS).items():
        if name == f"{section}.{plugins.short(name)}":
            with contextlib.suppress(PydanticCustomError):  # reported where a recipe names it
                found[plugins.short(name)] = outside_class(point.value, named)
    return found


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


# --- error messages -------------------------------------------------------------------------------


def validate(cls: type[C], tree: Mapping[str, Any], where: Path | str) -> C:
    """A config from a tree; a `ConfigError` of one line has file, key, problem and the closest valid name."""
    try:
        return cls.model_validate(freeze(checked(dict(tree), where)))
    except ValidationError as problem:
        raise wrong(where, explain(cls, problem)) from None


def freeze(tree: Any) -> Any:
    """The tree with lists as tuples, which configs require."""
    if isinstance(tree, Mapping):
        return {key: freeze(value) for key, value in tree.items()}
    return tuple(freeze(item) for item in tree) if isinstance(tree, list | tuple) else tree


def explain(cls: type[Config], problem: ValidationError) -> str:
    """The first three errors in one line, and the number of others."""
    errors = relevant(problem.errors(include_url=False))
    messages = list(dict.fromkeys(explain_one(cls, error) for error in errors))
    more = f" (and {len(messages) - 3} more)" if len(messages) > 3 else ""
    return "; also ".join(messages[:3]) + more


def relevant(errors: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """The errors without those of union members that a value was not meant for: -1 is not a list of sizes either."""

    def is_off(error: ErrorDetails) -> bool:
        is_list, wants_list = isinstance(error["input"], tuple), error["type"] == "tuple_type"
        others = [e for e in errors if e is not error and e["loc"][: len(error["loc"]) - 1] == error["loc"][:-1]]
        return bool(others) and (wants_list or (is_list and error["type"].endswith("_type")))

    return [error for error in errors if not is_off(error)] or list(errors)


def explain_one(cls: type[Config], error: ErrorDetails) -> str:
    """One error: its key, the fault, and what to write."""
    key, owner = locate(cls, error["loc"])
    if error["type"] == "extra_forbidden":
        return unknown_setting(key, list(owner.model_fields) if owner else [])
    if error["type"] == "unknown_kind":
        return unknown_kind(key, error["ctx"]["kind"], error["ctx"]["known"])
    if error["type"] == "missing":
        return f"{key}: has to be given"
    text = fault(error)
    return f"{key}: {text}" if key else text  # errors of a whole section name their keys


def unknown_setting(key: str, known: Sequence[str]) -> str:
    """The error for a setting that does not exist."""
    name = key.rpartition(".")[2]
    return f"{key}: no such setting{did_you_mean(name, known) or some_of(known, shown_by(key.rpartition('.')[0]))}"


def unknown_kind(key: str, kind: str, known: Sequence[str]) -> str:
    """The error for a kind that does not exist."""
    text = f"unknown kind {kind!r}{did_you_mean(kind, known)}{some_of(known, shown_by(key))}"
    return f"{key}: {text}" if key else text


def shown_by(section: str) -> str:
    """The command that shows a section of a recipe."""
    names = [part for part in section.split(".") if part and not part.isdecimal()]
    return f"foretell show {names[-1] if names else 'schema'}"


def fault(error: ErrorDetails) -> str:
    """The fault of a value in words, and for a misspelled word the nearest one."""
    if error["type"] in ("model_type", "dict_type", "model_attributes_type"):
        return f"should be a table, not {error['input']!r:.80}"
    message = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if error["type"] in ("refused", "value_error"):
        return message
    expected = "should be " if message != error["msg"] else ""
    value = error["input"]
    given = f", not {value!r:.80}" if isinstance(value, str | int | float | bool) else ""
    near = did_you_mean(str(value), re.findall("'([^']*)'", message)) if error["type"] == "literal_error" else ""
    return f"{expected}{message}{given}{near}"


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
