"""Nested tables: TOML, merging, overriding."""

import json
from pathlib import Path
from typing import Any

import pytest

from foretell import trees
from foretell.errors import ConfigError
from foretell.trees import merge, override, parse_override, split_overrides


@pytest.mark.parametrize(
    ("base", "over", "expected"),
    [
        ({"a": 1, "b": 2}, {"b": 3, "c": 4}, {"a": 1, "b": 3, "c": 4}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}}, {"a": {"b": 1, "c": 3}}),
        ({"a": {"b": {"c": 1, "d": 2}}}, {"a": {"b": {"d": 3}}}, {"a": {"b": {"c": 1, "d": 3}}}),
        # the same kind goes on, another starts afresh
        ({"a": {"kind": "x", "b": 1}}, {"a": {"kind": "x", "c": 2}}, {"a": {"kind": "x", "b": 1, "c": 2}}),
        ({"a": {"kind": "x", "b": 1}}, {"a": {"kind": "y", "c": 2}}, {"a": {"kind": "y", "c": 2}}),
        ({"a": {"kind": "x", "b": 1}}, {"a": "x"}, {"a": {"kind": "x", "b": 1}}),
        ({"a": {"kind": "x", "b": 1}}, {"a": "y"}, {"a": "y"}),
        # a bare word is a table with that kind
        ({"a": "x"}, {"a": {"b": 1}}, {"a": {"kind": "x", "b": 1}}),
        ({"a": "x"}, {"a": {"kind": "y", "b": 1}}, {"a": {"kind": "y", "b": 1}}),
        # lists are values
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
    ],
    ids=str,
)
def test_merging(base: dict[str, Any], over: dict[str, Any], expected: dict[str, Any]) -> None:
    before = json.dumps(base)
    assert merge(base, over) == expected
    assert json.dumps(base) == before


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a=1", {"a": 1}),
        ("a.b.c=2.5", {"a": {"b": {"c": 2.5}}}),
        ("a=true", {"a": True}),
        ("a=word", {"a": "word"}),
        ('a="3"', {"a": "3"}),
        ("a=[2000, 10000]", {"a": [2000, 10000]}),
        ('a={kind="x", b=1}', {"a": {"kind": "x", "b": 1}}),
        ("a=b=c", {"a": "b=c"}),
        ("a=", {"a": ""}),
        ("limit=300steps", {"limit": "300steps"}),
        ("a=/tmp/x y.txt", {"a": "/tmp/x y.txt"}),
    ],
)
def test_overrides(text: str, tree: dict[str, Any]) -> None:
    assert parse_override(text) == tree


@pytest.mark.parametrize("text", ["a", "=1", " =1", ""])
def test_what_is_not_an_override(text: str) -> None:
    with pytest.raises(ConfigError, match=r"write it as name\.of\.setting=value"):
        parse_override(text)


def test_overrides_of_a_changed_kind_come_together() -> None:
    tree = {"head": {"kind": "full", "tied": True}}
    for order in (["head.kind=other", "head.cut=1"], ["head.cut=1", "head.kind=other"]):
        assert override(tree, order) == {"head": {"kind": "other", "cut": 1}}
    assert override(tree, {"head.bias": False}) == {"head": {"kind": "full", "tied": True, "bias": False}}


def test_toml_that_is_not(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("a = \n")
    with pytest.raises(ConfigError, match=r"a\.toml:1: not valid TOML"):
        trees.read_toml(tmp_path / "a.toml")
    (tmp_path / "b.toml").write_bytes(b"a = '\xff'")
    with pytest.raises(ConfigError, match="not UTF-8"):
        trees.read_toml(tmp_path / "b.toml")


@pytest.mark.parametrize(
    ("overrides", "blamed"), [([], True), (["b=1"], True), (["a.b=1"], False), ({"a": {}}, False), (["a.b.c=1"], True)]
)
def test_a_file_is_blamed_for_what_is_not_overridden(overrides: Any, blamed: bool) -> None:
    with pytest.raises(ConfigError) as caught, trees.blaming(overrides):
        raise trees.wrong(Path("r.toml"), "a.b: wrong")
    assert str(caught.value) == ("r.toml: " if blamed else "") + "a.b: wrong"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", []),
        ("model.hidden=9  optimizer.learning_rate=0.1 ", ["model.hidden=9", "optimizer.learning_rate=0.1"]),
        (
            'optimizer={kind="adamw", betas=[0.9, 0.99]} seed=2',
            ['optimizer={kind="adamw", betas=[0.9, 0.99]}', "seed=2"],
        ),
        ('a={b = {c = 1}} d="two words"', ["a={b = {c = 1}}", 'd="two words"']),
        ('d="it\'s {" e=1', ['d="it\'s {"', "e=1"]),
        ('a="open b=1', ['a="open b=1']),
    ],
)
def test_overrides_in_one_text_are_divided_outside_of_quotes_and_brackets(text: str, parts: list[str]) -> None:
    assert split_overrides(text) == parts
