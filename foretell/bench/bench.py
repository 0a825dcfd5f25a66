"""Speed beside peers, measured in one go: child processes take turns, A B A B, and ratios are of neighbours.

What two runs of the same thing give differs by more than most differences of interest, and drifts. So every ratio is
that of two processes run one after the other; printed are its median and quartiles over all pairs, what the machine
gives at best, and how busy others kept it meanwhile.
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
from rich.table import Table

import foretell
from foretell.bench.workloads.kinds import WORKLOADS
from foretell.bench.workloads.workload import OURS, Side, Workload
from foretell.config import did_you_mean
from foretell.errors import ConfigError
from foretell.process import SPIN
from foretell.run import Record, processor
from foretell.tools.printing import plain


@dataclass(frozen=True)
class Settings:
    """How to measure."""

    pairs: int = 9
    threads: int = 2
    peers: tuple[str, ...] = ()
    """only these; none: all there are"""
    equal: bool = False
    """run each peer also with our settings of allocator and threads"""
    python: str = sys.executable
    """the interpreter of the peers, where they have an environment of their own"""
    tiny: bool = False


@dataclass(frozen=True)
class Entrant:
    """A side as it runs: peers may do so with our settings too."""

    side: Side
    equal: bool = False

    @property
    def name(self) -> str:
        """How it is called in results."""
        return f"{self.side.name}, our settings" if self.equal else self.side.name


def find_workload(name: str) -> Workload:
    """A workload by name."""
    if name not in WORKLOADS:
        raise ConfigError(f"no workload {name!r}{did_you_mean(name, WORKLOADS)} (known: {', '.join(WORKLOADS)})")
    return WORKLOADS[name]


def list_workloads() -> Record:
    """What can be measured, and beside what."""
    return {
        "workloads": [
            {"name": w.name, "text": w.text, "work": w.work, "sides": [side.name for side in w.sides]}
            for w in WORKLOADS.values()
        ]
    }


def bench(names: Sequence[str], settings: Settings) -> Record:
    """Measure workloads by name, one after the other."""
    workloads = [find_workload(name) for name in names]
    known = {side.name for workload in workloads for side in workload.sides[1:]}
    if odd := [peer for peer in settings.peers if peer not in known]:
        raise ConfigError(f"no peer {odd[0]!r}{did_you_mean(odd[0], known)} (known here: {', '.join(sorted(known))})")
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
    """What the machine gives at best."""
    workload = WORKLOADS["floors"]
    return run_child(workload, Entrant(workload.sides[0]), {}, settings)


def measure_child(name: str, side: str, settings: Settings) -> Record:
    """One side of one workload, once: for tools that pair for themselves."""
    workload = find_workload(name)
    found = workload.side(side)
    if found is None:
        sides = [one.name for one in workload.sides]
        raise ConfigError(f"{name} has no side {side!r}{did_you_mean(side, sides)} (known: {', '.join(sides)})")
    with tempfile.TemporaryDirectory(prefix="foretell-") as folder:
        inputs = workload.inputs(Path(folder), settings.tiny)
        record = run_child(workload, Entrant(found, settings.equal), inputs, settings)
    if "missing" in record:
        raise ConfigError(f"{side} needs {', '.join(record['missing'])}; install it, or name its --python")
    return record


def compare(workload: Workload, settings: Settings) -> Record:
    """All sides of a workload in turns, and how they relate to ours."""
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
    """Who runs, in order; ours first."""
    for side in workload.sides:
        if side.name == OURS:
            yield Entrant(side)
        elif not settings.peers or side.name in settings.peers:
            yield Entrant(side)
            if settings.equal:
                yield Entrant(side, equal=True)


def run_child(workload: Workload, entrant: Entrant, inputs: Mapping[str, str], settings: Settings) -> Record:
    """One measuring process; its record, with how many cores others kept busy meanwhile."""
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
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        raise RuntimeError(f"{workload.name}, {entrant.name}: {lines[-1]}")
    record: Record = json.loads(done.stdout.splitlines()[-1])
    if busy is not None and "cpu_seconds" in record:
        record["others"] = max(0.0, ((busy_seconds() or 0.0) - busy - record["cpu_seconds"]) / wall)
    return record


def environment_of(own: bool, threads: int) -> dict[str, str]:
    """The environment of a measuring process; a peer's is without what our command line has set for itself."""
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
    """Processor seconds this machine has worked so far, stolen ones included; None where it does not say."""
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
    """Medians of one side, and its seconds divided by ours, pair by pair: above 1 it is slower."""
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
    """A line on stderr, on the way."""
    Console(stderr=True, highlight=False).print(text, markup=False, soft_wrap=True)


# --- for people -----------------------------------------------------------------------------------


def render_list(result: Mapping[str, Any]) -> RenderableType:
    """The workloads."""
    table = plain()
    for item in result["workloads"]:
        table.add_row(item["name"], item["text"])
    return Group(table, "foretell bench NAME measures one; docs/results.md has what came out.")


def render(result: Mapping[str, Any]) -> RenderableType:
    """All that was measured."""
    parts: list[RenderableType] = [f"{result['processor'] or 'processor unknown'}, {result['cores']} cores"]
    parts.append(render_floors(result["floors"]))
    for found in result["results"]:
        parts.append(render_sides(found, result["threads"]))
        parts += [f"{name}: not measured, {why}" for name, why in found["not_measured"].items()]
    return Group(*parts)


def render_floors(floors: Mapping[str, Mapping[str, float]]) -> Table:
    """What the machine gives at best."""
    table = Table("floor", *floors, title="the machine", title_justify="left")
    for name in next(iter(floors.values())):
        table.add_row(name, *(f"{found[name]:,.1f}" for found in floors.values()))
    return table


def render_sides(found: Mapping[str, Any], threads: int) -> Table:
    """One workload's sides."""
    title = f"{found['workload']}: {found['pairs']} pairs, {threads} threads"
    versions = {item for side in found["sides"].values() for item in side["versions"].items()}
    caption = f"{found['work']}. Ratio: their seconds to ours, median and quartiles of all pairs; others: cores that "
    caption += f"others kept busy. {', '.join(f'{package} {number}' for package, number in sorted(versions))}."
    names = ("side", "seconds", "ratio", "CPU ratio", "memory", "others", "loss", "overhead")
    table = Table(*names, title=title, title_justify="left", caption=caption, caption_justify="left")
    for name, side in found["sides"].items():
        low, high = side["ratio_quartiles"]
        table.add_row(
            name,
            f"{side['seconds']:.3f}",
            "1" if name == OURS else f"{side['ratio']:.3f} ({low:.2f}-{high:.2f})",
            f"{side['cpu_ratio']:.3f}",
            f"{side['peak_memory_bytes'] / 2**20:,.0f} MiB",
            "" if side["others"] is None else f"{side['others']:.2f}",
            f"{side['loss']:.4f}" if "loss" in side else "",
            f"{side['overhead']:+.1%}" if "overhead" in side else "",
        )
    return table
