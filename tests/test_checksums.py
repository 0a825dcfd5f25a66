"""Folders of files with checksums: what was altered is found, and nothing is opened but plain files in it."""

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from foretell.checksums import (
    FILE,
    digest,
    fills_its_length,
    is_sealed,
    plain_file,
    plain_folder,
    read_checksums,
    sealed,
    verify,
    write_checksums,
)
from foretell.errors import ConfigError

values = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4)
records = st.dictionaries(st.text(min_size=1, max_size=4), values, max_size=4)


@given(records, records)
def test_a_seal_is_of_one_record(record: dict[str, Any], other: dict[str, Any]) -> None:
    kept = sealed(record)
    assert is_sealed(kept) and is_sealed(dict(reversed(kept.items())))
    assert is_sealed(kept | other) == (sealed(record | other) == kept | other)
    assert not is_sealed(record)


def folder_of(path: Path, **contents: bytes) -> dict[str, str]:
    for name, content in contents.items():
        (path / f"{name}.bin").write_bytes(content)
    files = {f"{name}.bin": digest(path / f"{name}.bin") for name in contents}
    write_checksums(path, files, format=3, run="a")
    return files


def test_a_digest_is_sha256(tmp_path: Path) -> None:
    files = folder_of(tmp_path, b=b"two" * 1000, a=b"")
    assert files["a.bin"] == hashlib.sha256(b"").hexdigest()
    assert files["b.bin"] == hashlib.sha256(b"two" * 1000).hexdigest()
    found = read_checksums(tmp_path, 3)
    assert (found["files"], found["run"]) == (files, "a")
    verify(tmp_path, found["files"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda path: path.write_bytes(b"one!"), "a.bin: does not match its checksum"),
        (lambda path: path.unlink(), "a.bin: is missing"),
        (lambda path: path.rename(path.with_name("c")) and path.symlink_to("c"), "a.bin: is a link"),
        (lambda path: path.unlink() or path.mkdir(), "a.bin: is not a plain file"),
        (lambda path: path.unlink() or os.mkfifo(path), "a.bin: is not a plain file"),
    ],
    ids=["altered", "missing", "link", "folder", "pipe"],
)
def test_a_file_that_is_another_is_named(tmp_path: Path, change: Any, said: str) -> None:
    files = folder_of(tmp_path, a=b"one", b=b"two")
    change(tmp_path / "a.bin")
    with pytest.raises(ConfigError, match=said):
        verify(tmp_path, files)


@pytest.mark.parametrize("name", ["../a.bin", "a/b.bin", "/a.bin", ".a.bin", "", "a", "a.bin\n", "a..bin", "a.bin/"])
def test_names_lead_out_of_no_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.bin").touch()
    with pytest.raises(ConfigError, match="names a file"):
        plain_file(tmp_path, name)
    assert plain_file(tmp_path, "a.bin") == tmp_path / "a.bin"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace('"a"', '"b"'), "is damaged"),
        (lambda text: text.replace('"format": 3', '"format": 4'), "is of format 4, and this version reads format 3"),
        (lambda text: "[]", "is damaged"),
        (lambda text: text[:-3], "not valid JSON"),
    ],
    ids=["altered", "format", "list", "cut"],
)
def test_a_record_that_was_not_written_is_refused(tmp_path: Path, change: Any, said: str) -> None:
    folder_of(tmp_path, a=b"one")
    (tmp_path / FILE).write_text(change((tmp_path / FILE).read_text()))
    with pytest.raises(ConfigError, match=said):
        read_checksums(tmp_path, 3)
    (tmp_path / FILE).unlink()
    with pytest.raises(ConfigError, match=r"is missing: .* train it again"):
        read_checksums(tmp_path, 3)


def test_weights_are_as_long_as_they_say(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"a": np.zeros(3, np.float32), "b": np.ones((2, 2))}, path, metadata={"format": "np"})
    assert fills_its_length(path)
    whole = path.read_bytes()
    for content in (whole + b"\0", whole[:-1], whole[:20], b"", b"\xff" * 8 + whole[8:], whole[:8] + b"[" + whole[9:]):
        path.write_bytes(content)
        assert not fills_its_length(path)


def test_a_link_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "file").touch()
    names = ("folder", "link", "file", "none")
    assert [plain_folder(tmp_path / name) for name in names] == [True, False, False, False]
