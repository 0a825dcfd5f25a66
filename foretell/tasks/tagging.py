"""Tell of each word what it is, or which words are spans of something: names, diseases, parts of speech.

Devlin et al. 2019 (BERT, section 5.3): a word is told by its first token, and no tags are compared with each other; or
all tags of a sentence are, by a conditional random field (`chain`). B rows, T places, D width, L tags.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import model_validator
from torch import Tensor
from typing_extensions import override

from foretell.data.batches.batches import Ints
from foretell.data.batches.framing import Framing, Row
from foretell.data.labelled.examples import Tagged, one_line, warn_alike
from foretell.data.labelled.tags import OUTSIDE, convert, malformed, spans_of, split_tag
from foretell.errors import ConfigError
from foretell.evaluate import metric_sums
from foretell.evaluate.metric_sums import Tally
from foretell.evaluate.task_metrics import classes_by_label, entities_by_label, entity_f1
from foretell.models.model_spec import ModelSpec
from foretell.tasks.crf import Chain, library
from foretell.tasks.task import Prediction, Scores, Task, TaskConfig
from foretell.types import IGNORED, Inputs

MARKS = {"iob2": "BI", "bioes": "BIES"}


@dataclass(frozen=True)
class Entity:
    """A span of a text, by its first character and the one behind its last."""

    label: str
    text: str
    start: int
    end: int
    probability: float
    """of all its tags"""


@dataclass(frozen=True)
class Tags(Prediction):
    """What the words of a sentence are; spans as IOB2, whatever was learnt."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    probabilities: tuple[float, ...]
    """of each tag"""
    entities: tuple[Entity, ...]

    def line(self) -> str:
        """The spans with tabs between them: start, end, label, text; without spans, the tags."""
        if not self.entities and set(self.tags) != {OUTSIDE}:
            return " ".join(self.tags)
        return "\t".join(
            f"{one.start}:{one.end} {one.label} {' '.join(one_line(one.text).split())}" for one in self.entities
        )


@dataclass(frozen=True)
class Sentence(Tagged):
    """The words of a text, and where they are in it."""

    text: str = field(default="", kw_only=True)
    begins: tuple[int, ...] = field(default=(), kw_only=True)
    """the first character of each word"""


class TaggingConfig(TaskConfig):
    """Tell a tag for each word."""

    kind: Literal["tagging"] = "tagging"
    takes = Tagged
    scheme: Literal["iob2", "bioes", "none"] = "iob2"
    """how spans are learnt; none: each tag is a class by itself, as parts of speech are"""
    at: Literal["first", "last"] = "first"
    """by which of its tokens a word is told; last suits models that read forwards"""
    crf: bool = False
    """whether tags depend on those beside them, by a conditional random field: the likeliest sequence of tags is told
    then, and not the likeliest tag of each word; a sentence that is read in parts has one for each part"""
    metric: Literal["entity_f1", "accuracy"] = "entity_f1"
    """what a validation is judged by: spans that are wholly right, or words"""

    @model_validator(mode="after")
    def _has_spans(self) -> Self:
        if self.scheme == "none" and self.metric == "entity_f1":
            raise ValueError('scheme = "none" has no spans to measure; set metric = "accuracy"')
        return self

    @override
    def output_notes(self, labels: Sequence[str]) -> tuple[str, ...]:
        return (f"The tag of a word is predicted at its {self.at} token.",)

    def prepare(self) -> None:
        """See `TaskConfig.prepare`."""
        if self.crf:
            library()

    def names(self, examples: Sequence[Any]) -> tuple[str, ...]:
        """See `TaskConfig.names`: of each kind of span all tags of the scheme."""
        found = {tag for example in examples for tag in example.tags or ()}
        if len(found) == 1 and (found == {OUTSIDE} or self.scheme == "none"):
            (tag,) = found
            raise ConfigError(f"data.corpus: every tag of the training split is {tag!r}: nothing to tell apart")
        if self.scheme == "none":
            warn_alike(sorted(found))
            return tuple(sorted(found))
        kinds = sorted({split_tag(tag)[1] for tag in found if tag != OUTSIDE})
        warn_alike(kinds)
        return (OUTSIDE, *(f"{mark}-{kind}" for kind in kinds for mark in MARKS[self.scheme]))

    def misfit(self, names: tuple[str, ...]) -> str:
        """See `TaskConfig.misfit`."""
        if not names or self.scheme == "none":
            return "" if names else "has no tags"
        return next(filter(None, (malformed(tag, self.scheme) for tag in names)), "")

    def complaint(self, example: Tagged, names: tuple[str, ...]) -> str:
        """See `TaskConfig.complaint`."""
        if not example.words:
            return "a sentence without words"
        if example.tags is None:
            return ""
        if len(example.tags) != len(example.words):
            return f"{len(example.words)} words with {len(example.tags)} tags"
        unseen = [tag for tag in self.learnt(example.tags) if tag not in names]
        return f"the tag {unseen[0]!r} is not in the training split" if unseen else ""

    def learnt(self, tags: tuple[str, ...]) -> tuple[str, ...]:
        """Tags as they are learnt."""
        return tags if self.scheme == "none" else convert(tags, self.scheme)

    def rows(self, examples: Sequence[Tagged], framing: Framing, names: tuple[str, ...]) -> list[Row]:
        """See `TaskConfig.rows`: labels [T]; a sentence that is too long is read in parts. `places`: the numbers of
        words [K] and where they are told [K]."""
        number = {name: i for i, name in enumerate(names)}
        found = framing.spans([" ".join(example.words) for example in examples])
        rows = []
        for i, (example, (ids, spans)) in enumerate(zip(examples, found, strict=True)):
            tags = None if example.tags is None else np.array([number[tag] for tag in self.learnt(example.tags)])
            firsts, lasts = token_ranges(example.words, spans)
            for words, begin, end in parts_of(firsts, lasts, framing.room):
                reading = framing.frame(ids[begin:end])
                told = (firsts if self.at == "first" else lasts)[words].clip(max=end - 1)
                at = told - begin + 1  # behind the mark at the beginning
                label = None
                if tags is not None:
                    label = np.full(len(reading.tokens), IGNORED)
                    label[at] = tags[words]
                rows.append(Row(i, (reading,), label, (words, at)))
        return rows

    def build(self, spec: ModelSpec) -> Tagging:
        """The objective with its model."""
        return ChainedTagging(self, spec) if self.crf else Tagging(self, spec)

    def predictions(
        self, examples: Sequence[Tagged], rows: Sequence[Row], scores: Sequence[Scores], names: tuple[str, ...]
    ) -> list[Tags]:
        """See `TaskConfig.predictions`. A word that the vocabulary has no token for is outside."""
        outside = OUTSIDE if OUTSIDE in names else names[0]
        tags = [[outside] * len(example.words) for example in examples]
        sure = [[0.0] * len(example.words) for example in examples]
        for row, found in zip(rows, scores, strict=True):
            words, at = row.places
            for word, (tag, probability) in zip(words, found[at].tolist(), strict=True):
                tags[row.example][word], sure[row.example][word] = names[int(tag)], probability
        return [self.prediction(e, tuple(t), tuple(p)) for e, t, p in zip(examples, tags, sure, strict=True)]

    def prediction(self, example: Tagged, tags: tuple[str, ...], probabilities: tuple[float, ...]) -> Tags:
        """Tags with the spans in them."""
        if self.scheme == "none":
            return Tags(example.words, tags, probabilities, ())
        whole, begins = text_of(example), begins_of(example)
        entities = []
        for label, start, end in spans_of(tags):
            first, behind = begins[start], begins[end - 1] + len(example.words[end - 1])
            entities.append(Entity(label, whole[first:behind], first, behind, math.prod(probabilities[start:end])))
        return Tags(example.words, convert(tags, "iob2"), probabilities, tuple(entities))

    def measure(self, examples: Sequence[Tagged], predictions: Sequence[Tags]) -> dict[str, Any]:
        """See `TaskConfig.measure`."""
        truth = [example.tags or () for example in examples]
        found = [prediction.tags for prediction in predictions]
        right = [one == other for t, f in zip(truth, found, strict=True) for one, other in zip(t, f, strict=True)]
        measured = {"accuracy": float(np.mean(right))}
        return measured if self.scheme == "none" else entity_f1(truth, found) | measured

    def tally(self, examples: Sequence[Tagged], predictions: Sequence[Tags]) -> Tally:
        """See `TaskConfig.tally`."""
        pairs = [(e.tags or (), p.tags) for e, p in zip(examples, predictions, strict=True)]
        if self.metric == "accuracy":
            right = [sum(one == other for one, other in zip(*pair, strict=True)) for pair in pairs]
            return metric_sums.share(right, [len(there) for there, _ in pairs])
        spans = [(set(spans_of(there)), set(spans_of(told))) for there, told in pairs]
        return metric_sums.f1(*zip(*((len(a & b), len(a), len(b)) for a, b in spans), strict=True))

    def by_label(self, examples: Sequence[Tagged], predictions: Sequence[Tags]) -> dict[str, dict[str, float]]:
        """See `TaskConfig.by_label`: of entities, or where there are none of words."""
        truth = [example.tags or () for example in examples]
        found = [prediction.tags for prediction in predictions]
        if self.scheme != "none":
            return entities_by_label(truth, found)
        return classes_by_label(*([[tag] for tags in side for tag in tags] for side in (truth, found)))

    def parse_line(self, line: str, where: str) -> Sentence:
        """See `TaskConfig.parse_line`: words with blanks between them."""
        found = list(re.finditer(r"\S+", line))
        words, begins = tuple(word[0] for word in found), tuple(word.start() for word in found)
        return Sentence(words, None, where, text=line, begins=begins)


def text_of(example: Tagged) -> str:
    """The text that the words stand in: these with single blanks where nothing else is known."""
    return example.text if isinstance(example, Sentence) else " ".join(example.words)


def begins_of(example: Tagged) -> tuple[int, ...]:
    """Where each word begins in that text."""
    if isinstance(example, Sentence):
        return example.begins
    ends = np.cumsum([len(word) + 1 for word in example.words])
    return (0, *ends[:-1].tolist())


def token_ranges(words: Sequence[str], spans: Ints) -> tuple[Ints, Ints]:
    """The first and the last token of each word [W], of the characters of each token [T, 2]; -1 where it has none."""
    sizes = np.array([len(word) for word in words])
    ends = np.cumsum(sizes + 1) - 1
    begins = ends - sizes
    first = np.searchsorted(spans[:, 1], begins, side="right")
    last = np.searchsorted(spans[:, 0], ends, side="left") - 1
    missing = first > last
    return np.where(missing, -1, first), np.where(missing, -1, last)


def parts_of(firsts: Ints, lasts: Ints, room: int) -> list[tuple[Ints, int, int]]:
    """A sentence in parts that fit: which words, and their tokens from one to another; a longer word is cut."""
    words = np.flatnonzero(firsts >= 0)
    parts, done = [], 0
    while done < len(words):
        begin = int(firsts[words[done]])
        stop = max(done + 1, int(np.searchsorted(lasts[words], begin + room, side="left")))
        parts.append((words[done:stop], begin, min(int(lasts[words[stop - 1]]) + 1, begin + room)))
        done = stop
    return parts


class Tagging(Task):
    """Sum of -log p(tag) over words. Term "tag"."""

    term = "tag"

    def __init__(self, config: TaggingConfig, spec: ModelSpec):
        super().__init__(config, spec)
        self.outputs, self.tags = config.outputs.build(self.backbone.dim, spec.labels), spec.labels

    def scores(self, vectors: Tensor, inputs: Inputs) -> Tensor:
        """See `Task.scores`: [B, T, L]"""
        found: Tensor = self.outputs(vectors)
        return found

    def loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        """See `Task.loss`."""
        return F.cross_entropy(scores.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum")

    def told(self, scores: Tensor, rows: Sequence[Row]) -> Tensor:
        """See `Task.told`: [B, T, 2] the number of the likeliest tag, and its probability"""
        probability, tag = scores.float().softmax(-1).max(-1)
        return torch.stack([tag.to(probability.dtype), probability], -1)

    def macs_per_token(self, length: int) -> float:
        """See `Objective.macs_per_token`: every token is told of."""
        return super().macs_per_token(length) + self.macs_on_top() * (1 - 1 / length)

    def uniform_loss(self) -> float:
        """See `Objective.uniform_loss`."""
        return math.log(max(self.tags, 2))


class ChainedTagging(Tagging):
    """Sum of -log p(all tags of a sentence), which counts as so many decisions as it has words. Term "tag"."""

    def __init__(self, config: TaggingConfig, spec: ModelSpec):
        super().__init__(config, spec)
        self.chain = Chain(self.tags)

    def loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        """See `Task.loss`."""
        return self.chain.loss(scores, labels, labels != IGNORED)

    def told(self, scores: Tensor, rows: Sequence[Row]) -> Tensor:
        """See `Task.told`: [B, T, 2] the tag in the likeliest sequence, and its probability"""
        words = torch.zeros(scores.shape[:2], dtype=torch.bool)
        for number, row in enumerate(rows):
            words[number, torch.from_numpy(row.places[1])] = True
        return self.chain.likeliest(scores, words.to(scores.device))
