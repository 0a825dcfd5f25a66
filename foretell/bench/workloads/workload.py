"""What a workload is."""

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
    """What one measuring process is told."""

    threads: int
    tiny: bool
    """do next to nothing, to see that it runs"""
    started: float
    """when the process was started, by `time.time`"""
    inputs: dict[str, str]
    """what `Workload.inputs` made: paths, by name"""

    def elapsed(self) -> float:
        """Seconds since the process was started, importing and all."""
        return time.time() - self.started


@dataclass(frozen=True)
class Side:
    """One way of doing the work."""

    name: str
    measure: Callable[[Job], dict[str, Any]]
    """does it once and returns figures; `seconds` among them"""
    needs: tuple[str, ...] = ()
    """distributions that have to be installed; the first is the one compared with"""


@dataclass(frozen=True)
class Workload:
    """A fixed piece of work; the first side is ours."""

    name: str
    text: str
    """one line for the list"""
    work: str
    """what exactly is done, and what `seconds` are of"""
    sides: tuple[Side, ...]
    inputs: Callable[[Path, bool], dict[str, str]] = lambda folder, tiny: {}
    """writes what all sides read into a folder; the second argument: tiny"""

    def side(self, name: str) -> Side | None:
        """The side of that name."""
        return next((side for side in self.sides if side.name == name), None)


def timed(step: Callable[[], Any], job: Job, tokens: int) -> dict[str, Any]:
    """Seconds of a step on so many tokens: the median of seven behind two that do not count.

    Of fewer where steps are long: ten seconds of them are enough, and of steps of five seconds one does not count.
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
    """[N] uint16, the same each time."""
    import numpy as np

    return np.random.default_rng(1).integers(0, vocabulary, count, dtype=np.uint16)


def trainer_of(recipe: Any, vocabulary: int, tokens: Any, device: str = "cpu", tokenizer: Any = None) -> Any:
    """foretell's own trainer of a recipe on some tokens; it saves nothing. Masking wants to know the tokenizer."""
    from foretell.api.stages import assemble_stage
    from foretell.data.tokenizers.tokenizer import Specials
    from foretell.evaluate.evaluator import FunctionEvaluator
    from foretell.run import Run
    from foretell.training.checkpoint import TrainState
    from foretell.training.monitor import Monitor
    from foretell.training.trainer import Trainer

    specials = Specials(boundary=0) if tokenizer is None else tokenizer.specials
    source = recipe.data.batches.build(_Tokens(tokens), specials, recipe.seed)
    stage = assemble_stage(
        recipe,
        recipe.build(vocabulary).to(device),
        recipe.objective.batches(source, tokenizer, recipe.seed),
        FunctionEvaluator(dict),
        name="bench",
        bytes_per_token=1.0,
    )
    return Trainer(Run(tempfile.mkdtemp()), stage, TrainState(), seed=0, monitor=Monitor(quiet=True))


class _Tokens:
    """As much of a split of a store as batches of running text read."""

    def __init__(self, tokens: Any):
        self.tokens = tokens
        self.documents = self.lines = tokens[:0]
