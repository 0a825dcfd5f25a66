"""Checkpoint folders: tensors come back however they are divided, and nothing is opened that is no weights."""

import json
import struct
from pathlib import Path

import pytest
import torch
from builders import assert_same
from safetensors.torch import load_file, save_file

from foretell.errors import ConfigError
from foretell.interop.hugging_face.folder import INDEX, WHOLE, Weights, has, inside, read_config, write_weights


def tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {name: torch.randn(size) for name, size in {"a": (3, 4), "b": (5,), "c": (2, 2, 2), "d": (1,)}.items()}


@pytest.mark.parametrize("shard_bytes", [1, 50, 70, 10_000])
def test_tensors_come_back_in_any_number_of_files(tmp_path: Path, shard_bytes: int) -> None:
    given = tensors()
    write_weights(tmp_path, given.items(), shard_bytes)
    found = Weights.open(tmp_path)
    assert_same(dict(found), given)
    assert {name: found.shape(name) for name in found} == {name: tuple(t.shape) for name, t in given.items()}
    assert found.largest == 5
    files = sorted(tmp_path.glob("*.safetensors"))
    held = [load_file(file) for file in files]
    assert all(len(part) == 1 or sum(t.nbytes for t in part.values()) <= shard_bytes for part in held)
    if shard_bytes == 10_000:
        assert [file.name for file in tmp_path.iterdir()] == [WHOLE]
        return
    index = json.loads((tmp_path / INDEX).read_text())
    assert index["metadata"]["total_size"] == sum(t.nbytes for t in given.values())
    for file, part in zip(files, held, strict=True):
        assert {name for name, place in index["weight_map"].items() if place == file.name} == part.keys()
    assert len(list(tmp_path.iterdir())) == len(files) + 1


def test_views_rename_and_leave_out(tmp_path: Path) -> None:
    save_file(tensors(), tmp_path / WHOLE)
    found = Weights.open(tmp_path).renamed(str.upper).without(lambda name: name == "B")
    assert list(found) == ["A", "C", "D"] and "B" not in found and len(found) == 3
    assert_same(found["C"], tensors()["c"])
    with pytest.raises(ConfigError, match="has both a and b, where both are one"):
        Weights.open(tmp_path).renamed(lambda name: "x")


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        (torch.tensor([1.0, float("nan"), float("inf")]), "2 of the 3 numbers in a are NaN or infinite"),
        (torch.tensor([1, 2]), r"a holds torch\.int64, which are not weights"),
    ],
)
def test_numbers_that_are_no_weights(tmp_path: Path, tensor: torch.Tensor, said: str) -> None:
    save_file({"a": tensor}, tmp_path / WHOLE)
    with pytest.raises(ConfigError, match=said):
        Weights.open(tmp_path)["a"]
    save_file({"a": tensor[:1].half()}, tmp_path / WHOLE)
    assert_same(Weights.open(tmp_path)["a"], tensor[:1].float())


def test_pickles_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04anything")
    with pytest.raises(ConfigError, match=r"is a pickle, which can run any code .*save_pretrained\(FOLDER\)"):
        Weights.open(tmp_path)
    save_file(tensors(), tmp_path / WHOLE)  # beside them it is not looked at
    assert len(Weights.open(tmp_path)) == 4


def test_folders_that_hold_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no config\.json"):
        read_config(tmp_path)
    with pytest.raises(ConfigError, match=r"has no model\.safetensors and no"):
        Weights.open(tmp_path)
    header = json.dumps({"a\x1b": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    for content, said in (
        (b"half of", "not a whole safetensors file"),
        (struct.pack("<Q", len(header)) + header + bytes(4), "has characters that cannot be shown"),
        (struct.pack("<Q", len(header)) + header, "not a whole safetensors file"),
    ):
        (tmp_path / WHOLE).write_bytes(content)
        with pytest.raises(ConfigError, match=said):
            Weights.open(tmp_path)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("../other.safetensors", "which is not in the folder"),
        ("none.safetensors", "names none.safetensors, which is not in the folder"),
        ("model.safetensors", "lacks z, which the index says it holds"),
        (3, "'weight_map.z' is 3, not a text"),
    ],
)
def test_an_index_names_files_of_its_folder_and_tensors_in_them(tmp_path: Path, place: object, said: str) -> None:
    (tmp_path / "theirs").mkdir()
    save_file(tensors(), tmp_path / "other.safetensors")
    save_file(tensors(), tmp_path / "theirs" / WHOLE)
    (tmp_path / "theirs" / INDEX).write_text(json.dumps({"weight_map": {"a": WHOLE, "z": place}}))
    with pytest.raises(ConfigError, match=said):
        Weights.open(tmp_path / "theirs")
    (tmp_path / "theirs" / INDEX).write_text(json.dumps({"weight_map": {"a": WHOLE}}))
    assert list(Weights.open(tmp_path / "theirs")) == ["a"]


def test_links_stay_in_the_folder_or_in_the_cache_of_the_hub(tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "models--x--y" / "snapshots" / "0123", tmp_path / "models--x--y" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for folder in (snapshot, blobs, tmp_path):
        (folder / "file").touch()
    for name, target in {"inner": "file", "blob": "../../blobs/file", "outer": "../../../file"}.items():
        (snapshot / name).symlink_to(target)
    assert inside(snapshot, "inner") == snapshot / "inner"
    assert has(snapshot, "blob") and not has(snapshot, "none")
    with pytest.raises(ConfigError, match="a link that leads out of the folder"):
        inside(snapshot, "outer")
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "blob").symlink_to(blobs / "file")
    with pytest.raises(ConfigError, match="a link that leads out of the folder"):
        has(tmp_path / "plain", "blob")
