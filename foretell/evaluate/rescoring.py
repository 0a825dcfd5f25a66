"""Lists of hypotheses (of a recogniser, a translator): a weighted sum of scores picks one, and weights are tuned.

Tuning minimises the errors of the hypotheses that are picked. Along a line through the space of weights that number is
piecewise constant, so the best point of a line is found exactly (Och 2003, "Minimum Error Rate Training in Statistical
Machine Translation", section 4); lines are the axes and a few drawn directions, tried in turn until none helps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
DIRECTIONS = 8  # drawn ones, in each round
ROUNDS = 50
WIDE = 1.0  # how far to go into an interval without an end
FAR = 1e12  # no weight is worth more: lines that cross there are as good as parallel


@dataclass(frozen=True)
class Lists:
    """H hypotheses in G groups, one group after the other."""

    features: Floats
    """[H, F]"""
    errors: Floats
    """[H] errors of each hypothesis: what is to become less"""
    edges: Ints
    """[G + 1] where each group starts, and the end"""

    def picked(self, weights: Floats) -> Ints:
        """[G] the hypothesis with the highest weighted sum in each group; of equal ones the first."""
        return picked(self.features @ weights, self.edges)

    def total(self, weights: Floats) -> float:
        """The errors of those that are picked."""
        return float(self.errors[self.picked(weights)].sum())

    @property
    def least(self) -> float:
        """The errors of the best hypothesis of each group: no weights can do better."""
        return float(np.minimum.reduceat(self.errors, self.edges[:-1]).sum())


def picked(scores: Floats, edges: Ints) -> Ints:
    """[G] the index of the highest score between neighbouring edges; of equal ones the first."""
    pairs = zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    return np.array([begin + int(np.argmax(scores[begin:end])) for begin, end in pairs], dtype=np.int64)


def tune(lists: Lists, starts: Sequence[Sequence[float]], seed: int = 0) -> Floats:
    """[F] weights with few errors, from the best of these starting points; the largest is 1 or -1.

    Deterministic; like every known method for this it finds a minimum that no line improves, not surely the least.
    """
    random = np.random.default_rng(seed)
    found = [descend(lists, np.asarray(start, dtype=np.float64), random) for start in starts]
    best = min(found, key=lists.total)
    largest = float(np.abs(best).max())
    return best / largest if largest else best


def descend(lists: Lists, weights: Floats, random: np.random.Generator) -> Floats:
    """Line after line until none of a round helps."""
    errors = lists.total(weights)
    count = lists.features.shape[1]
    for _ in range(ROUNDS):
        before = errors
        # note: features differ in scale, so directions are drawn in units of their spread
        spread = np.maximum(lists.features.std(0), 1e-12)
        for direction in [*np.eye(count), *(random.normal(size=(DIRECTIONS, count)) / spread)]:
            moved = weights + best_step(lists, weights, direction) * direction
            if (fewer := lists.total(moved)) < errors:
                weights, errors = moved, fewer
        if errors == before:
            break
    return weights


def best_step(lists: Lists, weights: Floats, direction: Floats) -> float:
    """How far to go in a direction for the fewest errors: the middle of the widest interval that has them."""
    scores, slopes = lists.features @ weights, lists.features @ direction  # each [H]
    start = 0.0
    changes: list[tuple[float, float]] = []
    for begin, end in zip(lists.edges[:-1].tolist(), lists.edges[1:].tolist(), strict=True):
        winners, places = envelope(scores[begin:end], slopes[begin:end])
        errors = lists.errors[begin:end][winners]
        start += errors[0]
        changes += zip(np.clip(places, -FAR, FAR).tolist(), np.diff(errors).tolist(), strict=True)
    changes.sort()
    places = [place for place, _ in changes]
    totals = start + np.concatenate([[0.0], np.cumsum([change for _, change in changes])])
    if not places:
        return 0.0
    ends = np.array([places[0] - 2 * WIDE, *places, places[-1] + 2 * WIDE])
    widths = np.diff(ends)
    totals = np.where(widths > 1e-9, totals, math.inf)  # between places that coincide is nothing
    least = totals <= totals.min() + 1e-9
    chosen = int(np.argmax(np.where(least, widths, -1.0)))
    return float((ends[chosen] + ends[chosen + 1]) / 2)


def envelope(scores: Floats, slopes: Floats) -> tuple[list[int], list[float]]:
    """Which of the lines score + x slope is highest as x goes from minus to plus infinity, and where that changes."""
    winners: list[int] = []
    places: list[float] = []
    height, slope = scores.tolist(), slopes.tolist()
    for line in np.lexsort((np.arange(len(scores)), -scores, slopes)).tolist():  # by slope, the highest first
        if winners and slope[winners[-1]] == slope[line]:
            continue
        while winners:
            crossing = (height[winners[-1]] - height[line]) / (slope[line] - slope[winners[-1]])
            if not places or crossing > places[-1]:
                places.append(crossing)
                break
            winners.pop()
            places.pop()
        winners.append(line)
    return winners, places
