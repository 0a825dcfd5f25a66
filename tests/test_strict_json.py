"""JSON that others wrote: what is JSON is read as Python reads it, what is not is one error with its line."""

import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretell.errors import ConfigError
from foretell.strict_json import DEEPEST, JsonObject, parse_json, read_json, read_object

characters = st.characters(exclude_categories=["Cs"])
leaves = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(characters)
)
values = st.recursive(
    leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(characters), inner), max_leaves=20
)
BAD = [
    # content, line, what is said of it
    (b'{"a": 1,\n "b": }', 2, "not valid JSON: Expecting value"),
    (b"", 1, "not valid JSON: Expecting value"),
    (b'{"a": 1}\n{"a": 2}', 2, "not valid JSON: Extra data"),
    (b'{"a": 1, "a": 2}', None, "an object has the key 'a' twice"),
    (b'{"a": NaN}', None, "NaN is not a JSON number"),
    (b'{"a": -Infinity}', None, "-Infinity is not a JSON number"),
    (b"[" * 50_000, None, "nested more than 100 levels deep"),
    (b"[" * 200 + b"]" * 200, None, "nested more than 100 levels deep"),
    (b'{"a":' * 101 + b"1" + b"}" * 101, None, "nested more than 100 levels deep"),
    (b"1" * 5000, None, "an integer has thousands of digits"),
    (b'["\\ud83d"]', None, "'\\ud83d' holds '\\ud83d', a lone surrogate"),
    (b'{"\\udc00\\u001b": 1}', None, "'\\udc00\\x1b' holds '\\udc00', a lone surrogate"),
    ('{"a":\n"é"}'.encode("latin-1"), 2, "not UTF-8 (byte 0xe9)"),
    ('{"a": 1}'.encode("utf-16"), None, "is UTF-16; convert it to UTF-8"),
]


@given(values)
def test_what_is_json_is_read_as_python_reads_it(value: object) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        assert parse_json(text, "a.json") == json.loads(text)
        assert parse_json(text.encode("utf-8-sig"), "a.json") == json.loads(text)


@pytest.mark.parametrize("content, line, what", BAD)
def test_what_is_none_is_one_error_with_its_line(tmp_path: Path, content: bytes, line: int | None, what: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as problem:
        read_json(path)
    assert what in str(problem.value) and (problem.value.file, problem.value.line) == (path, line)
    assert "\n" not in str(problem.value) and str(problem.value).isprintable()


def test_the_deepest_value_that_is_read(tmp_path: Path) -> None:
    text = "[" * DEEPEST + "]" * DEEPEST
    assert parse_json(text, "a.json") == json.loads(text)


def test_a_line_of_a_file_is_named_by_its_number() -> None:
    with pytest.raises(ConfigError, match=r"^a\.jsonl:7: not valid JSON: Expecting value \(column 7\)$"):
        parse_json('{"a": }', "a.jsonl", 7)


def test_readers_that_check_their_fields_may_have_what_is_no_json() -> None:
    found = parse_json('{"a": NaN, "b": "\\ud83d"}', "a.jsonl", 1, lenient=True)
    assert math.isnan(found["a"]) and found["b"] == "\ud83d"
    assert parse_json('["\\ud83d\\ude00"]', "a.json") == ["😀"]  # a pair is a character


def test_files_that_are_absent_too_large_or_no_files(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with pytest.raises(ConfigError, match=r"a\.json: cannot be read: No such file"):
        read_json(path)
    path.write_text("[1, 2]")
    assert read_json(path, largest=6) == [1, 2]
    with pytest.raises(ConfigError, match=r"a\.json: larger than 5 bytes"):
        read_json(path, largest=5)
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", tmp_path):
        with pytest.raises(ConfigError, match="not a regular file"):
            read_json(place)
    with pytest.raises(ConfigError, match=r"a\.json: is a list, not an object"):
        read_object(path)


def test_values_have_the_type_that_is_asked_for() -> None:
    found = JsonObject(json.loads('{"t": "x", "i": 3, "f": 3.0, "n": null, "b": true, "l": ["x"], "o": {"i": 9}}'), "a")
    assert (found.text("t"), found.integer("i"), found.integer("f"), found.number("i")) == ("x", 3, 3, 3.0)
    assert (found.flag("b"), found.texts("l"), found.entries("l"), found.inner("o").integer("i")) == (
        True,
        ["x"],
        ["x"],
        9,
    )
    assert found.integer("absent", 4) == found.integer("n", 4) == 4  # null is what is absent
    assert found.flag("absent", False) is False and found.texts("n", []) == []


@pytest.mark.parametrize(
    "value, ask, what",
    [
        ("[]", lambda o: o.text("a"), "'a' is a list, not a text"),
        ('"1"', lambda o: o.integer("a"), "'a' is '1', not an integer"),
        ("true", lambda o: o.integer("a"), "'a' is True, not an integer"),
        ("1.5", lambda o: o.integer("a"), "'a' is 1.5, not an integer"),
        ("1e400", lambda o: o.integer("a"), "'a' is inf, not an integer"),
        ("0", lambda o: o.integer("a", least=1), "'a' is 0, not an integer of at least 1"),
        ("9", lambda o: o.integer("a", least=1, most=8), "'a' is 9, not an integer from 1 to 8"),
        ("1" * 4000, lambda o: o.integer("a"), "…, not an integer"),
        ("1" * 4000, lambda o: o.number("a"), "…, not a number"),
        ("1e400", lambda o: o.number("a"), "'a' is inf, not a number"),
        ("-1", lambda o: o.number("a", least=0), "'a' is -1, not a number of at least 0"),
        ("null", lambda o: o.integer("a"), "'a' is None, not an integer"),
        ("1", lambda o: o.flag("a"), "'a' is 1, not true or false"),
        ('["x", 1]', lambda o: o.texts("a"), "'a' is a list, not a list of texts"),
        ("{}", lambda o: o.entries("a"), "'a' is an object, not a list"),
        ("3", lambda o: o.inner("a"), "'a' is 3, not an object"),
        ('{"b": "x"}', lambda o: o.inner("a").integer("b"), "'a.b' is 'x', not an integer"),
        ("3", lambda o: o.integer("b"), "has no 'b'"),
        ("{}", lambda o: o.inner("a").text("b"), "has no 'a.b'"),
        ('"\\u001b[2J\\n"', lambda o: o.integer("a"), r"'a' is '\x1b[2J\n', not an integer"),
    ],
)  # fmt: skip
def test_other_values_are_refused_with_their_key(value: str, ask, what: str) -> None:
    with pytest.raises(ConfigError) as problem:
        ask(JsonObject(parse_json(f'{{"a": {value}}}', "c.json"), "c.json"))
    assert str(problem.value).startswith("c.json: ") and what in str(problem.value) and len(str(problem.value)) < 200
