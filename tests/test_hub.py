"""Names on the hub, and files fetched from it and uploaded to it, through the library and a server on this machine."""

from pathlib import Path

import pytest
from hub_server import Hub, online

from foretell import hub
from foretell.errors import ConfigError

pytest.importorskip("huggingface_hub")
__all__ = ["online"]  # a fixture


def test_names() -> None:
    assert hub.parsed("hf:me/my-run.v2") == ("me/my-run.v2", None)
    assert hub.parsed(Path("hf:me/run@refs/pr/1")) == ("me/run", "refs/pr/1")
    for wrong in (
        "hf:me",
        "hf:me/",
        "hf:../run",
        "hf:me/run/more",
        "hf:me/run@",
        "hf:me/run@../x",
        "me/run",
        "hf:./me",
    ):
        with pytest.raises(ConfigError, match="write hf:OWNER/NAME"):
            hub.parsed(wrong)
    assert hub.is_on_hub("hf:me/run") and not hub.is_on_hub(Path("runs/hf"))
    assert hub.local("runs/a") == Path("runs/a") and hub.local("~/a") == Path.home() / "a"


def test_files_are_fetched_once_and_nothing_that_could_run(online: Hub) -> None:
    files = {"recipe.toml": b"x = 1", "checkpoints/step-1/weights.safetensors": b"\0\1", "config.json": b"{}"}
    others = {"evil.py": b"import os", "pytorch_model.bin": b"pickle", "data.pkl": b"", "README.md": b"hi"}
    online.repositories["me/run"] = files | others
    folder = hub.local("hf:me/run")
    found = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
    assert {name: file.read_bytes() for name, file in found.items()} == files
    assert not any(file.is_symlink() for file in found.values())
    before = len(online.asked)
    assert hub.local("hf:me/run") == folder and len(online.asked) == before


def test_what_cannot_be_fetched_leaves_nothing(online: Hub, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"hf:me/none: cannot be fetched: no such repository, or it is private; be on"
    ):
        hub.local("hf:me/none")
    online.repositories["me/code"] = {"train.py": b""}
    with pytest.raises(ConfigError, match="holds no files of a run"):
        hub.local("hf:me/code")
    assert list((tmp_path / "cache" / "hub").iterdir()) == []


def test_files_are_uploaded_as_one_commit(online: Hub, tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"\0\1\2")
    files = {"checkpoints/step-2/weights.safetensors": weights, "README.md": b"# A run"}
    address = hub.pushed("hf:me/run", files, public=False, message="Run a")
    assert "/me/run/commit/" in address and online.visibility == {"me/run": "private"}
    assert online.repositories["me/run"] == {
        "checkpoints/step-2/weights.safetensors": b"\0\1\2", "README.md": b"# A run",
    }  # fmt: skip
    online.repositories["me/run"] |= {"checkpoints/step-1/weights.safetensors": b"old", "onnx/model.onnx": b"theirs"}
    hub.pushed("hf:me/run", files, public=False, message="Run a")
    assert sorted(online.repositories["me/run"]) == [
        "README.md", "checkpoints/step-2/weights.safetensors", "onnx/model.onnx",
    ]  # fmt: skip
    assert sum("/commit/" in path for path in online.asked) == 2


def test_a_failed_upload_is_one_line(online: Hub) -> None:
    with pytest.raises(ConfigError, match=r"^hf:others/run: cannot be uploaded: .*; be online, and log in with"):
        hub.pushed("hf:others/run", {"README.md": b""}, public=True, message="")
    assert not online.visibility


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FORETELL_CACHE", str(tmp_path))
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(ConfigError, match=r"pip install 'foretell\[hf\]'"):
        hub.local("hf:me/run")
