"""Rescoring n-best lists (of a recogniser, a translator) with a weighted sum of scores, and tuning the weights.

Tuning minimises the errors of the chosen hypotheses. Along a line in the space of weights their number is piecewise
constant, so the best point of a line is found exactly (Och 2003, "Minimum Error Rate Training in Statistical Machine
Translation", section 4); the lines are the axes and a few random directions, in turn until none helps. H hypotheses,
G groups, F features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
DIRECTIONS = 8  # random ones, in each round
ROUNDS = 50
WIDE = 1.0  # how far to go into an unbounded interval
FAR = 1e12  # bound on weights: lines that cross beyond are as good as parallel


@dataclass(frozen=True)
class Lists:
    """Hypotheses, group after group."""

    features: Floats
    """[H, F]"""
    errors: Floats
    """[H] errors of each hypothesis, to be minimised"""
    edges: Ints
    """[G + 1] the start of each group, and the end"""

    def chosen(self, weights: Floats) -> Ints:
        """[G] the hypothesis with the highest weighted sum in each group; of equal ones the first."""
        return argmax_by_group(self.features @ weights, self.edges)

    def total(self, weights: Floats) -> float:
        """The errors of the chosen hypotheses."""
        return float(self.errors[self.chosen(weights)].sum())

    @property
    def least(self) -> float:
        """The errors of the best hypothesis in each group, a lower bound."""
        return float(np.minimum.reduceat(self.errors, self.edges[:-1]).sum())


def argmax_by_group(scores: Floats, edges: Ints) -> Ints:
    """[G] the index of the highest score between neighbouring edges; of equal ones the first."""
    pairs = zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    return np.array([begin + int(np.argmax(scores[begin:end])) for begin, end in pairs], dtype=np.int64)


def tune(lists: Lists, starts: Sequence[Sequence[float]], seed: int = 0) -> Floats:
    """Weights [F] with few errors, from the best of these starting points, scaled to a largest absolute value of 1.

    Deterministic. Finds a local minimum along the tried lines, not necessarily the global one.
    """
    random = np.random.default_rng(seed)
    results = [descend(lists, np.asarray(start, dtype=np.float64), random) for start in starts]
    best = min(results, key=lists.total)
    largest = float(np.abs(best).max())
    return best / largest if largest else best


def descend(lists: Lists, weights: Floats, random: np.random.Generator) -> Floats:
    """Search line after line until no line of a round helps."""
    errors = lists.total(weights)
    count = lists.features.shape[1]
    for _ in range(ROUNDS):
        before = errors
        # features differ in scale, so directions are drawn in units of their spread
        spread = np.maximum(lists.features.std(0), 1e-12)
        for direction in [*np.eye(count), *(random.normal(size=(DIRECTIONS, count)) / spread)]:
            moved = weights + best_step(lists, weights, direction) * direction
            if (fewer := lists.total(moved)) < errors:
                weights, errors = moved, fewer
        if errors == before:
            break
    return weights


def best_step(lists: Lists, weights: Floats, direction: Floats) -> float:
    """The step along a direction with the fewest errors: the middle of the widest such interval."""
    scores, slopes = lists.features @ weights, lists.features @ direction  # each [H]
    start = 0.0
    changes: list[tuple[float, float]] = []
    for begin, end in zip(lists.edges[:-1].tolist(), lists.edges[1:].tolist(), strict=True):
        winners, crossings = envelope(scores[begin:end], slopes[begin:end])
        errors = lists.errors[begin:end][winners]
        start += errors[0]
        changes += zip(np.clip(crossings, -FAR, FAR).tolist(), np.diff(errors).tolist(), strict=True)
    changes.sort()
    crossings = [crossing for crossing, _ in changes]
    totals = start + np.concatenate([[0.0], np.cumsum([change for _, change in changes])])
    if not crossings:
        return 0.0
    ends = np.array([crossings[0] - 2 * WIDE, *crossings, crossings[-1] + 2 * WIDE])
    widths = np.diff(ends)
    totals = np.where(widths > 1e-9, totals, math.inf)  # ignore intervals between crossings that coincide
    least = totals <= totals.min() + 1e-9
    chosen = int(np.argmax(np.where(least, widths, -1.0)))
    return float((ends[chosen] + ends[chosen + 1]) / 2)


def envelope(scores: Floats, slopes: Floats) -> tuple[list[int], list[float]]:
    """The highest lines of score + x slope as x goes from minus to plus infinity, and where they cross."""
    winners: list[int] = []
    crossings: list[float] = []
    height, slope = scores.tolist(), slopes.tolist()
    for line in np.lexsort((np.arange(len(scores)), -scores, slopes)).tolist():  # by slope, the highest line first
        if winners and slope[winners[-1]] == slope[line]:
            continue
        while winners:
            crossing = (height[winners[-1]] - height[line]) / (slope[line] - slope[winners[-1]])
            if not crossings or crossing > crossings[-1]:
                crossings.append(crossing)
                break
            winners.pop()
            crossings.pop()
        winners.append(line)
    return winners, crossings
