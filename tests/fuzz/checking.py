"""What the tests of this folder do: try some cases of a kind at a fixed seed, some of them as processes."""

from __future__ import annotations

from fuzz.campaign import Tally, try_some
from fuzz.running import Runner
from fuzz.seeds import load_or_make


def assert_holds(runner: Runner, kind: str, cases: int, processes: int = 0, seed: int = 1) -> Tally:
    """No fault in some cases of a kind, and a third of them past the first parser."""
    figures = load_or_make(runner)
    tally = try_some(runner, figures, kind, seed, cases)
    if processes:
        tally.add(try_some(runner, figures, kind, seed + 1000, processes, processes=True))
    told = "\n\n".join(f"{cause}\n{case}\n{said}" for cause, (case, said) in tally.examples.items())
    assert not tally.causes, f"{sum(tally.causes.values())} faults; scripts/fuzz --kind {kind} shrinks them\n{told}"
    assert tally.past >= tally.cases / 3
    return tally
