"""Trainings one after the other, each in a process of its own, as one work that can be stopped and gone on with.

The folder holds what is to be done and what came of it (`race.json`, `trials.json`), `recipes/`, and a run for each.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from foretell.artifacts import write_atomic, write_json
from foretell.config import Tree
from foretell.errors import ConfigError
from foretell.recipe.recipe import Recipe
from foretell.run import Record
from foretell.strict_json import parse_json
from foretell.training.signals import ending_signals
from foretell.trust import trusts_everything


class Failed(RuntimeError):
    """Another foretell process ended with an error."""

    def __init__(self, verb: str, subject: str, record: Mapping[str, Any], code: int):
        said = record.get("error")
        error = said if isinstance(said, Mapping) else {"what": said}
        what = str(error.get("what") or "failed")
        told = ConfigError(what, file=error.get("file"), line=error.get("line"), remedy=error.get("remedy"))
        super().__init__(f"foretell {verb} {subject}: {told}")
        self.wrong_input = code == 2


def begin(file: Path, plan: Tree, resume: bool) -> dict[str, Record]:
    """Make the folder of that file, or find it with the same plan; the results that it holds already."""
    out, what = file.parent, file.stem
    if not file.exists():
        if out.exists() and any(out.iterdir()):
            raise ConfigError(f"{out} exists and has no {file.name}; choose another --out")
        out.mkdir(parents=True, exist_ok=True)
        write_json(file, plan | {"results": {}})
        return {}
    if not resume:
        raise ConfigError(f"{out} exists; add --resume to go on with it, or choose another --out")
    before = parse_json(file.read_bytes(), file, lenient=True)
    if not isinstance(before, dict) or not isinstance(before.get("results"), dict):
        raise ConfigError(f"does not hold the results of {what}", file=file, remedy="choose another --out")
    changed = [key for key in plan if before.get(key) != plan[key]]
    if changed:
        raise ConfigError(
            f"{out} was started with another {changed[0]}; resume the {what} as begun, or choose another --out"
        )
    return dict(before["results"])


def train(recipe: Recipe, folder: Path, *options: str, quiet: bool) -> Record:
    """Train a recipe in that folder, or go on with it; its validation record and what it cost."""
    file = folder.parent / "recipes" / f"{folder.name}.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(file, recipe.text().encode())
    return child("train", str(file), "--out", str(folder), "--resume", *options, quiet=quiet)


def child(verb: str, *arguments: str, quiet: bool) -> Record:
    """Another foretell process; its progress goes to our stderr, its JSON comes back.

    It looks for no modules in the current folder (`-P`), where anybody may have put some.
    """
    command = [sys.executable, "-P", "-m", "foretell", verb, *arguments, "--json"]
    command += ["--trust"] * trusts_everything()
    progress = subprocess.DEVNULL if quiet else None
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=progress, text=True) as process, handing_on(process):
        output, _ = process.communicate()
    if process.returncode in (130, -signal.SIGINT, -signal.SIGTERM):
        raise KeyboardInterrupt
    try:
        result = json.loads(output.splitlines()[-1])
    except (IndexError, ValueError):
        result = {"error": ended(process.returncode)}
    if process.returncode or not isinstance(result, dict):
        raise Failed(verb, arguments[0], result if isinstance(result, dict) else {}, process.returncode)
    return result


def ended(code: int) -> str:
    """What an exit code says of a process that did not say anything itself."""
    if code == -signal.SIGKILL:
        return "was killed; if it was for memory, take a smaller model or smaller batches"
    return f"ended with {code}"


@contextmanager
def handing_on(process: subprocess.Popen[str]) -> Iterator[None]:
    """Signals to end reach the training, which saves and ends; then we end."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        if number != signal.SIGINT:  # Ctrl-C has reached it already
            process.send_signal(number)

    with ending_signals(pass_on):
        yield
