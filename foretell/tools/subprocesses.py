"""Several trainings in turn, each in a process of its own, that can be stopped and resumed as a whole.

Their folder holds plan and results (`race.json`, `trials.json`, `transfer.json`), `recipes/`, and one run per training.
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

from foretell.artifacts import remove_dead_drafts, write_atomic, write_json
from foretell.errors import ConfigError
from foretell.recipe.recipe import Recipe
from foretell.run import Record
from foretell.strict_json import parse_json
from foretell.training.monitor import Monitor
from foretell.training.signals import ending_signals
from foretell.trees import Tree
from foretell.trust import trusts_everything


class Failed(RuntimeError):
    """Another foretell process ended with an error."""

    def __init__(self, verb: str, subject: str, record: Mapping[str, Any], code: int):
        reported = record.get("error")
        error = reported if isinstance(reported, Mapping) else {"what": reported}
        what = str(error.get("what") or "failed")
        message = str(ConfigError(what, file=error.get("file"), line=error.get("line"), remedy=error.get("remedy")))
        names_it = message.startswith((f"{subject}:", f"{subject}/"))
        super().__init__(f"foretell {verb}: {message}" if names_it else f"foretell {verb} {subject}: {message}")
        self.wrong_input = code == 2


def begin(file: Path, plan: Tree, resume: bool) -> dict[str, Record]:
    """Create the folder of this file, or resume it with the same plan; return its results so far."""
    out, what = file.parent, file.stem
    if not file.exists():
        remove_dead_drafts(out)  # a start may have died before the file was there
        if out.exists() and any(out.iterdir()):
            raise ConfigError(f"{out} exists and has no {file.name}; choose another --out")
        out.mkdir(parents=True, exist_ok=True)
        write_json(file, plan | {"results": {}})
        return {}
    if not resume:
        raise ConfigError(f"{out} exists; add --resume to continue it, or choose another --out")
    stored = parse_json(file.read_bytes(), file, lenient=True)
    if not isinstance(stored, dict) or not isinstance(stored.get("results"), dict):
        raise ConfigError(f"does not hold the results of {what}", file=file, remedy="choose another --out")
    changed = [key for key in plan if stored.get(key) != plan[key]]
    if changed:
        raise ConfigError(
            f"{out} was started with another {changed[0]}; resume the {what} as begun, or choose another --out"
        )
    return dict(stored["results"])


def train(recipe: Recipe, folder: Path, *options: str, quiet: bool) -> Record:
    """Train a recipe in a folder, or resume it; return its summary: validation record and costs."""
    file = folder.parent / "recipes" / f"{folder.name}.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(file, recipe.text().encode())
    return child("train", str(file), "--out", str(folder), "--resume", *options, quiet=quiet)


def child(verb: str, *arguments: str, quiet: bool) -> Record:
    """Run another foretell process: its progress goes to stderr, its JSON result is returned.

    With `-P` it imports no modules from the current folder, which may be untrusted.
    """
    command = [sys.executable, "-P", "-m", "foretell", verb, *arguments, "--json"]
    command += ["--trust"] * trusts_everything()
    progress = subprocess.DEVNULL if quiet or Monitor.silent else None
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=progress, text=True) as process,
        forwarding_signals(process),
    ):
        output, _ = process.communicate()
    if process.returncode in (130, -signal.SIGINT, -signal.SIGTERM):
        raise KeyboardInterrupt
    try:
        result = json.loads(output.splitlines()[-1])
    except (IndexError, ValueError):
        result = {"error": exit_reason(process.returncode)}
    if process.returncode or not isinstance(result, dict):
        raise Failed(verb, arguments[0], result if isinstance(result, dict) else {}, process.returncode)
    return result


def exit_reason(code: int) -> str:
    """The reason given for the exit code of a process that printed none."""
    if code == -signal.SIGKILL:
        return "was killed; if it ran out of memory, use a smaller model or smaller batches"
    return f"exited with code {code}"


@contextmanager
def forwarding_signals(process: subprocess.Popen[str]) -> Iterator[None]:
    """Forward termination signals to the training, which saves and exits; then this process exits."""

    def forward(number: int, frame: FrameType | None) -> None:
        if number != signal.SIGINT:  # Ctrl-C reaches both processes
            process.send_signal(number)

    with ending_signals(forward):
        yield
