"""JSON that others wrote, read strictly: whatever is wrong with it is one `ConfigError` with its file and line.

Python's own parser takes more than JSON has (NaN, a key twice, half a surrogate pair) and fails on some of what it has
(deep nesting, long integers) with errors of its own. `read_json` and `parse_json` do neither, and `JsonObject` hands
out the values of an object with the type and the range that they must have.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from foretell.errors import ConfigError

DEEPEST = 100
"""levels of lists and objects inside each other"""
LARGEST = 64 << 20
"""bytes of a file; parsed, JSON can take twenty times as much memory"""
ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def read_json(path: Path, largest: int = LARGEST) -> Any:
    """The value in a JSON file of at most `largest` bytes."""
    try:
        if path.exists() and not path.is_file():
            raise ConfigError("cannot be read: not a regular file", file=path)
        with path.open("rb") as file:
            content = file.read(largest + 1)
    except OSError as problem:
        raise ConfigError(f"cannot be read: {problem.strerror or problem}", file=path) from None
    if len(content) > largest:
        raise ConfigError(f"larger than {largest:,} bytes, too large for such a file", file=path)
    return parse_json(content, path)


def read_object(path: Path, largest: int = LARGEST) -> JsonObject:
    """The object in a JSON file of at most `largest` bytes."""
    return JsonObject(read_json(path, largest), path)


def parse_json(text: str | bytes, file: Path | str, line: int | None = None, *, lenient: bool = False) -> Any:
    """The value of a JSON text; `line`: where it is in its file, if it is one of many there.

    `lenient` lets NaN, infinities and lone surrogates through, for readers that check each field they use.
    """
    try:
        text = decoded(text) if isinstance(text, bytes) else text.removeprefix("\ufeff")
        value = json.loads(text, object_pairs_hook=unique, parse_constant=None if lenient else no_number)
        if text.count("{") + text.count("[") > DEEPEST and depth(value) > DEEPEST:
            raise Invalid(f"nested more than {DEEPEST} levels deep")
        if not lenient and (ESCAPED_SURROGATE.search(text) or not text.isascii()):
            check_surrogates(value)
    except json.JSONDecodeError as problem:
        where = f"(column {problem.colno})"
        raise ConfigError(f"not valid JSON: {problem.msg} {where}", file=file, line=line or problem.lineno) from None
    except Invalid as problem:
        raise ConfigError(str(problem), file=file, line=line or problem.line, remedy=problem.remedy) from None
    except RecursionError:
        raise ConfigError(f"nested more than {DEEPEST} levels deep", file=file, line=line) from None
    except ValueError:  # of int(), which takes 4,300 digits
        raise ConfigError("an integer has thousands of digits", file=file, line=line) from None
    return value


class Invalid(Exception):
    """The error of a JSON text, with its line if known."""

    def __init__(self, what: str, line: int | None = None, remedy: str | None = None) -> None:
        super().__init__(what)
        self.line, self.remedy = line, remedy


def decoded(content: bytes) -> str:
    """The text of a file, which has to be UTF-8; a byte-order mark is dropped."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Invalid("is UTF-16", remedy="convert it to UTF-8 (iconv -f UTF-16 -t UTF-8)")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = content.count(b"\n", 0, problem.start) + 1
        raise Invalid(f"not UTF-8 (byte 0x{content[problem.start]:02x})", line, "convert it to UTF-8") from None


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, which may have each key only once."""
    found = dict(pairs)
    if len(found) < len(pairs):
        key = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise Invalid(f"an object has the key {shown(key)} twice")
    return found


def no_number(name: str) -> NoReturn:
    """Refuse NaN and infinities."""
    raise Invalid(f"{name} is not a JSON number")


def depth(value: Any) -> int:
    """How many lists and objects are inside each other, counted to just above `DEEPEST`."""
    level, found = [value], 0
    while found <= DEEPEST:
        level = [item for item in level if isinstance(item, dict | list)]
        if not level:
            break
        found += 1
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
    return found


def check_surrogates(value: Any) -> None:
    """Refuse texts that hold half a surrogate pair."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += [*item, *item.values()]
        elif isinstance(item, list):
            waiting += item
        elif isinstance(item, str) and (found := surrogate_in(item)):
            raise Invalid(f"the text {shown(item)} holds {found!a}, a lone surrogate, which is not a character")


def surrogate_in(text: str) -> str:
    """The first lone surrogate of a text, if it has one: half of a character, which no file and no tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError as problem:
        return text[problem.start]
    return ""


def shown(value: Any) -> str:
    """A foreign value in a message: short, in one line, without control characters."""
    text = repr(value[:60] if isinstance(value, str) else value) if not isinstance(value, dict | list) else kind(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def kind(value: Any) -> str:
    """The type of a value, in JSON's terms."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


# --- objects ----------------------------------------------------------------------------------------


class JsonObject(Mapping[str, Any]):
    """A JSON object whose values are handed out with the type and range that they must have.

    Without a `default` a key has to be there; with one, null counts as absent.
    """

    def __init__(self, value: Any, file: Path | str, inside: str = "") -> None:
        self.file, self.inside = file, inside
        if not isinstance(value, dict):
            what = f"{inside!r} is {shown(value)}" if inside else f"is {shown(value)}"
            raise ConfigError(f"{what}, not an object {{…}}", file=file)
        self.values_by_key: dict[str, Any] = value

    def __getitem__(self, key: str) -> Any:
        return self.values_by_key[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_by_key)

    def __len__(self) -> int:
        return len(self.values_by_key)

    def text(self, key: str, default: str | None = None) -> str:
        """A string."""
        value = self.value(key, default)
        return value if isinstance(value, str) else self.refuse(key, "a text")

    def flag(self, key: str, default: bool | None = None) -> bool:
        """A truth value."""
        value = self.value(key, default)
        return value if isinstance(value, bool) else self.refuse(key, "true or false")

    def integer(self, key: str, default: int | None = None, *, least: int = -(2**63), most: int = 2**63 - 1) -> int:
        """An integer from `least` to `most`; 3.0 is one too."""
        value = self.value(key, default)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            self.refuse(key, f"an integer{bounds(least, most)}")
        return value

    def number(
        self, key: str, default: float | None = None, *, least: float = -math.inf, most: float = math.inf
    ) -> float:
        """A finite number from `least` to `most`."""
        value = self.value(key, default)
        found = math.nan if isinstance(value, bool) or not isinstance(value, int | float) else as_float(value)
        if not math.isfinite(found) or not least <= found <= most:
            self.refuse(key, f"a number{bounds(least, most)}")
        return found

    def entries(self, key: str, default: list[Any] | None = None) -> list[Any]:
        """A list of anything."""
        value = self.value(key, default)
        return value if isinstance(value, list) else self.refuse(key, "a list […]")

    def texts(self, key: str, default: list[str] | None = None) -> list[str]:
        """A list of strings."""
        value = self.entries(key, default)
        return value if all(isinstance(item, str) for item in value) else self.refuse(key, 'a list of texts ["…"]')

    def inner(self, key: str, default: dict[str, Any] | None = None) -> JsonObject:
        """An object."""
        return JsonObject(self.value(key, default), self.file, self.path(key))

    def value(self, key: str, default: Any = None) -> Any:
        """The value of a key as it is."""
        value = self.values_by_key.get(key)
        if value is None and default is not None:
            return default
        if key not in self.values_by_key:
            raise ConfigError(f"has no {self.path(key)!r}", file=self.file)
        return value

    def path(self, key: str) -> str:
        """The key with those of the objects around it."""
        return f"{self.inside}.{key}" if self.inside else key

    def refuse(self, key: str, wanted: str) -> NoReturn:
        """Say what a value should be."""
        raise ConfigError(f"{self.path(key)!r} is {shown(self.values_by_key[key])}, not {wanted}", file=self.file)


def as_float(value: float) -> float:
    """A number as a float; one that is too large for that as infinity."""
    try:
        return float(value)
    except OverflowError:
        return math.inf


def bounds(least: float, most: float) -> str:
    """A range in words."""
    low, high = (abs(end) < 2**63 - 1 for end in (least, most))
    if low and high:
        return f" from {least} to {most}"
    return f" of at least {least}" if low else f" of at most {most}" if high else ""
