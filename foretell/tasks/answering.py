"""Find the stretch of a passage that answers a question.

Devlin et al. 2019 (BERT, sections 4.2 and 4.3) with its published code (run_squad.py): a passage that is too long is
read in windows that overlap, a token counts where it has most context, and the first mark of a window stands for "there
is no answer". B rows, T places, D width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from foretell.config import Real, Size
from foretell.data.batches.batches import Ints
from foretell.data.batches.framing import Framing, Row
from foretell.data.labelled.examples import Question, one_line
from foretell.errors import ConfigError
from foretell.evaluate import metric_sums
from foretell.evaluate.metric_sums import Tally
from foretell.evaluate.task_metrics import marks, null_threshold, squad
from foretell.models.model_spec import ModelSpec
from foretell.nn.ragged import real_tokens
from foretell.tasks.task import Prediction, Scores, Task, TaskConfig
from foretell.types import Inputs

IMPOSSIBLE = "impossible"


@dataclass(frozen=True)
class Stretch:
    """A stretch of a passage, by its first character and the one behind its last."""

    text: str
    start: int
    end: int
    probability: float
    """among the answers that are listed, and that there is none"""


@dataclass(frozen=True)
class Answered(Prediction):
    """The answer to a question, and others, best first."""

    id: str
    text: str
    """empty: the passage holds none"""
    start: int
    end: int
    no_answer: float | None
    """how much more the model says for there being none than for the best answer; nothing where there always is one"""
    candidates: tuple[Stretch, ...]

    def line(self) -> str:
        """The answer, where it starts and ends, and its probability."""
        probability = self.candidates[0].probability if self.candidates else 0.0
        return f"{one_line(self.text)}\t{self.start}\t{self.end}\t{probability:.4f}"


class Window(NamedTuple):
    """The part of a passage that a row holds."""

    first: int
    """the place of its first token in the row"""
    begin: int
    """the number of that token in the passage"""
    end: int
    """the number of the one behind its last"""
    central: Ints
    """[its tokens] bool: whether each has most context here"""
    spans: Ints
    """[its tokens, 2] the characters of each"""


class AnsweringConfig(TaskConfig):
    """Find the answer to a question in a passage."""

    kind: Literal["answering"] = "answering"
    takes = Question
    question: Size = 64
    """tokens of a question at most, and no more than half of what is read at once"""
    stride: Size = 128
    """tokens between the beginnings of windows"""
    longest: Size = 30
    """tokens of an answer at most"""
    best: Size = 20
    """answers that are listed"""
    threshold: Real | None = None
    """how much more has to be said for there being none than for the best answer, where that may be; absent: 0 until a
    validation has found what is best for it, which then holds for predictions and all other examples"""
    metric: Literal["f1", "exact_match"] = "f1"
    """what a validation is judged by"""

    def names(self, examples: Sequence[Any]) -> tuple[str, ...]:
        """See `TaskConfig.names`: whether there are questions without an answer."""
        return (IMPOSSIBLE,) if any(example.impossible for example in examples) else ()

    def misfit(self, names: tuple[str, ...]) -> str:
        """See `TaskConfig.misfit`."""
        return "" if names in ((), (IMPOSSIBLE,)) else f"its labels are not [] or [{IMPOSSIBLE!r}]"

    def fitted(self, validation: Mapping[str, Any]) -> Self:
        """See `TaskConfig.fitted`."""
        best = validation.get("best_threshold")
        if self.threshold is not None or not isinstance(best, int | float) or not math.isfinite(best):
            return self
        return self.model_copy(update={"threshold": float(best)})

    def complaint(self, example: Question, names: tuple[str, ...]) -> str:
        """See `TaskConfig.complaint`."""
        if not example.question.strip() or not example.passage.strip():
            return "an empty question or passage"
        for answer in example.answers:
            if example.passage[answer.start : answer.start + len(answer.text)] != answer.text:
                return f"the answer {answer.text!r} does not stand at character {answer.start} of its passage"
        return ""

    def rows(self, examples: Sequence[Question], framing: Framing, names: tuple[str, ...]) -> list[Row]:
        """See `TaskConfig.rows`: labels [2], where the answer begins and ends in the row, or twice 0."""
        spelled = lru_cache(maxsize=64)(framing.tokenizer.spans)  # questions on one passage come together
        questions = framing.encode([example.question for example in examples])
        rows, marks = [], framing.around(2)
        for number, (example, question) in enumerate(zip(examples, questions, strict=True)):
            ids, spans = spelled(example.passage)
            known = bool(example.answers) or example.impossible
            asked = question[: min(self.question, max(framing.length - marks, 0) // 2)]
            room = framing.length - len(asked) - marks
            if room < 1:
                raise ConfigError(
                    f"data.batches.length = {framing.length} leaves no room for a passage behind a question; "
                    "make it larger"
                )
            for window in windows(len(spans), room, min(self.stride, room), len(asked) + marks - 1, spans):
                reading = framing.frame(asked, ids[window.begin : window.end])
                label = place_of(example, window) if known else None
                rows.append(Row(number, (reading,), label, window))
        return rows

    def build(self, spec: ModelSpec) -> Answering:
        """The objective with its model."""
        return Answering(self, spec)

    def predictions(
        self, examples: Sequence[Question], rows: Sequence[Row], scores: Sequence[Scores], names: tuple[str, ...]
    ) -> list[Answered]:
        """See `TaskConfig.predictions`."""
        found: list[list[tuple[float, int, int]]] = [[] for _ in examples]
        nothing = [math.inf] * len(examples)
        for row, score in zip(rows, scores, strict=True):
            found[row.example] += stretches(score, row.places, self.longest, self.best)
            nothing[row.example] = min(nothing[row.example], float(score[0].sum()))
        may_lack = IMPOSSIBLE in names
        return [
            self.prediction(example, ranked, none if may_lack else -math.inf)
            for example, ranked, none in zip(examples, found, nothing, strict=True)
        ]

    def prediction(self, example: Question, found: list[tuple[float, int, int]], nothing: float) -> Answered:
        """The answers with the largest scores, (score, start, end), against that of none."""
        ranked = sorted(found, key=lambda one: (-one[0], one[1], one[2]))[: self.best]
        scores = np.array([*(score for score, _, _ in ranked), nothing])
        weights = np.exp(scores - scores.max()) if len(ranked) or nothing > -math.inf else np.ones(1)
        shares = (weights / weights.sum()).tolist()
        listed = [Stretch(example.passage[s:e], s, e, p) for (_, s, e), p in zip(ranked, shares, strict=False)]
        gap = nothing - ranked[0][0] if ranked and nothing > -math.inf else None
        if not listed or (gap is not None and gap > (self.threshold or 0.0)):
            return Answered(example.id, "", -1, -1, gap, tuple(listed))
        return Answered(example.id, listed[0].text, listed[0].start, listed[0].end, gap, tuple(listed))

    def measure(self, examples: Sequence[Question], predictions: Sequence[Answered]) -> dict[str, Any]:
        """See `TaskConfig.measure`."""
        measured = squad(examples, [prediction.text for prediction in predictions])
        known = [one.no_answer for one in predictions if one.no_answer is not None]
        if known and any(example.impossible for example in examples):
            best = [prediction.candidates[0].text if prediction.candidates else "" for prediction in predictions]
            gaps = [math.inf if one.no_answer is None else one.no_answer for one in predictions]
            threshold, reached = null_threshold(examples, best, gaps, self.metric)
            threshold = max(threshold, min(known) - 1)  # -inf, no answer ever, as a number that JSON has
            used = {"threshold": self.threshold or 0.0, "best_threshold": threshold}
            measured |= used | {f"{self.metric}_at_best_threshold": reached}
        return measured

    def tally(self, examples: Sequence[Question], predictions: Sequence[Answered]) -> Tally:
        """See `TaskConfig.tally`."""
        none_allowed, place = any(one.impossible for one in examples), ("exact_match", "f1").index(self.metric)
        return metric_sums.mean(
            [marks(e, p.text, none_allowed)[place] for e, p in zip(examples, predictions, strict=True)]
        )

    def parse_line(self, line: str, where: str) -> Question:
        """See `TaskConfig.parse_line`: a question and a passage with a tab between them."""
        question, tab, passage = line.partition("\t")
        if not tab:
            raise ConfigError(f"{where}: a question and a passage, with a tab between them, are read")
        return Question(where, question, passage, (), where=where)


def windows(count: int, room: int, stride: int, first: int, spans: Ints) -> list[Window]:
    """Windows over so many tokens, and in each which of them have no more context in another.

    The context of a token in a window is the less of what is on its left and its right, and a little for the whole
    window (run_squad.py, _check_is_max_context); of equals the first counts.
    """
    begins = list(range(0, max(count - room, 0) + stride, stride)) if count > room else [0]
    ends = [min(begin + room, count) for begin in begins]
    kept = 1 + next(i for i, end in enumerate(ends) if end == count)
    place = np.arange(count)
    context = np.full((kept, count), -np.inf)
    for k, (begin, end) in enumerate(zip(begins[:kept], ends[:kept], strict=True)):
        here = place[begin:end]
        context[k, begin:end] = np.minimum(here - begin, end - 1 - here) + 0.01 * (end - begin)
    central = context.argmax(0) if count else place
    return [
        Window(first, begin, end, central[begin:end] == k, spans[begin:end])
        for k, (begin, end) in enumerate(zip(begins[:kept], ends[:kept], strict=True))
    ]


def place_of(example: Question, window: Window) -> Ints:
    """[2] the places of the first and the last token of the first answer in a row, twice 0 if it is not in there."""
    if not example.answers or not len(window.spans):
        return np.zeros(2, dtype=np.int64)
    answer = example.answers[0]
    stripped = answer.text.strip()
    begin = answer.start + answer.text.find(stripped)
    first = int(np.searchsorted(window.spans[:, 1], begin, side="right"))
    last = int(np.searchsorted(window.spans[:, 0], begin + len(stripped), side="left")) - 1
    inside = window.spans[0, 0] <= begin and begin + len(stripped) <= window.spans[-1, 1]
    return np.array([window.first + first, window.first + last] if inside and first <= last else [0, 0])


def stretches(scores: Scores, window: Window, longest: int, best: int) -> list[tuple[float, int, int]]:
    """scores [T, 2] of a row -> its best stretches: score, first character, the one behind the last."""
    here = scores[window.first : window.first + len(window.spans)]  # [t, 2]
    real = window.spans[:, 0] < window.spans[:, 1]  # no blanks
    starts, ends = (np.argsort(-here[:, side], kind="stable")[:best] for side in (0, 1))
    return [
        (float(here[start, 0] + here[end, 1]), int(window.spans[start, 0]), int(window.spans[end, 1]))
        for start in starts
        for end in ends
        if window.central[start] and real[start] and real[end] and start <= end < start + longest
    ]


class Answering(Task):
    """Sum of -log p(first token) and -log p(last token), half each. Term "answer"."""

    term = "answer"

    def __init__(self, config: AnsweringConfig, spec: ModelSpec):
        super().__init__(config, spec)
        self.outputs = config.outputs.build(self.backbone.dim, 2)

    def scores(self, vectors: Tensor, inputs: Inputs) -> Tensor:
        """See `Task.scores`: [B, T, 2], nothing for places behind the end of a row"""
        found: Tensor = self.outputs(vectors).float()
        if inputs.lengths is None:
            return found
        return found.masked_fill(~real_tokens(found.shape[1], inputs.lengths)[..., None], -math.inf)

    def loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        """See `Task.loss`."""
        return F.cross_entropy(scores, labels, reduction="sum") / 2

    def decisions(self, labels: Tensor) -> int:
        """See `Task.decisions`: one a row."""
        return len(labels)

    def macs_per_token(self, length: int) -> float:
        """See `Objective.macs_per_token`: every token is told of."""
        return super().macs_per_token(length) + self.macs_on_top() * (1 - 1 / length)

    def uniform_loss(self) -> float:
        """See `Objective.uniform_loss`: any place of a long row."""
        return math.log(512)
