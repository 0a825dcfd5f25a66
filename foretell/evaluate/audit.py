"""An audit of measured probabilities: they sum to 1, and nothing later was looked at.

At sampled places of a text the distribution of the next token is computed again by a fresh scorer through `next`, which
is given the tokens up to there and no others. Each has to sum to 1, and to give the token the probability that was
booked when the text was measured. So a scorer that looks at its targets, or learns from them before it scores them, is
found out, and so is one whose probabilities add up to more than 1. P places, V vocabulary, B rows, T time steps; a
mixture of M members reads N tokens.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch import device as Device

from foretell.data.batches.streams import Windows
from foretell.evaluate.dynamic import part_of
from foretell.evaluate.scoring import Scorer
from foretell.types import Batch, State, select_rows

POSITIONS = 64
"""places that are looked at"""
SECONDS = 60.0
"""time that distributions may take; there are fewer places where they take longer"""
TOLERANCES = {"float64": 1e-6, "float32": 1e-4}
"""largest error in nats. In single precision a logit of 20 has steps of 2e-6, a sum over some hundred units in another
order is off by several, and the order follows from the shape that is read; what gains less is no reason to cheat"""


@dataclass(frozen=True)
class Audit:
    """The outcome of an audit."""

    positions: int
    max_sum_error: float
    """largest distance of a sum of probabilities from 1"""
    max_recompute_error: float
    """largest distance of a recomputed log-probability from the one that was booked, in nats"""
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether both are within the tolerance."""
        return max(self.max_sum_error, self.max_recompute_error) <= self.tolerance

    def record(self) -> dict[str, Any]:
        """The outcome as in results."""
        errors = {"max_sum_error": self.max_sum_error, "max_recompute_error": self.max_recompute_error}
        return {"positions": self.positions, **errors, "passed": self.passed}


def sampled(tokens: int, count: int = POSITIONS, seed: int = 0) -> NDArray[np.int64]:
    """Places of a text in rising order: the first, the last, and a random choice of others."""
    between = max(tokens - 2, 0)
    random = np.random.Generator(np.random.Philox(seed))
    others = 1 + random.choice(between, min(max(count - 2, 0), between), replace=False, shuffle=False)
    return np.unique(np.concatenate([[0, tokens - 1], others]).astype(np.int64))


@dataclass(frozen=True)
class Recomputed:
    """Distributions at places of a text."""

    places: NDArray[np.int64]
    """[P] those that there was time for"""
    logp: NDArray[np.float64]
    """[P, V]"""
    tolerance: float

    def audit(self, tokens: NDArray[Any], booked: NDArray[np.float64]) -> Audit:
        """Hold them against a text [N] and the log-probabilities that were booked for it [N]."""
        sums = np.exp(self.logp).sum(1)
        again, before = self.logp[np.arange(len(self.places)), tokens[self.places]], booked[self.places]
        with np.errstate(invalid="ignore"):
            errors = np.where(again == before, 0.0, np.abs(again - before))
        off, moved = (float(np.nan_to_num(part, nan=np.inf).max()) for part in (np.abs(sums - 1), errors))
        return Audit(len(self.places), off, moved, self.tolerance)


def mixed(parts: Sequence[Recomputed], weights: NDArray[np.float64]) -> Recomputed:
    """The distributions of a mixture at the places of all its members, from their weights for each token [M, N]."""
    places = parts[0].places
    for part in parts[1:]:
        places = np.intersect1d(places, part.places)
    rows = [part.logp[np.isin(part.places, places)] for part in parts]
    with np.errstate(divide="ignore"):
        logs = np.log(weights[:, places, None])
        logp = np.logaddexp.reduce([row + weight for row, weight in zip(rows, logs, strict=True)])
    return Recomputed(places, logp, max(part.tolerance for part in parts))


@dataclass
class Reading:
    """A fresh scorer in a window, which can be asked for the distributions in it, from left to right."""

    scorer: Scorer
    window: Batch
    state: State
    segment: int | None
    reads_on: bool
    done: int = 0
    """time steps that the state has read"""
    rows: dict[int, tuple[int, State]] = field(default_factory=dict)
    """time steps read of rows that were asked for, and their states, where the scorer never learns"""

    def ask(self, row: int, column: int) -> Tensor:
        """Log-probabilities [V] of the target there, from the inputs up to it."""
        tokens, fresh = self.window.inputs.tokens, self.window.inputs.fresh
        if self.segment is None:
            begins = self.state is None or (fresh is not None and bool(fresh[row]))
            start = 0, None if begins else select_rows(self.state, slice(row, row + 1))
            done, state = self.rows.get(row, start)
            logp, after = self.scorer.next(tokens[row : row + 1, done : column + 1], state)
            self.rows[row] = column + 1, after
            return logp[0]
        self.read(column - column % self.segment)
        logp, after = self.scorer.next(tokens[:, self.done : column + 1], self.state)
        if self.reads_on:
            self.state, self.done = after, column + 1
        return logp[row]

    def read(self, end: int) -> State:
        """The state after the time steps before `end`, which were scored as when the text was measured."""
        if end > self.done:
            inputs, targets = part_of(self.window.inputs, self.done, end), self.window.targets[:, self.done : end]
            self.state, self.done = self.scorer.score(inputs, targets, self.state)[1], end
        return self.state


def recomputed(
    scorer: Scorer,
    windows: Windows,
    places: NDArray[np.int64],
    device: Device,
    *,
    segment: int | None = None,
    reads_on: bool = False,
) -> Recomputed:
    """The distributions of the tokens at these places, by a fresh scorer that reads what comes before each.

    A scorer that learns does so after each `segment` tokens, through `score`; absent: it never does. With `reads_on` it
    learns in `next` as well, and cannot take an earlier state again. Where distributions take long, some places are
    left out.
    """
    found: dict[int, Tensor] = {}
    state: State = None
    seen, seconds = 0, 0.0
    for k in range(len(windows)):
        batch, at = windows[k], windows.target_positions(k)
        window = Reading(scorer, batch.to(device), None if batch.all_fresh else state, segment, reads_on)
        for column, row in np.argwhere(np.isin(at, places).T).tolist():
            every = math.ceil(seconds / max(len(found), 1) * len(places) / SECONDS)
            seen += 1
            if every <= 1 or seen % every == 0:
                begin = time.perf_counter()
                found[int(at[row, column])] = window.ask(row, column).cpu()
                seconds += time.perf_counter() - begin
        if seen == len(places):
            break
        if not windows[k + 1].all_fresh:
            state = window.read(at.shape[1])
    logp = [found[place].numpy() for place in sorted(found)]
    tolerance = TOLERANCES[str(logp[0].dtype)]
    return Recomputed(np.array(sorted(found)), np.stack(logp).astype(np.float64), tolerance)
