"""Speed compared with peers: processes alternate, A B A B, and ratios are taken between neighbours.

Times of equal runs differ by more than most differences of interest, and drift. So every ratio is that of two
consecutive processes. Results are its median and quartiles over all pairs, the limits of the machine, and the load of
other programs.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType

import foretell
from foretell import units
from foretell.bench.workloads.kinds import WORKLOADS
from foretell.bench.workloads.workload import OURS, Side, Workload
from foretell.errors import ConfigError, did_you_mean, some_of
from foretell.process import SPIN
from foretell.run import Record, processor
from foretell.tools.tables import Column, ResponsiveTable, facts, spaced


@dataclass(frozen=True)
class Settings:
    """Settings of a measurement."""

    pairs: int = 9
    threads: int = 2
    peers: tuple[str, ...] = ()
    """only these peers; empty: all"""
    equal: bool = False
    """also run each peer with the allocator and thread settings of foretell"""
    python: str = sys.executable
    """interpreter of the peers, if they have an environment of their own"""
    tiny: bool = False


@dataclass(frozen=True)
class Entrant:
    """A side with its settings."""

    side: Side
    equal: bool = False

    @property
    def name(self) -> str:
        """Name in results."""
        return f"{self.side.name}, our settings" if self.equal else self.side.name


def find_workload(name: str) -> Workload:
    """A workload by name."""
    if name not in WORKLOADS:
        raise ConfigError(f"no workload {name!r}{did_you_mean(name, WORKLOADS)}{some_of(WORKLOADS, 'foretell bench')}")
    return WORKLOADS[name]


def list_workloads() -> Record:
    """All workloads with their sides."""
    return {
        "workloads": [
            {"name": w.name, "text": w.text, "work": w.work, "sides": [side.name for side in w.sides]}
            for w in WORKLOADS.values()
        ]
    }


def bench(workload_names: Sequence[str], settings: Settings) -> Record:
    """Measure workloads by name, in order."""
    workloads = [find_workload(name) for name in workload_names]
    known = {side.name for workload in workloads for side in workload.sides[1:]}
    if unknown := [peer for peer in settings.peers if peer not in known]:
        raise ConfigError(
            f"no peer {unknown[0]!r}{did_you_mean(unknown[0], known)} (known here: {', '.join(sorted(known))})"
        )
    floors = measure_floors(settings)
    return {
        "foretell": foretell.__version__,
        "python": sys.version.split()[0],
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": settings.threads,
        "tiny": settings.tiny,
        "floors": floors["floors"],
        "results": [compare(workload, settings) for workload in workloads if workload.name != "floors"],
    }


def measure_floors(settings: Settings) -> Record:
    """Measure the limits of the machine."""
    workload = WORKLOADS["floors"]
    return run_child(workload, Entrant(workload.sides[0]), {}, settings)


def measure_child(name: str, side: str, settings: Settings) -> Record:
    """Run one side of a workload once, for tools that do their own pairing."""
    workload = find_workload(name)
    chosen = workload.side(side)
    if chosen is None:
        sides = [known.name for known in workload.sides]
        raise ConfigError(f"{name} has no side {side!r}{did_you_mean(side, sides)} (known: {', '.join(sides)})")
    with tempfile.TemporaryDirectory(prefix="foretell-") as folder:
        inputs = workload.inputs(Path(folder), settings.tiny)
        record = run_child(workload, Entrant(chosen, settings.equal), inputs, settings)
    if "missing" in record:
        raise ConfigError(f"{side} needs {', '.join(record['missing'])}; install it, or name its --python")
    return record


def compare(workload: Workload, settings: Settings) -> Record:
    """Measure all sides of a workload in alternation, with ratios to ours."""
    entrants = list(entrants_of(workload, settings))
    records: dict[str, list[Record]] = {entrant.name: [] for entrant in entrants}
    missing: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory(prefix="foretell-") as folder:
        inputs = workload.inputs(Path(folder), settings.tiny)
        for number in range(settings.pairs):
            for entrant in entrants:
                if entrant.name in missing:
                    continue
                record = run_child(workload, entrant, inputs, settings)
                if "missing" in record:
                    missing[entrant.name] = record["missing"]
                    continue
                records[entrant.name].append(record)
                say(f"{workload.name} {number + 1}/{settings.pairs}  {entrant.name}  {record['seconds']:.3f} s")
    measured = {name: runs for name, runs in records.items() if runs}
    ours = measured[OURS]
    return {
        "workload": workload.name,
        "work": workload.work,
        "pairs": settings.pairs,
        "sides": {name: summary(runs, ours) for name, runs in measured.items()},
        "not_measured": {name: f"not installed: {', '.join(names)}" for name, names in missing.items()},
    }


def entrants_of(workload: Workload, settings: Settings) -> Iterator[Entrant]:
    """The sides to run, in order, ours first."""
    for side in workload.sides:
        if side.name == OURS:
            yield Entrant(side)
        elif not settings.peers or side.name in settings.peers:
            yield Entrant(side)
            if settings.equal:
                yield Entrant(side, equal=True)


def run_child(workload: Workload, entrant: Entrant, inputs: Mapping[str, str], settings: Settings) -> Record:
    """Run a worker; return its record, with the number of cores that other programs kept busy."""
    own = entrant.side.name == OURS
    command = [sys.executable if own else settings.python, "-m", "foretell.bench.worker", workload.name]
    command += [entrant.side.name, "--inputs", json.dumps(dict(inputs)), "--threads", str(settings.threads)]
    command += ["--settings"] * entrant.equal + ["--tiny"] * settings.tiny
    busy, begin = busy_seconds(), time.perf_counter()
    environment = environment_of(own, settings.threads)
    command += ["--started", repr(time.time())]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    wall = time.perf_counter() - begin
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise RuntimeError(f"{workload.name}, {entrant.name}: {lines[-1]}")
    record: Record = json.loads(done.stdout.splitlines()[-1])
    if busy is not None and "cpu_seconds" in record:
        record["others"] = max(0.0, ((busy_seconds() or 0.0) - busy - record["cpu_seconds"]) / wall)
    return record


def environment_of(own: bool, threads: int) -> dict[str, str]:
    """The environment of a worker; that of a peer lacks the settings of foretell's command line."""
    environment = dict(os.environ)
    if not own and environment.get("GOMP_SPINCOUNT") == SPIN:
        del environment["GOMP_SPINCOUNT"]
    here = str(Path(foretell.__file__).parent.parent)
    paths = [here, *filter(None, [environment.get("PYTHONPATH")])]
    count = str(threads)
    return environment | {
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONSAFEPATH": "1",  # no modules from the current folder
        "OMP_NUM_THREADS": count,
        "RAYON_NUM_THREADS": count,
        "TOKENIZERS_PARALLELISM": "true" if threads > 1 else "false",
        "HF_HUB_OFFLINE": "1",
    }


def busy_seconds() -> float | None:
    """CPU seconds that the machine was busy so far, stolen ones included; None if unknown."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    user, nice, system, _idle, _wait, irq, softirq, steal = map(int, stat.read_text().split(maxsplit=9)[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


COPIED = ("loss", "tokens", "bytes", "difference")
MEDIANS = (
    "seconds",
    "cpu_seconds",
    "first_step_seconds",
    "step_seconds",
    "tokens_per_second",
    "megabytes_per_second",
    "overhead",
)


def summary(runs: list[Record], ours: list[Record]) -> Record:
    """Medians of a side, and ratios of its seconds to ours, pair by pair: above 1 it is slower."""
    ratios = [run["seconds"] / own["seconds"] for run, own in zip(runs, ours, strict=True)]
    cpu = [run["cpu_seconds"] / own["cpu_seconds"] for run, own in zip(runs, ours, strict=True)]
    quartiles = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return {
        **{key: statistics.median(run[key] for run in runs) for key in MEDIANS if key in runs[0]},
        **{key: runs[-1][key] for key in COPIED if key in runs[-1]},
        "ratio": statistics.median(ratios),
        "ratio_quartiles": [quartiles[0], quartiles[2]],
        "cpu_ratio": statistics.median(cpu),
        "peak_memory_bytes": max(run["peak_memory_bytes"] for run in runs),
        "others": statistics.median(run["others"] for run in runs) if "others" in runs[0] else None,
        "keeps_freed_memory": runs[0]["keeps_freed_memory"],
        "versions": runs[0]["versions"],
        "each": [run["seconds"] for run in runs],
    }


def say(text: str) -> None:
    """Print a line of progress on stderr."""
    Console(stderr=True, highlight=False).print(text, markup=False, soft_wrap=True)


# --- tables ---------------------------------------------------------------------------------------


def render_list(result: Mapping[str, Any]) -> RenderableType:
    """The list of workloads."""
    table = facts((item["name"], item["text"]) for item in result["workloads"])
    return Group(table, "foretell bench NAME measures one; results are in docs/results.md.")


def render(result: Mapping[str, Any]) -> RenderableType:
    """All measurements."""
    machine = f"{result['processor'] or 'processor unknown'}, {result['cores']} cores"
    parts: list[RenderableType] = [Group(machine, render_floors(result["floors"]))]
    for compared in result["results"]:
        missing = (f"{name}: not measured, {reason}" for name, reason in compared["not_measured"].items())
        parts.append(Group(render_sides(compared, result["threads"]), *missing))
    return spaced(*parts)


def render_floors(floors: Mapping[str, Mapping[str, float]]) -> ResponsiveTable:
    """The limits of the machine."""
    table = ResponsiveTable(Column.names("floor"), *map(Column, floors), title="limits of the machine")
    for name in next(iter(floors.values())):
        table.add(name, *(f"{rates[name]:,.1f}" for rates in floors.values()))
    return table


def render_sides(compared: Mapping[str, Any], threads: int) -> ResponsiveTable:
    """The sides of a workload."""
    versions = {item for side in compared["sides"].values() for item in side["versions"].items()}
    table = ResponsiveTable(
        Column.names("side"),
        Column("seconds"),
        Column("ratio"),
        Column("CPU ratio", 3),
        Column("memory", 2),
        Column("others", 5),
        Column("loss", 4),
        Column("overhead", 6),
        title=f"{compared['workload']}: {compared['pairs']} pairs, {threads} threads",
        notes=[
            f"{compared['work']}. Ratio: their seconds to ours, median and quartiles over all pairs; others: cores "
            f"kept busy by other programs. {', '.join(f'{package} {number}' for package, number in sorted(versions))}."
        ],
    )
    for name, side in compared["sides"].items():
        table.add(name, *side_cells(name, side))
    return table


def side_cells(name: str, side: Mapping[str, Any]) -> tuple[str, ...]:
    """The cells of a side after its name; empty where it has no such figure."""
    low, high = side["ratio_quartiles"]
    return (
        f"{side['seconds']:.3f}",
        "1" if name == OURS else f"{side['ratio']:.3f} ({low:.2f}-{high:.2f})",
        f"{side['cpu_ratio']:.3f}",
        units.size(side["peak_memory_bytes"]),
        "" if side["others"] is None else f"{side['others']:.2f}",
        f"{side['loss']:.4f}" if "loss" in side else "",
        f"{side['overhead']:+.1%}" if "overhead" in side else "",
    )
