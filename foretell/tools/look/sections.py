"""Sections of a recipe, the kinds they accept and the settings of each kind, read from the types of the configs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from foretell.config import Amount, Config, configs_in, installed_kinds
from foretell.recipe.names import singular
from foretell.recipe.recipe import Recipe
from foretell.trees import Tree, merge, nest, write_toml

LARGE = 2**20
"""bounds from here on are not shown: only mistakes exceed them"""


@dataclass(frozen=True)
class Section:
    """A section of the recipe, which takes settings of one or several kinds."""

    key: str
    """dotted name in the recipe"""
    members: tuple[type[Config], ...]
    many: bool
    """whether it is a list"""
    default: str | None
    """default kind"""
    within: Tree = field(default_factory=dict)
    """kinds that the enclosing sections must have"""

    @property
    def name(self) -> str:
        """The last part of the dotted name."""
        return self.key.rpartition(".")[2]

    @property
    def singular(self) -> str:
        """Name of one item if the section is a list."""
        return singular(self.name) if self.many else self.name


def sections(owner: type[Config] = Recipe, prefix: str = "", within: Tree | None = None) -> list[Section]:
    """Every section of a recipe, outer ones first, read from the types of the settings."""
    outer, inner = [], []
    for name, setting in owner.model_fields.items():
        if members := configs_in(setting.annotation):
            key = f"{prefix}{name}"
            value = setting.get_default()
            default = value.kind_name() if isinstance(value, Config) else None
            many = get_origin(setting.annotation) is tuple
            outer.append(Section(key, tuple(members), many, default, within or {}))
            for member in members:
                own = nest(f"{key}.kind", member.kind_name()) if "kind" in member.model_fields and not many else {}
                inner += sections(member, f"{key}.", merge(within or {}, own))
    return list({(section.key, section.members): section for section in [*outer, *inner]}.values())


def describe_section(section: Section) -> Tree:
    """The kinds of a section, or its settings if it has no kinds."""
    if len(section.members) == 1 and "kind" not in section.members[0].model_fields:
        return describe_kind(section, section.members[0])
    installed = installed_kinds(section.singular, section.members)
    kinds = [{"kind": member.kind_name(), "text": prose(member)} for member in section.members]
    kinds += [{"kind": name, "text": f"{prose(member)} ({member.__module__})"} for name, member in installed.items()]
    return {"what": "section", "section": section.key, "default": section.default, "kinds": kinds}


def describe_kind(section: Section, member: type[Config], kind: str = "") -> Tree:
    """A kind: its description, its settings, and TOML with all of them; `kind` names one of an installed package."""
    table = ({"kind": kind} if kind else {}) | example(member)
    return {
        "what": "kind",
        "kind": kind or member.kind_name() if kind or "kind" in member.model_fields else section.name,
        "section": section.key,
        "text": prose(member),
        "fields": [
            {
                "name": name,
                "type": type_words(setting.annotation) + limits(setting),
                "default": default_words(setting),
                "text": " ".join((setting.description or "").split()),
            }
            for name, setting in member.model_fields.items()
            if name != "kind"
        ],
        "toml": write_toml(merge(section.within, nest(section.key, [table] if section.many else table))),
    }


def example(member: type[Config]) -> Tree:
    """All settings of a kind at their defaults; required ones with an example value."""
    examples: dict[Any, Any] = {str: "...", int: 3, Amount: Amount(value=1, unit="epochs")}
    required = {
        name: examples.get(setting.annotation, "...")
        for name, setting in member.model_fields.items()
        if setting.is_required()
    }
    tree: Tree = member.model_construct(**required).model_dump(mode="json", exclude_none=True)
    return ({"kind": tree.pop("kind")} if "kind" in tree else {}) | tree


def prose(member: type[Config]) -> str:
    """A docstring as one paragraph."""
    return " ".join((member.__doc__ or "").split())


def type_words(annotation: Any) -> str:
    """A type in words."""
    if annotation is Amount:
        return 'amount ("300steps")'
    simple = {int: "whole number", float: "number", str: "text", bool: "true or false"}
    if annotation in simple:
        return simple[annotation]
    if get_origin(annotation) is Annotated and not configs_in(annotation):
        return type_words(get_args(annotation)[0]) + limits(FieldInfo.from_annotation(annotation))
    if members := configs_in(annotation):
        kinds = ", ".join(member.kind_name() for member in members if "kind" in member.model_fields)
        many = "list of " if get_origin(annotation) is tuple else ""
        return f"{many}{kinds or 'table'}"
    arguments = [part for part in get_args(annotation) if part not in (type(None), Ellipsis)]
    if get_origin(annotation) is Literal:
        return " or ".join(json.dumps(part) for part in arguments)
    if get_origin(annotation) in (Union, UnionType):
        return " or ".join(map(type_words, arguments))
    if get_origin(annotation) is tuple:
        same = Ellipsis in get_args(annotation)
        inner = type_words(arguments[0]) if same else ", ".join(map(type_words, arguments))
        return f"list of {inner}" if same else f"[{inner}]"
    return "table"


def limits(setting: FieldInfo) -> str:
    """Bounds of a number, as ` >= 3`."""
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    bounds = [
        f" {sign} {bound}"
        for item in setting.metadata
        for name, sign in signs.items()
        if (bound := getattr(item, name, None)) is not None and abs(bound) < LARGE
    ]
    return ",".join(bounds)


def default_words(setting: FieldInfo) -> str:
    """A default as in TOML; `absent` for None, `required` if there is no default."""
    if setting.is_required():
        return "required"
    value = setting.get_default(call_default_factory=True, validated_data={})
    if value is None:
        return "absent"
    if isinstance(value, Config):
        return value.kind_name() if "kind" in type(value).model_fields else "table below"
    if isinstance(value, tuple) and value and all(isinstance(part, Config) for part in value):
        return ", ".join(dict.fromkeys(part.kind_name() for part in value))
    plain = str(value) if isinstance(value, Amount) else value
    written = " ".join(write_toml({"v": plain}).partition("= ")[2].split()) if plain != {} else "{}"
    return written.replace("[ ", "[").replace(", ]", "]")
