"""Errors of the system and of libraries in one line, with a remedy that the command offers."""

import errno
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from foretell.cli.problems import explain


@pytest.mark.parametrize(
    ("problem", "options", "line"),
    [
        (
            OSError(errno.ENOSPC, "x", "f"),
            ["resume"],
            "f: the disk is full; free some space and continue with --",
        ),
        (
            OSError(errno.ENOSPC, "x", "f"),
            ["out"],
            "f: the disk is full; free some space and run it again; no partial output is left",
        ),
        (OSError(errno.ENOSPC, "x"), [], "the disk is full; free some space and run it again; no partial output"),
        (
            OSError(errno.ENOSPC, "x", ".st.partial/train"),
            [],
            ".st.partial/train: the disk is full; free some space and run it again; it continues from .st.partial",
        ),
        (
            OSError(errno.EROFS, "Read-only file system", "/x/f"),
            ["out"],
            "/x/f: read-only file system; choose a writable --out",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "/x/f"), [], "/x/f: permission denied; change its perm"),
        (OSError(errno.EMFILE, "Too many open files", "f"), [], "f: too many open files; raise the limit with ulimit"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "f"), [], "f: file name too long; use a shorter name"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "f\n"), [], r"f\n: no such file or directory"),
        (MemoryError(), [], "out of memory; use a smaller model"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried …"), [], "out of memory; use a smaller"),
        (EOFError("Compressed file ended before the end-of-stream marker was reached"), [], "a file is truncated"),
        (ValueError("a\nb\x1b" + "x" * 5000), [], r"ValueError: a\nb\x1bxxx"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_the_system_refuses_has_a_remedy_that_the_verb_has(
    problem: Exception, options: list[str], line: str
) -> None:
    error, code = explain(problem, options)
    assert str(error).startswith(line)
    assert code == 1
    assert "\n" not in str(error)
    assert len(str(error)) < 1200


def test_the_remedy_follows_the_verb(monkeypatch: pytest.MonkeyPatch, run: Path, said: Any, tmp_path: Path) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "x"))

    monkeypatch.setattr("foretell.tools.use.convert.export_run", full)
    monkeypatch.setattr("foretell.api.train.run_recipe", full)
    code, out, err = said("export", run, "--out", tmp_path / "x", "--json")
    assert code == 1
    assert json.loads(out)["error"]["file"] == str(tmp_path / "x")
    assert "--resume" not in err
    assert "--resume" in said("train", "char-lstm")[2]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a Linux device")
def test_output_that_is_full_is_one_line_too() -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-P", "-m", "foretell", "bench", "--json"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: the disk is full")
    assert done.stderr.count("\n") == 1
