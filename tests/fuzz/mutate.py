"""Changes of bytes, texts and trees, as strategies of hypothesis: drawn from a seed, and shrunk to the smallest one."""

from __future__ import annotations

import copy
import gzip
import json
import lzma
import reprlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import zstandard
from hypothesis import strategies as st

Draw = Callable[[st.SearchStrategy[Any]], Any]
Path = tuple[Any, ...]
ABSENT = object()


# --- bytes ----------------------------------------------------------------------------------------


@st.composite
def damaged(draw: Draw, data: bytes) -> tuple[str, bytes]:
    """How bytes were damaged, and what they are now: never the same."""
    size = len(data)
    at = draw(st.integers(0, max(size - 1, 0)))
    length = draw(st.integers(1, max(1, min(size - at, 64))))
    noise = draw(st.binary(min_size=1, max_size=8))
    ways = {
        "flipped a bit": data[:at] + bytes([data[at] ^ 1 << draw(st.integers(0, 7))]) + data[at + 1 :]
        if size
        else b"\0",
        "cut off": data[:at],
        "zeros": data[:at] + bytes(length) + data[at + length :],
        "left out": data[:at] + data[at + length :],
        "doubled": data[: at + length] + data[at : at + length] + data[at + length :],
        "inserted": data[:at] + noise + data[at:],
        "empty": b"",
        "all zeros": bytes(size or 1),
        "appended": data + noise,
        "nested deep": draw(st.sampled_from([b"[", b'{"a":', b"a=["])) * 50_000,
    }
    way = draw(st.sampled_from([way for way, made in ways.items() if made != data]))
    return way, ways[way]


# --- texts ----------------------------------------------------------------------------------------

WORDS = [
    *(
        "",
        " ",
        "\t",
        "\r",
        "\x00",
        "\x1b[31mred\x1b[0m",
        "\u2028",
        "\u0085",
        "\x0b",
        "\ufeff",
        "\ufffd",
        "e\u0301",
        "é",
    ),
    *("nan", "NaN", "inf", "-inf", "1e400", "-1", "-0,3", "0", "0.5", "99999999999999999999", "1_0", "٣", "½"),
    *("<unk>", "<s>", "</s>", "<eos>", "<|endofdoc|>", "[MASK]", "null", "true", "None", "__label__", "-DOCSTART-"),
    *(
        '"',
        "'",
        '"a',
        '""',
        ",",
        ";",
        "\\",
        "\\n",
        "\\ud800",
        "{",
        "[",
        "#",
        "%",
        "=",
        ":",
        "../..",
        "/etc/passwd",
        "~",
    ),
    *("B-", "I-X", "B-X", "O", "E-X", "S-X", "x" * 3000, "a b c", "👍🏽", "\u202e", "\U0001d518", "ﬁ"),
]
"""words that somebody's parser takes for something"""


@st.composite
def edited(draw: Draw, text: str, parts: str = "\t ,;:") -> tuple[str, str]:
    """How one line or one field of a text was changed, and the text: still lines, of fields."""
    lines = text.split("\n")
    at = draw(st.integers(0, len(lines) - 1))
    other = draw(st.integers(0, len(lines) - 1))
    word = draw(st.sampled_from(WORDS) | st.text(max_size=6))
    marks = [place for place, letter in enumerate(lines[at]) if letter in parts]
    mark = draw(st.sampled_from(marks)) if marks else 0
    end = next((place for place in marks if place > mark), len(lines[at]))
    line = lines[at]
    changed = {
        "field": [line[: mark + bool(marks)] + word + line[end:]],
        "longer field": [line[:end] + word + line[end:]],
        "separator": [line[:mark] + word + line[mark + 1 :]],
        "line": [word],
        "line left out": [],
        "line doubled": [line, line],
        "line inserted": [line, word],
        "another line": [line, lines[other]],
        "lines joined": [line + lines[other]],
    }
    way = draw(st.sampled_from(sorted(changed)))
    return way, "\n".join([*lines[:at], *changed[way], *lines[at + 1 :]])


def encoded(text: str) -> bytes:
    """A text as bytes; what cannot be stored as UTF-8 stays as it is."""
    return text.encode(errors="surrogatepass")


# --- what means the same --------------------------------------------------------------------------


def with_mark(data: bytes) -> bytes:
    """With a byte-order mark."""
    return b"\xef\xbb\xbf" + data


def with_crlf(data: bytes) -> bytes:
    """With Windows' ends of lines."""
    return data.replace(b"\n", b"\r\n")


def without_end(data: bytes) -> bytes:
    """Without the end of the last line."""
    return data.removesuffix(b"\n")


def with_blank_lines(data: bytes) -> bytes:
    """With blank lines at the end."""
    return data + b"\n\n"


PACKED: dict[str, Callable[[bytes], bytes]] = {
    ".gz": lambda data: gzip.compress(data, mtime=0),
    ".xz": lzma.compress,
    ".zst": lambda data: zstandard.ZstdCompressor().compress(data),
}


# --- trees ----------------------------------------------------------------------------------------

NUMBERS = [0, -1, 1, 2, 3, 7, 100, 10**5, 2**31, 2**32, 2**63 - 1, 2**63, 2**64, -(2**63), 10**12, 10**30]
NUMBERS += [0.0, -0.0, 0.5, -0.5, 1.0, 1.5, 1e-9, 1e-39, 1e9, 1e300, float("inf"), float("-inf"), float("nan")]
STRINGS = ["", " ", "none", "0", "1", "-1steps", "1e400steps", "0steps", "3epochs", "2steps", "nan", "lstm", "word"]
STRINGS += ["x" * 3000, "\x1b[31m", "\x00", "é", "a\nb", "../..", "/etc/passwd", "/", ".", "~", "a.b", "x:Y", ".x:y"]
STRINGS += ["os:system", "foretell.config:Config", "foretell.models.recurrent:RecurrentConfig", "__main__:X", "hf:x/y"]


def deep(levels: int, *, table: bool) -> Any:
    """A list or a table inside another, and so on."""
    value: Any = {} if table else []
    for _ in range(levels):
        value = {"a": value} if table else [value]
    return value


values = st.one_of(
    st.sampled_from([*NUMBERS, *STRINGS, None, True, False]),
    st.sampled_from([[], {}, [[]], {"kind": "lstm"}, {"kind": "none"}, {"kind": 3}, [1, 2], ["a"], {"a": 1}, [None]]),
    st.integers(-5, 70) | st.floats(-2, 2) | st.text(max_size=5),
    st.builds(deep, st.sampled_from([3, 30, 300]), table=st.booleans()),
)


def places(tree: Any, here: Path = ()) -> Iterator[Path]:
    """The places of all values in a tree, but for itself."""
    items: Sequence[tuple[Any, Any]] = ()
    if isinstance(tree, dict):
        items = list(tree.items())
    elif isinstance(tree, list):
        items = list(enumerate(tree[:4]))
    for key, value in items:
        yield (*here, key)
        yield from places(value, (*here, key))


def at(tree: Any, place: Path) -> Any:
    """The value at a place."""
    for key in place:
        tree = tree[key]
    return tree


def put(tree: Any, place: Path, value: Any) -> Any:
    """The tree with another value at a place, or without one."""
    made = copy.deepcopy(tree)
    holder = at(made, place[:-1])
    if value is ABSENT:
        del holder[place[-1]]
    else:
        holder[place[-1]] = value
    return made


def near(value: Any) -> st.SearchStrategy[Any]:
    """Values that are like one: others of its type."""
    if isinstance(value, bool):
        return st.just(not value)
    if isinstance(value, int):
        return st.integers(-3, 9) | st.sampled_from([value + 1, -value, 10 * value, float(value), value + 0.5])
    if isinstance(value, float):
        return st.floats(-2, 2) | st.sampled_from([value * 2, -value, int(value)])
    if isinstance(value, str):
        return st.sampled_from([value.upper(), value + " ", value[:-1], value * 2, value + "\n"]) | st.text(max_size=4)
    return values


@st.composite
def changed(draw: Draw, tree: Any, keep: Callable[[Path], bool] = lambda place: False) -> tuple[str, Any]:
    """Where and how a tree was changed, and the tree; places that `keep` names stay as they are."""
    there = [place for place in places(tree) if not keep(place)]
    place = draw(st.sampled_from(there))
    old = at(tree, place)
    way = draw(st.sampled_from(["like it", "like it", "other", "other", "gone", "renamed", "swapped", "wrapped"]))
    name = ".".join(map(str, place))
    if way == "gone":
        return f"{name} left out", put(tree, place, ABSENT)
    if way == "renamed" and isinstance(place[-1], str):
        other = draw(st.sampled_from([place[-1] + "s", place[-1].upper(), place[-1][:-1], ""]) | st.text(max_size=4))
        return f"{name} renamed", put(put(tree, (*place[:-1], other), old), place, ABSENT) if other != place[
            -1
        ] else tree
    if way == "swapped":
        other = at(tree, draw(st.sampled_from(there)))
        return f"{name} = another's value", put(tree, place, copy.deepcopy(other))
    if way == "wrapped":
        return f"{name} wrapped", put(tree, place, draw(st.sampled_from([[old], {"kind": old}, {place[-1]: old}])))
    value = draw(near(old) if way == "like it" else values)
    return f"{name} = {reprlib.repr(value)}", put(tree, place, value)


def as_json(tree: Any) -> bytes:
    """A tree as JSON, as Python writes it: with NaN, and lone surrogates escaped."""
    return json.dumps(tree).encode()


def has_none(tree: Any) -> bool:
    """Whether there is a value in a tree that TOML cannot hold."""
    if isinstance(tree, dict):
        return any(not isinstance(key, str) or has_none(value) for key, value in tree.items())
    if isinstance(tree, list):
        return any(map(has_none, tree))
    return tree is None or (isinstance(tree, int) and abs(tree) > 10**40)
