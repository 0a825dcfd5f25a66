"""Files and folders that appear whole or not at all, whatever ends the writing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from foretell.artifacts import is_draft, naming, whole_file, whole_folder, write_atomic, write_tensors

KINDS = {
    "file": "with whole_file(out) as stream: stream.write(b'half'); stream.flush(); wait()",
    "folder": "with whole_folder(out) as draft: (draft / 'part').write_bytes(b'half'); wait()",
}
SCRIPT = """
import sys, time
from pathlib import Path
from foretell.artifacts import whole_file, whole_folder
out = Path(sys.argv[1])
def wait():
    print("half", flush=True)
    time.sleep(60)
"""


def drafts(folder: Path) -> list[Path]:
    return [item for item in folder.iterdir() if is_draft(item)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_process_leaves_nothing_behind_for_long(kind: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-c", SCRIPT + KINDS[kind], str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"half\n"
        write_atomic(tmp_path / "other", b"")
        assert len(drafts(tmp_path)) == 1  # its process lives
        process.send_signal(signal.SIGKILL)
    assert not out.exists() and len(drafts(tmp_path)) == 1
    write_atomic(tmp_path / "other", b"")
    assert drafts(tmp_path) == []
    with whole_folder(out) if kind == "folder" else whole_file(out):
        pass
    assert out.exists()


@pytest.mark.parametrize("problem", [ValueError, KeyboardInterrupt, OSError])
def test_what_fails_leaves_what_was_there(problem: type[BaseException], tmp_path: Path) -> None:
    write_atomic(tmp_path / "file", b"before")
    with pytest.raises(problem), whole_file(tmp_path / "file") as stream:
        stream.write(b"half")
        raise problem
    with pytest.raises(problem), whole_folder(tmp_path / "folder") as draft:
        (draft / "part").write_bytes(b"half")
        raise problem
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"before"


def test_a_folder_takes_the_place_of_an_empty_one_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_bytes(b"kept")
    (tmp_path / "link").symlink_to("empty")
    (tmp_path / "dangling").symlink_to("nowhere")
    for taken in ("full", "link", "dangling", "full/file"):
        with pytest.raises(FileExistsError) as raised, whole_folder(tmp_path / taken):
            raise AssertionError("it is refused before the work")
        assert raised.value.filename == str(tmp_path / taken)
    monkeypatch.chdir(tmp_path / "empty")
    with whole_folder(Path()) as draft:
        (draft / "part").write_bytes(b"whole")
    assert (tmp_path / "empty" / "part").read_bytes() == b"whole"
    assert (tmp_path / "full" / "file").read_bytes() == b"kept"


def test_of_two_that_fill_the_same_folder_the_first_wins(tmp_path: Path) -> None:
    with pytest.raises(OSError) as raised, whole_folder(tmp_path / "out") as late:
        (late / "part").write_bytes(b"late")
        with whole_folder(tmp_path / "out") as early:
            (early / "part").write_bytes(b"early")
    assert raised.value.filename == str(tmp_path / "out")
    assert (tmp_path / "out" / "part").read_bytes() == b"early" and drafts(tmp_path) == []


def test_a_folder_is_no_place_for_a_file(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError) as raised, whole_file(tmp_path):
        raise AssertionError("it is refused before the work")
    assert raised.value.filename == str(tmp_path)


def test_errors_name_the_place_and_not_the_draft(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised, whole_folder(tmp_path / "out") as draft:
        (draft / "inner" / "part").write_bytes(b"")
    assert raised.value.filename == str(tmp_path / "out" / "inner" / "part")
    with pytest.raises(OSError, match="No space left") as full, whole_file(tmp_path / "file"):
        raise OSError(28, "No space left on device")
    assert full.value.filename == str(tmp_path / "file")


def test_a_draft_taken_for_dead_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may look at the folder between the making of a draft and its locking."""
    import foretell.artifacts as artifacts

    lock, left = artifacts.lock, [2]

    def late(descriptor: int) -> None:
        if left[0]:
            left[0] -= 1
            for draft in drafts(tmp_path):
                draft.rmdir() if draft.is_dir() else draft.unlink()
        lock(descriptor)

    monkeypatch.setattr(artifacts, "lock", late)
    with whole_file(tmp_path / "file") as stream:
        stream.write(b"whole")
    left[0] = 2
    with whole_folder(tmp_path / "folder") as draft:
        (draft / "part").write_bytes(b"whole")
    assert (tmp_path / "file").read_bytes() == (tmp_path / "folder" / "part").read_bytes() == b"whole"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_a_pipe_named_like_a_draft_blocks_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".x.0123abcd.draft")
    begin = time.monotonic()
    write_atomic(tmp_path / "file", b"whole")
    assert time.monotonic() - begin < 5


def test_tensors_on_a_full_disk(tmp_path: Path) -> None:
    write_tensors(tmp_path / "small", {"a": torch.arange(3)}, {"format": "pt"})
    with safe_open(tmp_path / "small", framework="pt") as file:
        assert file.get_tensor("a").tolist() == [0, 1, 2] and file.metadata() == {"format": "pt"}
    script = (
        "import resource, signal, sys, torch; from pathlib import Path; from foretell.artifacts import write_tensors; "
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); "
        "write_tensors(Path(sys.argv[1]), {'a': torch.ones(1000)})"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "large")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.stderr.splitlines()[-1] == f"OSError: [Errno 27] File too large: '{tmp_path / 'large'}'"
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


def test_what_the_system_refuses_has_a_name(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left") as refused, naming(tmp_path / "a"):
        raise OSError(28, "No space left on device")
    assert refused.value.filename == str(tmp_path / "a")
    with pytest.raises(FileNotFoundError) as missing, naming(tmp_path / "a"):
        (tmp_path / "b").read_bytes()
    assert missing.value.filename == str(tmp_path / "b")
