"""Runs below a folder: listing, sorting, filtering and deleting."""

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

from safetensors import SafetensorError, safe_open

from foretell import units
from foretell.checksums import plain_file, read_record
from foretell.errors import ConfigError, did_you_mean, some_of
from foretell.evaluate.ranking import Standing, ranked
from foretell.run import Record, Run
from foretell.run_names import MEMBERS, RECIPE
from foretell.tools.run_folders import find_runs, is_run
from foretell.tools.tables import Column, ResponsiveTable
from foretell.training.checkpoint import TrainState, find, pointed
from foretell.trees import read_toml

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
    "name", "recipe", "model", "parameters", "steps", "bits_per_byte", "lossy", "unknown_rate", "loss",
    "objective_loss", "metric", "score", "when", "size_bytes", "state",
)  # fmt: skip
RANKS = (None, "bits_per_byte", "loss")
"""orders in which runs that are not ranked come last"""
LOSSY = "* Its tokens do not restore the text, so its figure is too low."
UNRANKED = "Not ranked: lossy, with other tokens than the rest, or with probabilities that do not sum to 1."


def list_runs(folder: Path, *, filters: Sequence[str] = (), sort: str | None = None) -> list[Record]:
    """The runs at or below a folder, sorted by name by default; links are not followed."""
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; name the folder of your runs")
    if sort is not None and sort.lstrip("-") not in KEYS:
        raise ConfigError(
            f"--sort {sort}: no such column{did_you_mean(sort, KEYS)}{some_of(KEYS, 'foretell runs --json')}; -loss: "
            "largest first"
        )
    conditions = [parse_filter(text) for text in filters]
    records = [describe(Run(path), folder) for path in find_runs(folder)]
    kept = with_ranks([record for record in records if all(condition(record) for condition in conditions)])
    key = "name" if sort is None else sort.lstrip("-")
    listed = [record for record in kept if record[key] is not None]
    listed.sort(key=operator.itemgetter(key), reverse=sort is not None and sort.startswith("-"))
    listed += [record for record in kept if record[key] is None]
    if (sort and key) in RANKS:
        listed.sort(key=lambda record: record["ranked"] is False)
    return listed


def with_ranks(records: Sequence[Record]) -> list[Record]:
    """The records with `ranked`: whether their bits per byte can be compared with those of the others; None where a run
    has none."""
    measured = [record for record in records if record["bits_per_byte"] is not None]
    standings = [Standing(r["tokenizer"], bool(r["lossy"]), bool(r["unnormalised"])) for r in measured]
    found = {record["name"]: rank for record, rank in zip(measured, ranked(standings), strict=True)}
    return [record | {"ranked": found.get(record["name"])} for record in records]


def describe(run: Run, folder: Path) -> Record:
    """The entry of a run in the list, with figures from its checkpoints; None for unknown ones."""
    try:
        recipe = read_toml(plain_file(run.path, RECIPE))
    except ConfigError:  # one broken run must not hide the others
        recipe = {}
    problem, measured, last = "", {}, None
    try:
        if saved := find(run, "last"):
            last = saved[0].position()
        if saved := find(run, "best"):
            measured = saved[0].validation()
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
        "unknown_rate": measured.get("unknown_rate"),
        "tokenizer": tokenizer(run),
        "unnormalised": run.unnormalised,
        "loss": measured.get("loss"),
        "objective_loss": measured.get("objective_loss"),
        "metric": measured.get("metric"),
        "score": measured.get(measured.get("metric", "")),
        "when": started(run),
        "size_bytes": size_on_disk(run.path),
        "state": "training" if run.is_busy() else "damaged" if problem else state(last, recipe),
        "problem": problem,
    }


def tokenizer(run: Run) -> str:
    """The checksum of its tokenizer; "" if the run has none."""
    with contextlib.suppress(ConfigError, OSError):
        return str(run.read().checksums["files"].get(run.tokenizer_file.name, ""))
    return ""


def model_of(recipe: Mapping[str, Any]) -> str:
    """Kind of the model, with its cell or order if it has one."""
    model = recipe.get("model", {})
    cell = model.get("cell")
    parts = [model.get("kind"), cell.get("kind") if isinstance(cell, Mapping) else cell, model.get("order")]
    return " ".join(str(part) for part in parts if part)


def parameters(run: Run) -> int | None:
    """Number of parameters in the last checkpoint, from the headers of its files, and in the members of a mixture."""
    try:
        inner = [parameters(Run(path)) or 0 for path in find_runs(run.path / MEMBERS)]
        return sum(map(numbers_in, pointed(run, "last")[0].weight_files())) + sum(inner)
    except (ConfigError, OSError, ValueError, KeyError, SafetensorError):
        return None


def numbers_in(file: Path) -> int:
    """Number of floating-point numbers in a file of tensors."""
    with safe_open(file, framework="numpy") as tensors:
        parts = [tensors.get_slice(name) for name in tensors.keys()]  # noqa: SIM118
        return sum(int(math.prod(part.get_shape())) for part in parts if "F" in part.get_dtype())


def size_on_disk(path: Path) -> int:
    """Bytes of all files in a folder; links are not followed, files deleted meanwhile are skipped."""
    total = 0
    for inner, _, files in os.walk(path):
        for name in files:
            with contextlib.suppress(FileNotFoundError):
                total += Path(inner, name).lstat().st_size
    return total


def started(run: Run) -> str | None:
    """Time when the run was started or last resumed."""
    try:
        resumed = run.read().checksums.get("resumed") or [read_record(run.environment_file)]
        return str(resumed[-1]["started"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def state(last: TrainState | None, recipe: Mapping[str, Any]) -> str:
    """State of an intact run: `finished`, `stopped` (resumable) or `empty` (without checkpoints)."""
    if last is None:
        return "empty"
    stages = max(len(recipe.get("stages", ())), 1)
    return "finished" if last.finished and last.stage == stages - 1 else "stopped"


def parse_filter(text: str) -> Callable[[Record], bool]:
    """Parse a condition such as `bits_per_byte<2` or `recipe=char-lstm`; unknown figures satisfy none."""
    match = re.fullmatch(r"\s*([a-z_]+)\s*(<=|>=|!=|==|<|>|=)\s*(.+?)\s*", text)
    if not match:
        raise ConfigError(f"--filter {text}: write a column, a comparison and a value, as in 'bits_per_byte<2'")
    key, sign, operand = match.groups()
    if key not in KEYS:
        raise ConfigError(
            f"--filter {text}: no column {key!r}{did_you_mean(key, KEYS)}{some_of(KEYS, 'foretell runs --json')}"
        )
    compares = COMPARISONS[sign]

    def keep(record: Record) -> bool:
        value = record[key]
        if value is None:
            return False
        if isinstance(value, str):
            return compares(value, operand)
        try:
            return compares(value, float(operand))
        except ValueError:
            raise ConfigError(f"--filter {text}: {key} is a number, {operand!r} is not") from None

    return keep


# --- deleting -------------------------------------------------------------------------------------


def deletable(folder: Path, names: Sequence[str]) -> list[Path]:
    """Folders of runs by their names in the list. Raises `ConfigError` unless each is a run below `folder`."""
    return [checked(folder, name) for name in names]


def checked(folder: Path, name: str) -> Path:
    """Folder of one run. No part of its path below `folder` may be a link or lead out of it."""
    path = folder / name
    parts = Path(name).parts
    if not parts or Path(name).is_absolute() or ".." in parts:
        raise ConfigError(f"--delete {name}: give a name as `foretell runs {folder}` lists it")
    steps = [folder.joinpath(*parts[: n + 1]) for n in range(len(parts))]
    if any(step.is_symlink() for step in steps):
        raise ConfigError(f"--delete {name}: is a link or below one; delete its target by its own name")
    if not is_run(path):
        hint = did_you_mean(name, [run.relative_to(folder).as_posix() for run in find_runs(folder)])
        raise ConfigError(f"--delete {name}: {path} is not a run{hint}; nothing was deleted")
    if Run(path).is_busy():
        raise ConfigError(f"--delete {name}: it is being trained by another process; nothing was deleted")
    return path


def delete(paths: Sequence[Path]) -> None:
    """Delete run folders, each locked against training."""
    for path in paths:
        with Run(path).alone():
            shutil.rmtree(path)  # removes links, never their targets


# --- table ----------------------------------------------------------------------------------------


def validated(run: Mapping[str, Any]) -> str:
    """The metric of a task, bits per byte of a language model, or the loss of another objective; empty if unknown."""
    if run["metric"] is not None:
        return "" if run["score"] is None else f"{run['metric'].replace('_', ' ')} {run['score']:.4f}"
    if run["objective_loss"] is not None:
        return f"objective loss {run['objective_loss']:.4f}"
    return "" if run["bits_per_byte"] is None else f"{run['bits_per_byte']:.4f}{'*' if run['lossy'] else ''}"


def render(result: Mapping[str, Any]) -> ResponsiveTable:
    """The list of runs; those that are not ranked below a line, where they are last."""
    runs = result["runs"]
    score = "bits/byte" if all(run["metric"] is None and run["objective_loss"] is None for run in runs) else "score"
    table = ResponsiveTable(
        Column.names("name"),
        Column.words("model", 3),
        Column(score),
        Column.words("state", 2),
        Column("parameters", 5),
        Column("steps", 6),
        Column.words("started", 4),
        Column("size", 7),
        Column.names("recipe", 8),
        title=f"{len(runs)} {'run' if len(runs) == 1 else 'runs'} in {result['folder']}",
    )
    below = next((n for n, run in enumerate(runs) if all(rest["ranked"] is False for rest in runs[n:])), len(runs))
    for number, run in enumerate(runs):
        if number == below:
            table.section("not ranked")
        parameters = "" if run["parameters"] is None else units.count(run["parameters"])
        facts = (parameters, f"{run['steps']:,}", started_at(run), units.size(run["size_bytes"]))
        table.add(run["name"], run["model"], validated(run), run["state"], *facts, run["recipe"] or "")
    table.notes += [LOSSY] * any(run["lossy"] for run in runs)
    table.notes += [UNRANKED] * any(run["ranked"] is False for run in runs)
    table.notes += [run["problem"] for run in runs if run["problem"]]
    return table


def started_at(run: Mapping[str, Any]) -> str:
    """Date and time of the start, to the minute."""
    return (run["when"] or "")[:16].replace("T", " ")
