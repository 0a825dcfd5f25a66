"""Tensors in files, and states as tensors by name."""

from pathlib import Path

import pytest
import torch
from builders import assert_same
from hypothesis import given
from hypothesis import strategies as st

from foretell.artifacts import write_tensors
from foretell.errors import ConfigError
from foretell.training.tensor_files import check_finite, flatten, read_tensors, unflatten

STATES = st.recursive(
    st.none() | st.integers(1, 4).map(torch.ones), lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=8
)


@given(STATES)
def test_a_state_goes_through_its_tensors_and_back(state: object) -> None:
    tensors = flatten(state)  # type: ignore[arg-type]
    assert repr(unflatten(tensors, state)) == repr(state)  # type: ignore[arg-type]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    tensors = {"a": torch.randn(3, 4).t(), "b": torch.arange(5), "c": torch.ones(2, requires_grad=True)}
    write_tensors(tmp_path / "x.safetensors", tensors)
    assert_same(read_tensors(tmp_path / "x.safetensors"), {name: t.detach() for name, t in tensors.items()})


@pytest.mark.parametrize("content", [b"", b"x" * 100, b"\xff" * 8 + b"{}"])
def test_a_damaged_file_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(ConfigError, match=r"x\.safetensors: not a safetensors file"):
        read_tensors(tmp_path / "x.safetensors")


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite_are_named(wrong: float, tmp_path: Path) -> None:
    """Large numbers, whose sum is not finite, are."""
    check_finite({"a": torch.full((9,), 3e38), "b": torch.tensor([1])}, tmp_path)
    with pytest.raises(ConfigError, match="b holds numbers that are not finite"):
        check_finite({"a": torch.ones(2), "b": torch.tensor([1.0, wrong])}, tmp_path)
