"""Worker process of `foretell bench`: runs one side of a workload once and prints one JSON line.

    python -m foretell.bench.worker WORKLOAD SIDE --inputs '{...}' [--threads 2] [--settings] [--tiny]

Our side runs with the allocator and thread settings of the command line; a peer runs without them, or with them by
`--settings`. Imports only the standard library and what the side needs.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import sys
import time
from typing import Any

from foretell.bench.workloads.kinds import WORKLOADS
from foretell.bench.workloads.workload import OURS, Job, Side
from foretell.process import active, peak_memory, prepare_process


def main() -> None:
    """Measure and print the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("side")
    parser.add_argument("--inputs", type=json.loads, default={})
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--settings", action="store_true")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--started", type=float, default=time.time())
    options = parser.parse_args()
    side = WORKLOADS[options.workload].side(options.side)
    if side is None:
        parser.error(f"no side {options.side!r}")
    record: dict[str, Any] = {"workload": options.workload, "side": side.name, "threads": options.threads}
    if missing := [name for name in side.needs if version(name) is None]:
        record |= {"missing": missing}
    else:
        if side.name == OURS or options.settings:
            prepare_process()
        job = Job(options.threads, options.tiny, options.started, options.inputs)
        record |= side.measure(job) | facts(side)
    sys.stdout.write(json.dumps(record) + "\n")


def facts(side: Side) -> dict[str, Any]:
    """Facts recorded with a measurement."""
    return {
        "cpu_seconds": time.process_time(),
        "peak_memory_bytes": peak_memory(),
        "keeps_freed_memory": active(),
        "versions": {name: version(name) for name in side.needs},
    }


def version(distribution: str) -> str | None:
    """The installed version, or None."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
