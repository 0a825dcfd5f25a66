"""The contract of workloads, and helpers to time them."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OURS = "ours"


@dataclass(frozen=True)
class Job:
    """The task of one worker process."""

    threads: int
    tiny: bool
    """run a miniature as a smoke test"""
    started: float
    """start time of the process, as `time.time`"""
    inputs: dict[str, str]
    """paths from `Workload.inputs`, by name"""

    def elapsed(self) -> float:
        """Seconds since the process started, imports included."""
        return time.time() - self.started


@dataclass(frozen=True)
class Side:
    """One implementation of a workload."""

    name: str
    measure: Callable[[Job], dict[str, Any]]
    """runs it once and returns figures, including `seconds`"""
    needs: tuple[str, ...] = ()
    """required distributions; the first is the peer itself"""


@dataclass(frozen=True)
class Workload:
    """A fixed piece of work with its sides, ours first."""

    name: str
    text: str
    """one line of description"""
    work: str
    """exact definition, including what `seconds` measures"""
    sides: tuple[Side, ...]
    inputs: Callable[[Path, bool], dict[str, str]] = lambda folder, tiny: {}
    """writes the inputs of all sides into a folder; the second argument is `tiny`"""

    def side(self, name: str) -> Side | None:
        """The side of that name."""
        return next((side for side in self.sides if side.name == name), None)


def timed(step: Callable[[], Any], job: Job, tokens: int) -> dict[str, Any]:
    """Seconds of a step on `tokens` tokens: the median of seven after two warm-up steps.

    Long steps are repeated less: ten seconds in all suffice, and with steps over five seconds one warm-up step.
    """
    times: list[float] = []
    while len(times) < 9:
        begin = time.perf_counter()
        step()
        times.append(time.perf_counter() - begin)
        warm = 1 if times[0] > 5 or job.tiny else 2
        if len(times) > warm and (job.tiny or sum(times[warm:]) > 10):
            break
    seconds = statistics.median(times[warm:])
    return {"seconds": seconds, "tokens_per_second": tokens / seconds, "first_step_seconds": times[0]}


def random_tokens(vocabulary: int, count: int) -> Any:
    """[N] uint16 tokens from a fixed seed."""
    import numpy as np

    return np.random.default_rng(1).integers(0, vocabulary, count, dtype=np.uint16)


def trainer_of(recipe: Any, vocabulary: int, tokens: Any, device: str = "cpu", tokenizer: Any = None) -> Any:
    """foretell's trainer for a recipe on given tokens; saves nothing. Masking needs the tokenizer."""
    from foretell.tools.rehearsal import rehearsal

    return rehearsal(recipe, vocabulary, tokens, Path(tempfile.mkdtemp()), device, tokenizer)
