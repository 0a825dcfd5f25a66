"""Tagging of words: spans such as names and diseases, or plain classes such as parts of speech.

Devlin et al. 2019 (BERT, section 5.3): a word is classified at its first token, independently of other words; with a
conditional random field (`crf`), all tags of a sentence together. B rows, T positions, K words of a row, D width,
L tags.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
from foretell.data.labelled.tags import OUTSIDE, Span, convert, malformed, spans_of, split_tag
from foretell.data.labelled.words import Splitting, split_words
from foretell.errors import ConfigError
from foretell.evaluate import metric_sums
from foretell.evaluate.metric_sums import Tally
from foretell.evaluate.task_metrics import classes_by_label, entities_by_label, entity_f1
from foretell.models.model_spec import ModelSpec
from foretell.tasks.crf import Chain
from foretell.tasks.task import Mistake, Prediction, Scores, Task, TaskConfig
from foretell.types import IGNORED, Inputs
from foretell.units import counted

MARKS = {"iob2": "BI", "bioes": "BIES"}


@dataclass(frozen=True)
class Entity:
    """A span of a text; `end` is one past its last character."""

    label: str
    text: str
    start: int
    end: int
    probability: float
    """product of the probabilities of its tags"""


@dataclass(frozen=True)
class Tags(Prediction):
    """The tags of a sentence, spans as IOB2 whatever the scheme."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    probabilities: tuple[float, ...]
    """of each tag"""
    offsets: tuple[tuple[int, int], ...]
    """the first character of each word in the text, and one past its last"""
    entities: tuple[Entity, ...]

    @override
    def line(self) -> str:
        """The spans as `start:end label text`, separated by tabs; without spans, the words likewise."""
        if self.entities or set(self.tags) == {OUTSIDE}:
            found = [(span.start, span.end, span.label, span.text) for span in self.entities]
        else:
            found = [(*at, tag, word) for at, tag, word in zip(self.offsets, self.tags, self.words, strict=True)]
        return "\t".join(f"{start}:{end} {tag} {' '.join(one_line(text).split())}" for start, end, tag, text in found)


@dataclass(frozen=True)
class Sentence(Tagged):
    """A text as words, with their offsets."""

    text: str = field(default="", kw_only=True)
    begins: tuple[int, ...] = field(default=(), kw_only=True)
    """the first character of each word"""

    @property
    @override
    def line(self) -> str:
        return self.text


class TaggingConfig(TaskConfig):
    """Predict a tag for each word."""

    kind: Literal["tagging"] = "tagging"
    takes = Tagged
    predicts = Tags
    cuts_texts = False
    words: Splitting = "punctuation"
    """how a line of raw text is split into words: punctuation from words (`data.labelled.words`), or at whitespace
    only, for text that is tokenised already"""
    scheme: Literal["iob2", "bioes", "none"] = "iob2"
    """tags that spans are learned as; none: each tag is a class of its own, such as a part of speech"""
    at: Literal["first", "last"] = "first"
    """the token that a word is classified at; last suits causal models"""
    crf: bool = False
    """predict the likeliest sequence of tags by a conditional random field, not the likeliest tag of each word; a
    sentence that is too long has one sequence for each part"""
    metric: Literal["entity_f1", "accuracy"] = "entity_f1"
    """metric that validation is judged by, over spans or over words; absent with scheme = "none": accuracy"""

    @model_validator(mode="before")
    @classmethod
    def _classes_are_counted(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and given.get("scheme") == "none":
            return {"metric": "accuracy", **given}
        return given

    @model_validator(mode="after")
    def _has_spans(self) -> Self:
        if self.scheme == "none" and self.metric == "entity_f1":
            raise ValueError('scheme = "none" has no spans to measure; set metric = "accuracy"')
        return self

    @override
    def output_notes(self, labels: Sequence[str]) -> tuple[str, ...]:
        return (f"The tag of a word is predicted at its {self.at} token.",)

    @override
    def labels(self, examples: Sequence[Any]) -> tuple[str, ...]:
        """All tags of the scheme for each kind of span."""
        tags = {tag for example in examples for tag in example.tags or ()}
        if len(tags) == 1 and (tags == {OUTSIDE} or self.scheme == "none"):
            (tag,) = tags
            raise ConfigError(f"data.corpus: every tag of the training split is {tag!r}: nothing to distinguish")
        if self.scheme == "none":
            warn_alike(sorted(tags))
            return tuple(sorted(tags))
        if wrong := sorted(tag for tag in tags if malformed(tag, "iob2")):
            raise ConfigError(
                f"data.corpus: some tags of the training split are plain classes, such as {wrong[0]!r}, and "
                f'objective.scheme = "{self.scheme}" learns spans',
                remedy='set objective.scheme = "none", or name the scheme of the file as data.reader.scheme',
            )
        kinds = sorted({split_tag(tag)[1] for tag in tags if tag != OUTSIDE})
        warn_alike(kinds)
        return (OUTSIDE, *(f"{mark}-{kind}" for kind in kinds for mark in MARKS[self.scheme]))

    @override
    def labels_fault(self, labels: tuple[str, ...]) -> str:
        if not labels or self.scheme == "none":
            return "" if labels else "has no tags"
        return next(filter(None, (malformed(tag, self.scheme) for tag in labels)), "")

    @override
    def example_fault(self, example: Tagged, labels: tuple[str, ...]) -> str:
        if not example.words:
            return "a sentence without words"
        if example.tags is None:
            return ""
        if len(example.tags) != len(example.words):
            return f"{counted(len(example.words), 'word')} with {counted(len(example.tags), 'tag')}"
        unseen = [tag for tag in self.as_learned(example.tags) if tag not in labels]
        return f"the tag {unseen[0]!r} is not in the training split" if unseen else ""

    def as_learned(self, tags: tuple[str, ...]) -> tuple[str, ...]:
        """IOB2 tags in the scheme that is learned."""
        return tags if self.scheme == "none" else convert(tags, self.scheme)

    @override
    def rows(self, examples: Sequence[Tagged], framing: Framing, labels: tuple[str, ...]) -> list[Row]:
        """Labels [T]; a sentence that is too long becomes several rows.

        `places` of a row: the numbers of its words [K] and the positions they are classified at [K].
        """
        number = {label: i for i, label in enumerate(labels)}
        encoded = framing.spans([" ".join(example.words) for example in examples])
        rows = []
        for i, (example, (ids, spans)) in enumerate(zip(examples, encoded, strict=True)):
            tags = None if example.tags is None else np.array([number[tag] for tag in self.as_learned(example.tags)])
            firsts, lasts = token_ranges(example.words, spans)
            for words, begin, end in parts_of(firsts, lasts, framing.room):
                reading = framing.frame(ids[begin:end])
                tokens = (firsts if self.at == "first" else lasts)[words].clip(max=end - 1)
                positions = tokens - begin + 1  # after the begin mark
                targets = None
                if tags is not None:
                    targets = np.full(len(reading.tokens), IGNORED)
                    targets[positions] = tags[words]
                rows.append(Row(i, (reading,), targets, (words, positions)))
        return rows

    @override
    def build(self, spec: ModelSpec) -> Tagging:
        return ChainedTagging(self, spec) if self.crf else Tagging(self, spec)

    @override
    def predictions(
        self, examples: Sequence[Tagged], rows: Sequence[Row], scores: Sequence[Scores], labels: tuple[str, ...]
    ) -> list[Tags]:
        """A word without tokens is outside."""
        outside = OUTSIDE if OUTSIDE in labels else labels[0]
        tags = [[outside] * len(example.words) for example in examples]
        probabilities = [[0.0] * len(example.words) for example in examples]
        for row, row_scores in zip(rows, scores, strict=True):
            words, positions = row.places
            for word, (tag, probability) in zip(words, row_scores[positions].tolist(), strict=True):
                tags[row.example][word], probabilities[row.example][word] = labels[int(tag)], probability
        return [self.prediction(e, tuple(t), tuple(p)) for e, t, p in zip(examples, tags, probabilities, strict=True)]

    def prediction(self, example: Tagged, tags: tuple[str, ...], probabilities: tuple[float, ...]) -> Tags:
        """The prediction from the tag of each word."""
        text, begins = text_of(example), begins_of(example)
        offsets = tuple((begin, begin + len(word)) for begin, word in zip(begins, example.words, strict=True))
        if self.scheme == "none":
            return Tags(example.words, tags, probabilities, offsets, ())
        entities = []
        for label, start, end in spans_of(tags):
            first, last = offsets[start][0], offsets[end - 1][1]
            entities.append(Entity(label, text[first:last], first, last, math.prod(probabilities[start:end])))
        return Tags(example.words, convert(tags, "iob2"), probabilities, offsets, tuple(entities))

    @override
    def measure(self, examples: Sequence[Tagged], predictions: Sequence[Tags]) -> dict[str, Any]:
        gold, predicted = tags_of(examples, predictions)
        right = [a == b for pair in zip(gold, predicted, strict=True) for a, b in zip(*pair, strict=True)]
        metrics = {"accuracy": float(np.mean(right))}
        return metrics if self.scheme == "none" else entity_f1(gold, predicted) | metrics

    @override
    def tally(self, examples: Sequence[Tagged], predictions: Sequence[Tags]) -> Tally:
        gold, predicted = tags_of(examples, predictions)
        if self.metric == "accuracy":
            right = [sum(a == b for a, b in zip(*pair, strict=True)) for pair in zip(gold, predicted, strict=True)]
            return metric_sums.ratio(right, [len(tags) for tags in gold])
        spans = [(set(spans_of(a)), set(spans_of(b))) for a, b in zip(gold, predicted, strict=True)]
        return metric_sums.f1(*zip(*((len(a & b), len(a), len(b)) for a, b in spans), strict=True))

    @override
    def confused(self, examples: Sequence[Tagged], predictions: Sequence[Tags]) -> list[tuple[str, str]]:
        """Words by the kind of their span, or by their tag."""
        of = str if self.scheme == "none" else kind_of
        sides = zip(*tags_of(examples, predictions), strict=True)
        return [(of(a), of(b)) for gold, predicted in sides for a, b in zip(gold, predicted, strict=True)]

    @override
    def confidences(self, examples: Sequence[Tagged], predictions: Sequence[Tags]) -> list[tuple[float, bool]]:
        """Probabilities of the tag of each word."""
        found = []
        for example, prediction in zip(examples, predictions, strict=True):
            tags = zip(example.tags or (), prediction.tags, prediction.probabilities, strict=True)
            found += [(p, gold == predicted) for gold, predicted, p in tags]
        return found

    @override
    def mistakes(self, examples: Sequence[Tagged], predictions: Sequence[Tags]) -> list[Mistake]:
        """Each wrong span, or word, in [brackets] in its sentence, the most probable first."""
        found = []
        for e, p in zip(examples, predictions, strict=True):
            sides = ({(start, end): label for label, start, end in self.parts(tags)} for tags in (e.tags or (), p.tags))
            gold, predicted = sides
            for start, end in sorted(gold.keys() | predicted.keys()):
                labels = gold.get((start, end), OUTSIDE), predicted.get((start, end), OUTSIDE)
                if labels[0] != labels[1]:
                    probability = math.prod(p.probabilities[start:end])
                    words = (*e.words[:start], f"[{' '.join(e.words[start:end])}]", *e.words[end:])
                    found.append(Mistake(*labels, probability, " ".join(words), e.where, probability))
        return found

    def parts(self, tags: Sequence[str]) -> list[Span]:
        """The spans in tags; without spans, each word is one."""
        return [Span(tag, i, i + 1) for i, tag in enumerate(tags)] if self.scheme == "none" else spans_of(tags)

    @override
    def by_label(self, examples: Sequence[Tagged], predictions: Sequence[Tags]) -> dict[str, dict[str, float]]:
        """Scores of entities; without spans, of words."""
        gold, predicted = tags_of(examples, predictions)
        if self.scheme != "none":
            return entities_by_label(gold, predicted)
        return classes_by_label(*([[tag] for tags in side for tag in tags] for side in (gold, predicted)))

    @override
    def splitting(self, words: Splitting) -> Self:
        return self.model_copy(update={"words": words})

    @override
    def parse_line(self, line: str, where: str) -> Sentence:
        """The words of a text; see `words`."""
        found = split_words(line, self.words)
        words, begins = tuple(word.text for word in found), tuple(word.start for word in found)
        return Sentence(words, None, where, text=line, begins=begins)


def tags_of(
    examples: Sequence[Tagged], predictions: Sequence[Tags]
) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """Gold and predicted tags of each sentence."""
    return [example.tags or () for example in examples], [prediction.tags for prediction in predictions]


def kind_of(tag: str) -> str:
    """The kind of span that a tag belongs to."""
    return tag if tag == OUTSIDE else split_tag(tag)[1]


def text_of(example: Tagged) -> str:
    """The text of the words: as it was typed, else the words joined by blanks."""
    return example.text if isinstance(example, Sentence) else " ".join(example.words)


def begins_of(example: Tagged) -> tuple[int, ...]:
    """The offset of each word in that text."""
    if isinstance(example, Sentence):
        return example.begins
    ends = np.cumsum([len(word) + 1 for word in example.words])
    return (0, *ends[:-1].tolist())


def token_ranges(words: Sequence[str], spans: Ints) -> tuple[Ints, Ints]:
    """The first and the last token of each word [W], -1 where it has none, from the characters of each token [T, 2]."""
    sizes = np.array([len(word) for word in words])
    ends = np.cumsum(sizes + 1) - 1
    begins = ends - sizes
    first = np.searchsorted(spans[:, 1], begins, side="right")
    last = np.searchsorted(spans[:, 0], ends, side="left") - 1
    missing = first > last
    return np.where(missing, -1, first), np.where(missing, -1, last)


def parts_of(firsts: Ints, lasts: Ints, room: int) -> list[tuple[Ints, int, int]]:
    """A sentence in parts of at most `room` tokens: (words, first token, end); a word that is longer is cut."""
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

    @override
    def scores(self, vectors: Tensor, inputs: Inputs) -> Tensor:
        """[B, T, L]"""
        scores: Tensor = self.outputs(vectors)
        return scores

    @override
    def loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(scores.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum")

    @override
    def probabilities(self, scores: Tensor, rows: Sequence[Row]) -> Tensor:
        """The number of the likeliest tag, and its probability [B, T, 2]."""
        probability, tag = scores.float().softmax(-1).max(-1)
        return torch.stack([tag.to(probability.dtype), probability], -1)

    @override
    def macs_per_token(self, length: int) -> float:
        """The output layers run on every token."""
        return super().macs_per_token(length) + self.output_macs() * (1 - 1 / length)

    @override
    def uniform_loss(self) -> float:
        return math.log(max(self.tags, 2))


class ChainedTagging(Tagging):
    """Sum of -log p(all tags of a sentence), divided by its number of words. Term "tag"."""

    def __init__(self, config: TaggingConfig, spec: ModelSpec):
        super().__init__(config, spec)
        self.chain = Chain(self.tags)

    @override
    def loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        return self.chain.loss(scores, labels, labels != IGNORED)

    @override
    def probabilities(self, scores: Tensor, rows: Sequence[Row]) -> Tensor:
        """The number of each tag of the likeliest sequence, and its marginal [B, T, 2]."""
        words = torch.zeros(scores.shape[:2], dtype=torch.bool)
        for number, row in enumerate(rows):
            words[number, torch.from_numpy(row.places[1])] = True
        return self.chain.likeliest(scores, words.to(scores.device))
