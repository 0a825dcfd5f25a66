"""n-best lists: each hypothesis with the model's score, the best one by group, and weights tuned on a list with errors.

A line is `group<TAB>text`, with scores of other models before the text: `group<TAB>score<TAB>...<TAB>text`; where
errors are known (for tuning) they come right after the group. The lines of a group stand together. Features of a
hypothesis: `lm` (log-probability, its end included), `words`, then `score1`, `score2`, ... as given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, tee
from pathlib import Path

import numpy as np

from foretell.config import did_you_mean
from foretell.data.reading import Report
from foretell.errors import ConfigError
from foretell.evaluate.rescoring import Lists, tune
from foretell.run import Record
from foretell.tools.score import Model, read_lines, score_lines, warn, written

Weights = dict[str, float]


@dataclass(frozen=True)
class Hypothesis:
    """A line of an n-best list."""

    group: str
    scores: tuple[float, ...]
    text: str
    errors: float = 0.0


@dataclass(frozen=True)
class Ranked:
    """A hypothesis with all its features and their weighted sum."""

    hypothesis: Hypothesis
    features: tuple[float, ...]
    total: float

    def row(self) -> str:
        """group, total, lm, words, other scores, text"""
        lm, words, *scores = self.features
        numbers = [written(self.total), written(lm), str(int(words)), *map(written, scores)]
        return "\t".join([self.hypothesis.group, *numbers, self.hypothesis.text])

    def record(self) -> Record:
        """The same for JSON."""
        features = dict(zip(names(len(self.features) - 2), self.features, strict=True))
        return {"group": self.hypothesis.group, "text": self.hypothesis.text, "total": self.total, **features}


def names(scores: int) -> list[str]:
    """The features of a hypothesis with so many scores of its own."""
    return ["lm", "words", *(f"score{number + 1}" for number in range(scores))]


def plain_weights(scores: int) -> list[float]:
    """What is used when nothing is said: the sum of all scores."""
    return [1.0, 0.0, *([1.0] * scores)]


def parse_weights(text: str) -> Weights:
    """`lm=1,words=0.3,score1=0.5` as a table."""
    try:
        pairs = [part.split("=") for part in text.split(",")]
        return {name.strip(): float(value) for name, value in pairs}
    except ValueError:
        raise ConfigError(f"--weights {text}: write lm=1,words=0.3,score1=0.5") from None


def listed(weights: Weights, scores: int) -> list[float]:
    """The weights in the order of the features; those not named are 0."""
    known = names(scores)
    for name in weights:
        if name not in known:
            hint = did_you_mean(name, known)
            raise ConfigError(f"--weights: hypotheses have no {name!r}{hint} (known: {', '.join(known)})")
    return [weights.get(name, 0.0) for name in known]


def hypotheses(lines: Iterable[str], where: str, *, errors: bool = False) -> Iterator[Hypothesis]:
    """The lines of a list; a `ConfigError` names the one that is wrong."""
    columns, group, seen = 0, None, set()
    shape = "group<TAB>errors<TAB>text" if errors else "group<TAB>text"
    for number, line in enumerate(lines, 1):
        fields = line.split("\t")
        columns = columns or len(fields)
        if len(fields) != columns or columns < (3 if errors else 2):
            raise ConfigError(
                f"{where}, line {number}: {len(fields)} columns where {max(columns, 3 if errors else 2)} are expected; "
                f"write {shape}, any scores between tabs before the text, and as many on every line"
            )
        name, *rest, text = fields
        if name != group:
            if name in seen:
                raise ConfigError(f"{where}, line {number}: group {name!r} comes again; put its lines together")
            seen.add(name)
            group = name
        try:
            values = [float(value) for value in rest]
        except ValueError as problem:
            raise ConfigError(f"{where}, line {number}: {problem}; columns before the text are numbers") from None
        yield Hypothesis(name, tuple(values[errors:]), text, values[0] if errors else 0.0)


def with_features(model: Model, found: Iterable[Hypothesis]) -> Iterator[tuple[Hypothesis, tuple[float, ...]]]:
    """Each hypothesis with its features, in constant memory."""
    mine, scored = tee(found)
    for hypothesis, score in zip(mine, score_lines(model, (one.text for one in scored)), strict=True):
        yield hypothesis, (score.logp, float(len(hypothesis.text.split())), *hypothesis.scores)


def rescore(model: Model, paths: Sequence[Path], weights: Weights | None, *, every: bool = False) -> Iterator[Ranked]:
    """The best hypothesis of each group, or all of each from best to worst."""
    report = Report()
    found = with_features(model, hypotheses(read_lines(paths, report), "the list"))
    for _, group in groupby(found, key=lambda pair: pair[0].group):
        members = list(group)
        count = len(members[0][0].scores)
        factors = plain_weights(count) if weights is None else listed(weights, count)
        ranked = [Ranked(one, features, float(np.dot(features, factors))) for one, features in members]
        ranked.sort(key=lambda one: -one.total)  # stable: of equal ones the first
        yield from ranked if every else ranked[:1]
    warn(report)


def tuned(model: Model, development: Path) -> Record:
    """Weights with few errors on a list in which the errors of each hypothesis are known."""
    report = Report()
    given = hypotheses(read_lines([development], report), str(development), errors=True)
    found = list(with_features(model, given))
    warn(report)
    if not found:
        raise ConfigError(f"{development}: no hypotheses in it; write group<TAB>errors<TAB>text")
    groups = [one.group for one, _ in found]
    edges = [0, *(i for i in range(1, len(groups)) if groups[i] != groups[i - 1]), len(groups)]
    lists = Lists(
        np.array([features for _, features in found]),
        np.array([one.errors for one, _ in found]),
        np.array(edges, dtype=np.int64),
    )
    count = len(found[0][0].scores)
    plain = plain_weights(count)
    weights = tune(lists, [plain, *np.eye(count + 2).tolist()])
    return {
        "weights": dict(zip(names(count), weights.tolist(), strict=True)),
        "errors": lists.total(weights),
        "errors_first": float(lists.errors[lists.edges[:-1]].sum()),
        "errors_untuned": lists.total(np.array(plain)),
        "errors_least": lists.least,
        "groups": len(edges) - 1,
        "hypotheses": len(found),
    }


def as_option(weights: Weights) -> str:
    """As `--weights` takes them."""
    return ",".join(f"{name}={value:.6g}" for name, value in weights.items())
