"""The runs below a folder: listed, sorted, filtered, and deleted with care."""

from __future__ import annotations

import contextlib
import math
import operator
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text
from safetensors import SafetensorError, safe_open

from foretell.artifacts import is_draft
from foretell.checksums import plain_file, read_record
from foretell.config import did_you_mean, read_toml
from foretell.errors import ConfigError
from foretell.run import RECIPE, Record, Run
from foretell.training.checkpoint import TrainState, find, pointed

COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}
KEYS = (
    "name", "recipe", "model", "parameters", "steps", "bits_per_byte", "lossy", "loss", "metric", "score", "when",
    "size_bytes", "state",
)  # fmt: skip


def list_runs(folder: Path, *, filters: Sequence[str] = (), sort: str | None = None) -> list[Record]:
    """The runs at or below a folder; links are not followed. Without `sort` in the order of their names."""
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; name the one in which your runs are")
    if sort is not None and sort.lstrip("-") not in KEYS:
        raise ConfigError(
            f"--sort {sort}: no such column{did_you_mean(sort, KEYS)} (known: {', '.join(KEYS)}; -loss: largest first)"
        )
    wanted = [parse_filter(text) for text in filters]
    found = [describe(Run(path), folder) for path in find_runs(folder)]
    kept = [record for record in found if all(keep(record) for keep in wanted)]
    if sort is None:
        return kept
    key = sort.lstrip("-")
    known = [record for record in kept if record[key] is not None]
    known.sort(key=operator.itemgetter(key), reverse=sort.startswith("-"))
    return known + [record for record in kept if record[key] is None]


def find_runs(folder: Path) -> list[Path]:
    """The run folders at or below a folder, sorted; what lies in a run is its own."""
    found = []
    for place, inner, _ in os.walk(folder):  # which does not follow links
        if is_run(Path(place)):
            found.append(Path(place))
            inner.clear()
        inner[:] = [name for name in inner if not is_draft(Path(name))]
    return sorted(found)


def is_run(path: Path) -> bool:
    """Whether a folder is one that `train` made."""
    return (path / "recipe.toml").is_file() and (path / "checkpoints").is_dir()


def describe(run: Run, folder: Path) -> Record:
    """What the list says of a run; None where it is not known. Figures are those that its checkpoints hold."""
    try:
        recipe = read_toml(plain_file(run.path, RECIPE))
    except ConfigError:  # one broken file does not hide the others
        recipe = {}
    problem, measured, last = "", {}, None
    try:
        if found := find(run, "last"):
            last = found[0].position()
        if found := find(run, "best"):
            measured = found[0].validation()
    except (ConfigError, OSError) as refused:
        problem = str(refused)
    name = run.path.relative_to(folder).as_posix()
    return {
        "name": name if name != "." else str(run.path),
        "recipe": recipe.get("name") or None,
        "model": model_of(recipe),
        "parameters": parameters(run),
        "steps": last.step if last else 0,
        "bits_per_byte": measured.get("bits_per_byte"),
        "lossy": measured.get("lossy"),
        "loss": measured.get("loss"),
        "metric": measured.get("metric"),
        "score": measured.get(measured.get("metric", "")),
        "when": started(run),
        "size_bytes": size_on_disk(run.path),
        "state": "training" if run.is_busy() else "damaged" if problem else state(last, recipe),
        "problem": problem,
    }


def model_of(recipe: Mapping[str, Any]) -> str:
    """The kind of model, with its cell or order where it has such a thing."""
    model = recipe.get("model", {})
    cell = model.get("cell")
    parts = [model.get("kind"), cell.get("kind") if isinstance(cell, Mapping) else cell, model.get("order")]
    return " ".join(str(part) for part in parts if part)


def parameters(run: Run) -> int | None:
    """How many numbers the last checkpoint holds, indices apart, from the headers of its files alone."""
    try:
        return sum(map(numbers_in, pointed(run, "last")[0].weight_files()))
    except (ConfigError, OSError, ValueError, KeyError, SafetensorError):
        return None


def numbers_in(file: Path) -> int:
    """How many numbers a file of tensors holds, indices apart."""
    with safe_open(file, framework="numpy") as tensors:
        parts = [tensors.get_slice(name) for name in tensors.keys()]  # noqa: SIM118
        return sum(int(math.prod(part.get_shape())) for part in parts if "F" in part.get_dtype())


def size_on_disk(path: Path) -> int:
    """The bytes of all files in a folder; links count by themselves, what goes away meanwhile does not count."""
    total = 0
    for place, _, files in os.walk(path):
        for name in files:
            with contextlib.suppress(FileNotFoundError):
                total += Path(place, name).lstat().st_size
    return total


def started(run: Run) -> str | None:
    """When it was started or last resumed."""
    try:
        resumed = run.read().checksums.get("resumed") or [read_record(run.environment_file)]
        return str(resumed[-1]["started"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def state(last: TrainState | None, recipe: Mapping[str, Any]) -> str:
    """How far a sound run came: finished, stopped (it can be resumed), or empty (nothing was saved)."""
    if last is None:
        return "empty"
    stages = max(len(recipe.get("stages", ())), 1)
    return "finished" if last.finished and last.stage == stages - 1 else "stopped"


def parse_filter(text: str) -> Callable[[Record], bool]:
    """`bits_per_byte<2` or `recipe=char-lstm` as a condition; what is not known is on neither side."""
    match = re.fullmatch(r"\s*([a-z_]+)\s*(<=|>=|!=|==|<|>|=)\s*(.+?)\s*", text)
    if not match:
        raise ConfigError(f"--filter {text}: write a column, a comparison and a value, as in 'bits_per_byte<2'")
    key, sign, given = match.groups()
    if key not in KEYS:
        raise ConfigError(f"--filter {text}: no column {key!r}{did_you_mean(key, KEYS)} (known: {', '.join(KEYS)})")
    compares = COMPARISONS[sign]

    def keep(record: Record) -> bool:
        value = record[key]
        if value is None:
            return False
        if isinstance(value, str):
            return compares(value, given)
        try:
            return compares(value, float(given))
        except ValueError:
            raise ConfigError(f"--filter {text}: {key} is a number, {given!r} is none") from None

    return keep


# --- deleting -------------------------------------------------------------------------------------


def deletable(folder: Path, names: Sequence[str]) -> list[Path]:
    """The folders of runs by their names in the list; a `ConfigError` unless each is a run below the folder."""
    return [checked(folder, name) for name in names]


def checked(folder: Path, name: str) -> Path:
    """One of them. No part of its path below the folder may be a link or lead out of it."""
    path = folder / name
    parts = Path(name).parts
    if not parts or Path(name).is_absolute() or ".." in parts:
        raise ConfigError(f"--delete {name}: give a name as `foretell runs {folder}` lists it")
    steps = [folder.joinpath(*parts[: n + 1]) for n in range(len(parts))]
    if any(step.is_symlink() for step in steps):
        raise ConfigError(f"--delete {name}: is a link or lies behind one; delete what it leads to by its own name")
    if not is_run(path):
        hint = did_you_mean(name, [found.relative_to(folder).as_posix() for found in find_runs(folder)])
        raise ConfigError(f"--delete {name}: {path} is not a run{hint}; nothing was deleted")
    if Run(path).is_busy():
        raise ConfigError(f"--delete {name}: it is being trained by another process; nothing was deleted")
    return path


def delete(paths: Sequence[Path]) -> None:
    """Delete run folders, each only while no process trains it."""
    for path in paths:
        with Run(path).alone():
            shutil.rmtree(path)  # which removes links, never what they lead to


# --- for people -----------------------------------------------------------------------------------


def validated(run: Mapping[str, Any]) -> str:
    """Bits per byte of text, or of a task its metric; nothing of a model that has neither."""
    if run["metric"] is not None:
        return "" if run["score"] is None else f"{run['metric'].replace('_', ' ')} {run['score']:.4f}"
    return "" if run["bits_per_byte"] is None else f"{run['bits_per_byte']:.4f}{'*' if run['lossy'] else ''}"


def render(result: Mapping[str, Any]) -> Table:
    """The list as a table."""
    table = Table(title=f"{len(result['runs'])} runs in {result['folder']}", title_justify="left")
    for heading in ("name", "recipe", "model"):
        table.add_column(heading, overflow="fold")
    for heading in ("parameters", "steps"):
        table.add_column(heading, justify="right")
    table.add_column("bits/byte, or metric", justify="right", min_width=15)
    table.add_column("size", justify="right")
    table.add_column("started")
    table.add_column("state")
    for run in result["runs"]:
        table.add_row(
            run["name"],
            run["recipe"] or "",
            run["model"],
            "" if run["parameters"] is None else f"{run['parameters']:,}",
            f"{run['steps']:,}",
            validated(run),
            f"{run['size_bytes'] / 2**20:,.1f} MiB",
            (run["when"] or "")[:16].replace("T", " "),
            run["state"],
        )
    notes = [run["problem"] for run in result["runs"] if run["problem"]]
    if any(run["lossy"] for run in result["runs"]):
        notes.append("* tokens hold less than the text: compare such a figure among runs with the same tokenizer only")
    table.caption, table.caption_justify = Text("\n".join(notes)) if notes else None, "left"
    return table
