"""Settings as nested tables: reading and writing TOML, merging, and overriding by dotted names."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tomli_w

from foretell.errors import CONTROL, ConfigError

Tree = dict[str, Any]
LEVELS = 32
"""most levels of nested tables in a recipe"""
TOO_DEEP = f"tables and lists within each other, more than {LEVELS} deep"
LARGEST_FILE = 1 << 20
"""most bytes of a recipe"""


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


def table_or_text(text: str) -> Any:
    """The table that `{train = …}` is, or else the text itself."""
    return parse_override(f"value={text}")["value"] if text.startswith("{") else text


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


def split_overrides(text: str) -> list[str]:
    """The overrides in a text, between blanks that are outside of quotes and brackets."""
    found, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        else:
            depth += (character in "[{") - (character in "]}")
        if character.isspace() and not quote and depth <= 0:
            found.append("")
        else:
            found[-1] += character
    return [part for part in found if part]


@contextmanager
def blaming(overrides: Sequence[str] | Mapping[str, Any]) -> Iterator[None]:
    """Leave the file of a recipe out of an error whose setting was overridden."""
    try:
        yield
    except ConfigError as problem:
        key = f"{problem.what.partition(':')[0]}."
        given = [text.partition("=")[0].strip() for text in overrides]
        if problem.file is None or not any(key.startswith(f"{name}.") for name in given):
            raise
        raise ConfigError(problem.what, remedy=problem.remedy, details=problem.details) from None


def wrong(where: Path | str, what: str, line: int | None = None) -> ConfigError:
    """An error in a file, or in a place that `where` describes."""
    return ConfigError(what, file=where, line=line) if isinstance(where, Path) else ConfigError(f"{where}: {what}")
