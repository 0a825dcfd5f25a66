"""Settings and tensors in both directions: what is written is read again."""

from pathlib import Path
from typing import Any

import pytest
import torch
from builders import assert_same

from foretell.errors import ConfigError
from foretell.interop.hugging_face.correspondence import (
    Link,
    Misfit,
    Setting,
    at,
    check_shapes,
    layers_in,
    link,
    link_of,
    read_tensors,
    write_tensors,
)
from foretell.strict_json import JsonObject

CASES: list[tuple[Setting, Any, Any]] = [
    # a setting, our value and theirs; None: absent
    (Setting("a.b", "x", 7), 3, 3),
    (Setting("a.b", "x", 0.5), 0.25, 0.25),
    (Setting("a.b", "x", True), False, False),
    (Setting("a.b", "x", 7, less=lambda theirs: theirs["y"]), 3, 5),
    (Setting("a.b", "x", 7, absent=lambda theirs: 4 * theirs["y"]), None, 8),
    (Setting("a.b", "x", 7, absent=lambda theirs: 4 * theirs["y"]), 9, 9),
    (Setting("a.b", "x", "one", {1: "one", 2: "two"}), 2, "two"),
]


@pytest.mark.parametrize(("setting", "ours", "theirs"), CASES)
def test_a_setting_is_read_as_it_is_written(setting: Setting, ours: Any, theirs: Any) -> None:
    written = {"y": 2}
    setting.write({"a": {"b": ours}}, written)
    assert written == {"x": theirs, "y": 2}
    assert setting.read(JsonObject(written, "config.json")) == ({} if ours is None else {"a.b": ours})


def test_values_that_have_no_counterpart() -> None:
    spelled = Setting("a.b", "x", "one", {1: "one", 2: "two"}, alike={"uno": "one"})
    assert spelled.read(JsonObject({"x": "uno"}, "config.json")) == {"a.b": 1}
    with pytest.raises(ConfigError, match=r"config\.json: x = 'onne' is not supported; did you mean 'one'"):
        spelled.read(JsonObject({"x": "onne"}, "config.json"))
    with pytest.raises(ConfigError, match=r"x = a list is not supported \(known: one, two\)"):
        spelled.read(JsonObject({"x": [1]}, "config.json"))
    for tree, said in ({"a": {"b": 3}}, "a.b = 3 is not among 1, 2"), ({}, "a.b is absent"):
        with pytest.raises(Misfit, match=said):
            spelled.write(tree, {})
    for wrong in (0, "3", 2.5, True, None, 2**31):
        with pytest.raises(ConfigError, match="'x'"):
            Setting("a.b", "x", 7).read(JsonObject({"x": wrong}, "config.json"))


def test_two_of_ours_that_are_one_of_theirs_are_equal() -> None:
    one, other = Setting("a", "x", 7), Setting("b", "x", 7)
    written: dict[str, Any] = {}
    one.write({"a": 3}, written)
    other.write({"b": 3}, written)
    with pytest.raises(Misfit, match="b = 4 and x = 3, which must be equal"):
        other.write({"b": 4}, written)
    Setting("b", "x", 7, loose=True).write({"b": 4}, written)
    assert written == {"x": 3}
    assert at({"a": {"b": 1}}, "a.b") == 1 and at({"a": 3}, "a.b") is None


# --- tensors --------------------------------------------------------------------------------------

LINKS = [
    link("words", "emb.weight"),
    link("blocks.{}.qkv", "layer.{}.q", "layer.{}.k", "layer.{}.v"),
    link("blocks.{}.out", "layer.{}.dense", transposed=True),
]


def ours(layers: int = 2) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    sizes: dict[str, tuple[int, ...]] = {"words": (5, 4)}
    for n in range(layers):
        sizes |= {f"blocks.{n}.qkv.weight": (12, 4), f"blocks.{n}.qkv.bias": (12,), f"blocks.{n}.out.weight": (2, 4)}
    return {name: torch.randn(size) for name, size in sizes.items()}


def test_tensors_are_read_as_they_are_written() -> None:
    mine = ours()
    theirs = dict(write_tensors(LINKS, mine))
    assert {name: tuple(tensor.shape) for name, tensor in theirs.items() if ".1." in name} == {
        **{f"layer.1.{part}.weight": (4, 4) for part in "qkv"},
        **{f"layer.1.{part}.bias": (4,) for part in "qkv"},
        "layer.1.dense.weight": (4, 2),
        "layer.1.dense.bias": (2,),  # ours has none, theirs always
    }
    assert not theirs["layer.1.dense.bias"].any()
    assert_same(theirs["layer.0.k.weight"], mine["blocks.0.qkv.weight"][4:8])
    assert len({tensor.untyped_storage().data_ptr() for tensor in theirs.values()}) == len(theirs)
    reading = read_tensors(LINKS, theirs, mine)
    assert_same(reading.tensors, mine)
    assert (reading.missing, reading.surplus) == ([], ["layer.0.dense.bias", "layer.1.dense.bias"])


def test_what_is_missing_and_what_has_no_counterpart() -> None:
    mine = ours(1)
    theirs = dict(write_tensors(LINKS, mine)) | {"pooler": torch.zeros(1)}
    del theirs["layer.0.k.weight"]
    reading = read_tensors(LINKS, theirs, mine)
    assert reading.missing == ["blocks.0.qkv.weight"]
    assert {"pooler", "layer.0.q.weight", "layer.0.v.weight"} <= set(reading.surplus)
    with pytest.raises(Misfit, match=r"blocks\.x\.out has no counterpart"):
        link_of(LINKS, "blocks.x.out")


def test_a_tensor_that_ours_does_not_have_is_zero() -> None:
    segments = Link("segments", ("types.weight",), instead="words")
    written = dict(write_tensors([*LINKS, segments], ours(0)))
    assert_same(written["types.weight"], torch.zeros(1, 4))
    given = ours(0) | {"segments": torch.ones(2, 4)}
    assert_same(dict(write_tensors([*LINKS, segments], given))["types.weight"], torch.ones(2, 4))


def test_layers_are_counted_by_their_numbers() -> None:
    assert layers_in(LINKS, ["layer.0.q.weight", "layer.11.q.bias", "layer.99.other", "emb.weight"]) == 12
    assert layers_in(LINKS, ["emb.weight", "layer.x.q.weight"]) == 0


@pytest.mark.parametrize(
    ("name", "shape", "said"),
    [
        ("emb.weight", (6, 4), r"emb\.weight \(6, 4\) does not fit config\.json, by which words is \(5, 4\)"),
        ("layer.0.q.weight", (4, 5), r"layer\.0\.q\.weight \(4, 5\), layer\.0\.k\.weight \(4, 4\)"),
        ("layer.0.v.weight", (5, 4), r"by which blocks\.0\.qkv\.weight is \(12, 4\)"),
        ("layer.0.dense.weight", (2, 4), r"by which blocks\.0\.out\.weight is \(2, 4\)"),
        ("layer.0.q.bias", (), r"by which blocks\.0\.qkv\.bias is \(12,\)"),
    ],
)
def test_shapes_are_those_of_the_settings(name: str, shape: tuple[int, ...], said: str) -> None:
    mine = ours(1)
    shapes = {its: tuple(tensor.shape) for its, tensor in write_tensors(LINKS, mine)}
    check_shapes(LINKS, shapes, mine, Path("config.json"))
    with pytest.raises(ConfigError, match=said):
        check_shapes(LINKS, shapes | {name: shape}, mine, Path("config.json"))
