"""Fuzz for as long as asked, on all cores, and say what was found: `scripts/fuzz`.

Cases are drawn by hypothesis from a seed. The first case of each new cause is shrunk, and kept as a folder with its
files and `commands.sh`. Figures at the end: cases, exit codes, how many got past the first parser, causes with their
numbers, and the branch coverage of what reads the files of others.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import multiprocessing
import shlex
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuzz.cases import Case, Fault, faults
from fuzz.kinds import KINDS
from fuzz.running import ROOT, Arcs, Runner, lay_out
from fuzz.seeds import Figures, load_or_make
from hypothesis import HealthCheck, Phase, given, seed, settings

CHUNK = 50
"""cases of one kind and one seed"""
SHRINKING = 60
"""how often a smaller case is looked for"""
READERS = (
    "data/labelled/readers/*",
    "data/labelled/opening.py",
    "data/labelled/tags.py",
    "data/text_files.py",
    "data/text/corpus.py",
    "data/store/store.py",
    "data/tokenizers/tokenizer.py",
    "data/tokenizers/foreign.py",
)
READERS += (
    "interop/arpa.py",
    "interop/arpa_text.py",
    "interop/hugging_face/*",
    "config.py",
    "training/checkpoint.py",
    "run.py",
    "api/trained.py",
)


@dataclass
class Tally:
    """What came of some cases."""

    cases: int = 0
    commands: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    past: int = 0
    """cases that the first parser lets through: by how they were made, or because they were accepted"""
    causes: Counter[str] = field(default_factory=Counter)
    examples: dict[str, tuple[Case, str]] = field(default_factory=dict)
    """by cause the smallest case, and what was said"""
    arcs: dict[str, set[tuple[int, int]]] = field(default_factory=dict)

    def add(self, other: Tally) -> None:
        """Count what another has too."""
        self.cases += other.cases
        self.commands += other.commands
        self.past += other.past
        self.codes += other.codes
        self.causes += other.causes
        self.examples = other.examples | self.examples
        for file, arcs in other.arcs.items():
            self.arcs.setdefault(file, set()).update(arcs)


class Found(Exception):
    """A case shows the fault that is being shrunk."""


def examine(runner: Runner, figures: Figures, case: Case, tally: Tally, *, processes: bool = False) -> list[Fault]:
    """Run a case and count it; all that is wrong with it."""
    answers = runner.run_as_processes(case) if processes else runner.run(case)
    tally.cases += 1
    tally.commands += len(answers)
    tally.codes.update(str(answer.code) for answer in answers)
    tally.past += case.well_formed or answers[-1].accepted
    found = list(faults(case, answers, figures))
    tally.causes.update({fault.cause for fault in found})
    for fault in found:
        tally.examples.setdefault(fault.cause, (case, fault.text))
    return found


def drawn(kind: str, seeds: Path, number: int, cases: int, *phases: Phase) -> Callable[[Callable[[Case], None]], Any]:
    """A decorator that calls a function with some cases of a kind, drawn from a seed."""
    quiet = settings(
        max_examples=cases,
        phases=phases,
        database=None,
        deadline=None,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
    return lambda function: seed(number)(quiet(given(KINDS[kind](seeds))(function)))


def try_some(runner: Runner, figures: Figures, kind: str, number: int, cases: int, *, processes: bool = False) -> Tally:
    """Some cases of a kind, drawn from a seed."""
    tally = Tally()

    @drawn(kind, runner.seeds, number, cases, Phase.generate)
    def one(case: Case) -> None:
        examine(runner, figures, case, tally, processes=processes)

    one()
    return tally


def shrunk(runner: Runner, figures: Figures, kind: str, number: int, cases: int, cause: str) -> tuple[Case, str] | None:
    """The smallest case of a cause among those that `try_some` finds with the same seed, after some tries."""
    tally, left = Tally(), cases + SHRINKING

    @drawn(kind, runner.seeds, number, cases, Phase.generate, Phase.shrink)
    def one(case: Case) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            return
        for fault in examine(runner, figures, case, tally):
            if fault.cause == cause:
                tally.examples["smallest"] = case, fault.text
                raise Found(cause)

    with contextlib.suppress(Exception):  # hypothesis is told another thing of the same case when tries are used up
        one()
    return tally.examples.get("smallest")


# --- many at once ---------------------------------------------------------------------------------

HELD: dict[str, Any] = {}
"""what each process of the pool has"""


def begin(seeds: Path, traced: tuple[str, ...]) -> None:
    """Give a process of the pool a runner."""
    runner = Runner(seeds, traced)
    HELD.update(runner=runner, figures=load_or_make(runner))


def chunk(job: tuple[str, int, int, set[str], bool]) -> tuple[str, Tally]:
    """One chunk in a process of the pool."""
    kind, number, cases, known, processes = job
    runner: Runner = HELD["runner"]
    runner.arcs.clear()
    with contextlib.redirect_stdout(sys.stderr):
        tally = try_some(runner, HELD["figures"], kind, number, cases, processes=processes)
        for cause in [] if processes else sorted(tally.causes.keys() - known):
            if smallest := shrunk(runner, HELD["figures"], kind, number, cases, cause):
                tally.examples[cause] = smallest
    tally.arcs = dict(runner.arcs)
    return kind, tally


def main() -> None:
    """The command line of `scripts/fuzz`."""
    options = parse()
    out: Path = options.out
    shutil.rmtree(out / "found", ignore_errors=True)
    seeds = out / "seeds"
    shutil.rmtree(seeds, ignore_errors=True)
    with contextlib.closing(Runner(seeds)) as runner:
        load_or_make(runner)
    kinds = options.kind or list(KINDS)
    traced = () if options.no_coverage else tuple(str(ROOT / "foretell" / pattern) for pattern in READERS)
    tallies = {kind: Tally() for kind in kinds}
    stop = time.monotonic() + options.seconds if options.seconds else None
    ahead = threading.Semaphore(2 * options.jobs)
    jobs = plan(kinds, options, stop, tallies, ahead)
    with multiprocessing.get_context("spawn").Pool(options.jobs, begin, (seeds, traced)) as pool:
        for kind, tally in pool.imap_unordered(chunk, jobs):
            ahead.release()
            for cause in tally.examples.keys() - tallies[kind].examples.keys():
                keep(out / "found", seeds, kind, cause, *tally.examples[cause])
            tallies[kind].add(tally)
            report_line(kind, tallies[kind])
    report(tallies, out, options)
    sys.exit(1 if any(tally.causes for tally in tallies.values()) else 0)


def plan(
    kinds: list[str],
    options: argparse.Namespace,
    stop: float | None,
    tallies: dict[str, Tally],
    ahead: threading.Semaphore,
) -> Iterator[tuple[str, int, int, set[str], bool]]:
    """Chunks of all kinds in turn, until time or inputs are used up; `ahead` bounds those that wait for a process."""
    left = options.inputs
    for number, kind in ((n, k) for n in itertools.count(options.seed) for k in kinds):
        ahead.acquire()
        if (stop is not None and time.monotonic() > stop) or left <= 0:
            return
        size = min(CHUNK, left)
        left -= size
        yield kind, number, size, set(tallies[kind].causes), options.as_processes


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=0, help="stop after so long; default: after --inputs")
    parser.add_argument("--inputs", type=int, default=0, help="how many cases; default 2,000, or any with --seconds")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other cases")
    parser.add_argument("--kind", action="append", choices=list(KINDS), help="only this kind; can be repeated")
    parser.add_argument("--as-processes", action="store_true", help="start a process for each command line, slowly")
    parser.add_argument("--jobs", type=int, default=2, help="how many cases at once")
    parser.add_argument("--no-coverage", action="store_true", help="do not trace branches, which takes time")
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "foretell-fuzz")
    options = parser.parse_args()
    options.inputs = options.inputs or (10**9 if options.seconds else 2000)
    options.no_coverage |= options.as_processes
    return options


# --- reports --------------------------------------------------------------------------------------


def keep(folder: Path, seeds: Path, kind: str, cause: str, case: Case, said: str) -> None:
    """A case as files and a script that shows the fault."""
    name = "".join(letter if letter.isalnum() else "-" for letter in f"{kind}-{cause}")[:100]
    place = folder / name
    shutil.rmtree(place, ignore_errors=True)
    lay_out(case, seeds, place / "files")
    (place / "stdin").write_bytes(case.stdin)
    calls = [shlex.join(["foretell", *command]) + " < ../stdin" for command in case.commands]
    (place / "commands.sh").write_text("cd files\n" + "\n".join(calls) + "\n", errors="surrogateescape")
    (place / "about.txt").write_text(f"{cause}\n{case}\n\n{said}\n", errors="backslashreplace")
    print(f"\n{kind}, {cause}\n  {said[-300:]!r}\n  in {place}", file=sys.stderr)


def report_line(kind: str, tally: Tally) -> None:
    """How far it is."""
    print(f"{kind}: {tally.cases} cases, {len(tally.causes)} causes", file=sys.stderr)


def report(tallies: dict[str, Tally], out: Path, options: argparse.Namespace) -> None:
    """Figures of all kinds."""
    whole = Tally()
    print(f"{'kind':16}{'cases':>8}{'past the first parser':>24}{'faults':>8}{'causes':>8}  exit codes")
    for kind, tally in [*tallies.items(), ("all", whole)]:
        if kind != "all":
            whole.add(tally)
        codes = ", ".join(f"{code}: {count}" for code, count in sorted(tally.codes.items()))
        share = tally.past / max(tally.cases, 1)
        faulty = sum(tally.causes.values())
        print(f"{kind:16}{tally.cases:8}{tally.past:16} ({share:5.1%}){faulty:8}{len(tally.causes):8}  {codes}")
    for kind, tally in tallies.items():
        for cause, count in tally.causes.most_common():
            print(f"{kind}: {count} x {cause}")
    if not options.no_coverage:
        print_coverage(whole.arcs, out)
    figures = {
        kind: {"cases": tally.cases, "past": tally.past, "codes": tally.codes, "causes": tally.causes}
        for kind, tally in tallies.items()
    }
    (out / "figures.json").write_text(json.dumps({"seed": options.seed, "kinds": figures}, indent=2))
    print(f"seed {options.seed}; cases that show faults are in {out / 'found'}")


def print_coverage(arcs: Arcs | dict[str, set[tuple[int, int]]], out: Path) -> None:
    """The branches of readers that were taken."""
    import coverage

    file = out / "coverage"
    file.unlink(missing_ok=True)
    data = coverage.CoverageData(str(file))
    data.add_arcs({name: sorted(taken) for name, taken in arcs.items()})
    data.write()
    measured = coverage.Coverage(data_file=str(file), branch=True, config_file=False)
    measured.load()
    measured.report(show_missing=False, file=sys.stdout)


if __name__ == "__main__":
    main()
