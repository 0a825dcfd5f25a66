"""Rescoring of n-best lists, and tuning of the weights on a list with known errors.

A line is `group<TAB>text`, with any scores of other models before the text: `group<TAB>score<TAB>...<TAB>text`. For
tuning, the number of errors follows the group. Lines of a group are consecutive. Features of a hypothesis: `lm`
(log-probability, its end included), `words`, then the scores as `score1`, `score2`, ...
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, tee
from pathlib import Path
from typing import NamedTuple

import numpy as np

from foretell.data.text_files import Report
from foretell.errors import ConfigError, did_you_mean
from foretell.evaluate.rescoring import Lists, tune
from foretell.run import Record
from foretell.tools.measure.score import STDIN, Model, read_lines, score_lines, warn, written
from foretell.tools.parsing import Weights, number
from foretell.tools.printing import emit, print_rows, properties


class Row(NamedTuple):
    """A line of a list and its position in a file."""

    file: Path | str
    line: int
    text: str


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
        """Group, total, lm, words, other scores and text, separated by tabs."""
        lm, words, *scores = self.features
        numbers = [written(self.total), written(lm), str(int(words)), *map(written, scores)]
        return "\t".join([self.hypothesis.group, *numbers, self.hypothesis.text])

    def record(self) -> Record:
        """The hypothesis with its features as a JSON object."""
        features = dict(zip(names(len(self.features) - 2), self.features, strict=True))
        return {"group": self.hypothesis.group, "text": self.hypothesis.text, "total": self.total, **features}


def names(scores: int) -> list[str]:
    """Names of the features of a hypothesis with `scores` scores."""
    return ["lm", "words", *(f"score{number + 1}" for number in range(scores))]


def plain_weights(scores: int) -> list[float]:
    """The default weights: the sum of all scores."""
    return [1.0, 0.0, *([1.0] * scores)]


def as_list(weights: Weights, scores: int) -> list[float]:
    """Weights in the order of the features; 0 for unnamed features."""
    known = names(scores)
    for name in weights:
        if name not in known:
            hint = did_you_mean(name, known)
            raise ConfigError(f"--weights: hypotheses have no {name!r}{hint} (known: {', '.join(known)})")
    return [weights.get(name, 0.0) for name in known]


def rows(paths: Sequence[Path], report: Report) -> Iterator[Row]:
    """The lines of files, or of stdin."""
    for path in paths or [STDIN]:
        for line, text in enumerate(read_lines([path], report), 1):
            yield Row("stdin" if path == STDIN else path, line, text.removesuffix("\r"))


def hypotheses(lines: Iterable[Row], *, errors: bool = False) -> Iterator[Hypothesis]:
    """Parse the lines of a list. A `ConfigError` names the bad line."""
    columns, group, seen = 0, None, set()
    shape = "group<TAB>errors<TAB>text" if errors else "group<TAB>text"
    for file, line, content in lines:
        name, *rest, text = content.split("\t") if "\t" in content else ["", ""]
        width = content.count("\t") + 1
        columns = columns or width
        if width != columns or columns < (3 if errors else 2):
            what = f"{width} columns, expected {max(columns, 3 if errors else 2)}"
            remedy = f"write {shape}, with scores in columns before the text, the same number on every line"
            raise ConfigError(what, file=file, line=line, remedy=remedy)
        if name != group:
            if name in seen:
                raise ConfigError(
                    f"group {name!r} appears again", file=file, line=line, remedy="make its lines consecutive"
                )
            seen.add(name)
            group = name
        values = [number(value) for value in rest]
        for column, value in enumerate(values):
            if value is None:
                remedy = "write numbers between the group and the text"
                raise ConfigError(f"{rest[column][:40]!r} is not a number", file=file, line=line, remedy=remedy)
        numbers = [value for value in values if value is not None]
        if errors and numbers[0] < 0:
            remedy = "write group<TAB>errors<TAB>text"
            raise ConfigError(f"{rest[0][:40]!r} is not a number of errors", file=file, line=line, remedy=remedy)
        yield Hypothesis(name, tuple(numbers[errors:]), text, numbers[0] if errors else 0.0)


def with_features(model: Model, listed: Iterable[Hypothesis]) -> Iterator[tuple[Hypothesis, tuple[float, ...]]]:
    """Each hypothesis with its features, in constant memory."""
    kept, scored = tee(listed)
    for hypothesis, score in zip(kept, score_lines(model, (item.text for item in scored)), strict=True):
        yield hypothesis, (score.logp, float(len(hypothesis.text.split())), *hypothesis.scores)


def rescore(model: Model, paths: Sequence[Path], weights: Weights | None, *, every: bool = False) -> Iterator[Ranked]:
    """The best hypothesis of each group, or all from best to worst."""
    report = Report()
    scored = with_features(model, hypotheses(rows(paths, report)))
    for _, group in groupby(scored, key=lambda pair: pair[0].group):
        members = list(group)
        count = len(members[0][0].scores)
        factors = plain_weights(count) if weights is None else as_list(weights, count)
        ranked = [Ranked(item, features, float(np.dot(features, factors))) for item, features in members]
        ranked.sort(key=lambda item: -item.total)  # stable: the first of equals wins
        yield from ranked if every else ranked[:1]
    warn(report)


def print_ranked(ranked: Iterable[Ranked], weights: Weights | None, as_json: bool) -> None:
    """Hypotheses as rows, or as one JSON object."""
    if as_json:
        emit({"hypotheses": [item.record() for item in ranked], "weights": weights}, True, properties)
    else:
        print_rows(item.row() for item in ranked)


def tuned(model: Model, development: Path) -> Record:
    """Tune weights on a list with the number of errors of each hypothesis."""
    report = Report()
    listed = hypotheses(rows([development], report), errors=True)
    scored = list(with_features(model, listed))
    warn(report)
    if not scored:
        raise ConfigError("no hypotheses", file=development, remedy="write group<TAB>errors<TAB>text")
    groups = [item.group for item, _ in scored]
    edges = [0, *(i for i in range(1, len(groups)) if groups[i] != groups[i - 1]), len(groups)]
    lists = Lists(
        np.array([features for _, features in scored]),
        np.array([item.errors for item, _ in scored]),
        np.array(edges, dtype=np.int64),
    )
    count = len(scored[0][0].scores)
    plain = plain_weights(count)
    weights = tune(lists, [plain, *np.eye(count + 2).tolist()])
    return {
        "weights": dict(zip(names(count), weights.tolist(), strict=True)),
        "errors": lists.total(weights),
        "errors_first": float(lists.errors[lists.edges[:-1]].sum()),
        "errors_untuned": lists.total(np.array(plain)),
        "errors_least": lists.least,
        "groups": len(edges) - 1,
        "hypotheses": len(scored),
    }


def as_option(weights: Weights) -> str:
    """Weights as an argument of `--weights`."""
    return ",".join(f"{name}={value:.6g}" for name, value in weights.items())
