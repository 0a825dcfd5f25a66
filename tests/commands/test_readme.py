"""Every foretell command and the Python example of the README run, in order, in an empty folder."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"


def blocks(language: str) -> list[str]:
    """The README's code blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def commands() -> list[list[str]]:
    """The foretell commands of the README's shell blocks."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [shlex.split(line) for line in lines if line.startswith("foretell ")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the reader has it: the README, and the run that the demo leaves (here a much shorter one)."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "README.md").write_bytes(README.read_bytes())
    text = folder / "text.txt"
    text.write_text("".join(f"line {i} of a short text, number {i * i}\n" for i in range(2000)))
    run(
        folder,
        ["train", "demo", "limit=3steps", f"data.corpus={text}", "data.tokenizer.size=300", "--out", "runs/demo"],
    )
    return folder


def run(folder: Path, arguments: list[str], program: tuple[str, ...] = ("-m", "foretell")) -> str:
    """What the command prints; it has to succeed."""
    environment = os.environ | {"FORETELL_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *program, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{arguments}: {done.stderr[-2000:]}"
    return done.stdout


def test_there_are_commands() -> None:
    assert len(commands()) >= 7


@pytest.mark.timeout(400)  # a process for each
def test_shell_commands(folder: Path) -> None:
    for name, *arguments in commands():
        assert name == "foretell"
        printed = run(folder, arguments)
        assert printed.strip(), f"{arguments} printed nothing"
        if "--json" in arguments:
            assert json.loads(printed)["bits_per_byte"] > 0


def test_python_example(folder: Path) -> None:
    (example,) = blocks("python")
    printed = run(folder, [example], program=("-c",))
    assert "(2, 128)" in printed
