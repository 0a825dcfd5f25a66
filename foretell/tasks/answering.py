"""Question answering: the span of a passage that answers a question.

Devlin et al. 2019 (BERT, sections 4.2 and 4.3) with its published code (run_squad.py): a long passage is read in
overlapping windows, a token counts in the window where it has most context, and the first mark of a window stands for
"no answer". B rows, T positions, D width.
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
from typing_extensions import override

from foretell.config import Real, Size
from foretell.data.batches.batches import Ints
from foretell.data.batches.framing import Framing, Row
from foretell.data.labelled.examples import Question, one_line
from foretell.errors import ConfigError
from foretell.evaluate import metric_sums
from foretell.evaluate.metric_sums import Tally
from foretell.evaluate.task_metrics import answer_scores, null_threshold, squad
from foretell.models.model_spec import ModelSpec
from foretell.nn.ragged import real_tokens
from foretell.tasks.task import Mistake, Prediction, Scores, Task, TaskConfig
from foretell.types import Inputs

IMPOSSIBLE = "impossible"


@dataclass(frozen=True)
class AnswerSpan:
    """A span of a passage; `end` is one past its last character."""

    text: str
    start: int
    end: int
    probability: float
    """the probabilities of the candidates and of "no answer" sum to 1"""


@dataclass(frozen=True)
class Answered(Prediction):
    """The answer to a question, and the best candidates."""

    id: str
    text: str
    """empty: no answer"""
    start: int
    end: int
    no_answer: float | None
    """score of "no answer" minus that of the best span; None where every question has an answer"""
    candidates: tuple[AnswerSpan, ...]
    """best first"""

    @property
    def probability(self) -> float:
        """The probability of the answer, or of "no answer"."""
        if self.start < 0:
            return max(0.0, 1 - sum(span.probability for span in self.candidates))
        return self.candidates[0].probability

    @override
    def line(self) -> str:
        """The answer, its start and end, and its probability, separated by tabs."""
        probability = self.candidates[0].probability if self.candidates else 0.0
        return f"{one_line(self.text)}\t{self.start}\t{self.end}\t{probability:.4f}"


class Window(NamedTuple):
    """The part of a passage in a row: n tokens."""

    first: int
    """position of its first token in the row"""
    begin: int
    """index of that token in the passage"""
    end: int
    """one past the index of its last token"""
    central: Ints
    """[n] bool: whether each token has most context here"""
    spans: Ints
    """[n, 2] the characters of each token"""


class AnsweringConfig(TaskConfig):
    """Find the span of a passage that answers a question."""

    kind: Literal["answering"] = "answering"
    takes = Question
    predicts = Answered
    cuts_texts = False
    question: Size = 64
    """most tokens of a question; at most half of `data.batches.length` in any case"""
    stride: Size = 128
    """tokens between the starts of windows"""
    longest: Size = 30
    """most tokens of an answer"""
    best: Size = 20
    """number of candidates"""
    threshold: Real | None = None
    """predict "no answer" if its score exceeds the best span's by more than this; absent: 0 in validation, and for all
    other examples the threshold that was best in validation"""
    metric: Literal["f1", "exact_match"] = "f1"
    """metric that validation is judged by"""

    @override
    def labels(self, examples: Sequence[Any]) -> tuple[str, ...]:
        """`IMPOSSIBLE` where some questions have no answer."""
        return (IMPOSSIBLE,) if any(example.impossible for example in examples) else ()

    @override
    def labels_fault(self, labels: tuple[str, ...]) -> str:
        return "" if labels in ((), (IMPOSSIBLE,)) else f"its labels are not [] or [{IMPOSSIBLE!r}]"

    @override
    def fitted(self, validation: Mapping[str, Any]) -> Self:
        best = validation.get("best_threshold")
        if self.threshold is not None or not isinstance(best, int | float) or not math.isfinite(best):
            return self
        return self.model_copy(update={"threshold": float(best)})

    @override
    def example_fault(self, example: Question, labels: tuple[str, ...]) -> str:
        if not example.question.strip() or not example.passage.strip():
            return "an empty question or passage"
        for answer in example.answers:
            if example.passage[answer.start : answer.start + len(answer.text)] != answer.text:
                return f"the answer {answer.text!r} is not at character {answer.start} of its passage"
        return ""

    @override
    def rows(self, examples: Sequence[Question], framing: Framing, labels: tuple[str, ...]) -> list[Row]:
        """Labels [2]: the positions of the answer's first and last token, or 0 twice."""
        encoded = lru_cache(maxsize=64)(framing.tokenizer.spans)  # questions on a passage are neighbours
        questions = framing.encode([example.question for example in examples])
        rows, marks = [], framing.around(2)
        for number, (example, ids) in enumerate(zip(examples, questions, strict=True)):
            passage, spans = encoded(example.passage)
            labelled = bool(example.answers) or example.impossible
            question = ids[: min(self.question, max(framing.length - marks, 0) // 2)]
            room = framing.length - len(question) - marks
            if room < 1:
                raise ConfigError(
                    f"data.batches.length = {framing.length} leaves no room for a passage after a question; "
                    "make it larger"
                )
            for window in windows(len(spans), room, min(self.stride, room), len(question) + marks - 1, spans):
                reading = framing.frame(question, passage[window.begin : window.end])
                label = answer_positions(example, window) if labelled else None
                rows.append(Row(number, (reading,), label, window))
        return rows

    @override
    def build(self, spec: ModelSpec) -> Answering:
        return Answering(self, spec)

    @override
    def predictions(
        self, examples: Sequence[Question], rows: Sequence[Row], scores: Sequence[Scores], labels: tuple[str, ...]
    ) -> list[Answered]:
        spans: list[list[tuple[float, int, int]]] = [[] for _ in examples]
        no_answer = [math.inf] * len(examples)
        for row, row_scores in zip(rows, scores, strict=True):
            spans[row.example] += best_spans(row_scores, row.places, self.longest, self.best)
            no_answer[row.example] = min(no_answer[row.example], float(row_scores[0].sum()))
        may_lack = IMPOSSIBLE in labels
        return [
            self.prediction(example, scored, none if may_lack else -math.inf)
            for example, scored, none in zip(examples, spans, no_answer, strict=True)
        ]

    def prediction(self, example: Question, spans: list[tuple[float, int, int]], no_answer: float) -> Answered:
        """The prediction from spans (score, start, end) and the score of "no answer"."""
        ranked = sorted(spans, key=lambda span: (-span[0], span[1], span[2]))[: self.best]
        scores = np.array([*(score for score, _, _ in ranked), no_answer])
        weights = np.exp(scores - scores.max()) if len(ranked) or no_answer > -math.inf else np.ones(1)
        probabilities = (weights / weights.sum()).tolist()
        passage = example.passage
        listed = [AnswerSpan(passage[s:e], s, e, p) for (_, s, e), p in zip(ranked, probabilities, strict=False)]
        gap = no_answer - ranked[0][0] if ranked and no_answer > -math.inf else None
        if not listed or (gap is not None and gap > (self.threshold or 0.0)):
            return Answered(example.id, "", -1, -1, gap, tuple(listed))
        return Answered(example.id, listed[0].text, listed[0].start, listed[0].end, gap, tuple(listed))

    @override
    def measure(self, examples: Sequence[Question], predictions: Sequence[Answered]) -> dict[str, Any]:
        metrics: dict[str, Any] = squad(examples, [prediction.text for prediction in predictions])
        known = [prediction.no_answer for prediction in predictions if prediction.no_answer is not None]
        if known and any(example.impossible for example in examples):
            best = [prediction.candidates[0].text if prediction.candidates else "" for prediction in predictions]
            gaps = [math.inf if prediction.no_answer is None else prediction.no_answer for prediction in predictions]
            threshold, reached = null_threshold(examples, best, gaps, self.metric)
            threshold = max(threshold, min(known) - 1)  # -inf ("never answer") as a finite number, for JSON
            used = {"threshold": self.threshold or 0.0, "best_threshold": threshold}
            metrics |= used | {f"{self.metric}_at_best_threshold": reached}
        return metrics

    @override
    def confidences(self, examples: Sequence[Question], predictions: Sequence[Answered]) -> list[tuple[float, bool]]:
        """Probabilities of answers; right: an exact match."""
        allowed = any(example.impossible for example in examples)
        pairs = zip(examples, predictions, strict=True)
        return [(p.probability, answer_scores(e, p.text, allowed)[0] == 1) for e, p in pairs]

    @override
    def mistakes(self, examples: Sequence[Question], predictions: Sequence[Answered]) -> list[Mistake]:
        """Answers without an exact match, by 1 - F1, then by their probability."""
        allowed, found = any(example.impossible for example in examples), []
        for e, p in zip(examples, predictions, strict=True):
            exact, f1 = answer_scores(e, p.text, allowed)
            if exact < 1:
                gold = " | ".join(dict.fromkeys(answer.text for answer in e.answers))
                found.append(Mistake(gold, p.text, p.probability, e.line, e.where, 2 * (1 - f1) + p.probability))
        return found

    @override
    def tally(self, examples: Sequence[Question], predictions: Sequence[Answered]) -> Tally:
        none_allowed, column = any(e.impossible for e in examples), ("exact_match", "f1").index(self.metric)
        return metric_sums.mean(
            [answer_scores(e, p.text, none_allowed)[column] for e, p in zip(examples, predictions, strict=True)]
        )

    @override
    def parse_line(self, line: str, where: str) -> Question:
        """A question and a passage, separated by a tab."""
        question, tab, passage = line.partition("\t")
        if not tab:
            raise ConfigError(f"{where}: expected a question and a passage, separated by a tab")
        return Question(where, question, passage, (), where=where)


def windows(count: int, room: int, stride: int, first: int, spans: Ints) -> list[Window]:
    """Windows of at most `room` over `count` tokens, and which tokens have most context in each.

    The context of a token in a window is the smaller of what is on its left and its right, plus 0.01 x the window's
    length (run_squad.py, _check_is_max_context); of equals the first window wins.
    """
    begins = list(range(0, max(count - room, 0) + stride, stride)) if count > room else [0]
    ends = [min(begin + room, count) for begin in begins]
    kept = 1 + next(i for i, end in enumerate(ends) if end == count)
    index = np.arange(count)
    context = np.full((kept, count), -np.inf)
    for k, (begin, end) in enumerate(zip(begins[:kept], ends[:kept], strict=True)):
        here = index[begin:end]
        context[k, begin:end] = np.minimum(here - begin, end - 1 - here) + 0.01 * (end - begin)
    central = context.argmax(0) if count else index
    return [
        Window(first, begin, end, central[begin:end] == k, spans[begin:end])
        for k, (begin, end) in enumerate(zip(begins[:kept], ends[:kept], strict=True))
    ]


def answer_positions(example: Question, window: Window) -> Ints:
    """Positions [2] of the first and the last token of the first answer in a row; 0 twice if it is not in there."""
    if not example.answers or not len(window.spans):
        return np.zeros(2, dtype=np.int64)
    answer = example.answers[0]
    stripped = answer.text.strip()
    begin = answer.start + answer.text.find(stripped)
    first = int(np.searchsorted(window.spans[:, 1], begin, side="right"))
    last = int(np.searchsorted(window.spans[:, 0], begin + len(stripped), side="left")) - 1
    inside = window.spans[0, 0] <= begin and begin + len(stripped) <= window.spans[-1, 1]
    return np.array([window.first + first, window.first + last] if inside and first <= last else [0, 0])


def best_spans(scores: Scores, window: Window, longest: int, best: int) -> list[tuple[float, int, int]]:
    """Scores [T, 2] of a row -> its best spans: score, first character, one past the last."""
    here = scores[window.first : window.first + len(window.spans)]  # [n, 2]
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

    @override
    def scores(self, vectors: Tensor, inputs: Inputs) -> Tensor:
        """[B, T, 2], -inf for padding"""
        scores: Tensor = self.outputs(vectors).float()
        if inputs.lengths is None:
            return scores
        return scores.masked_fill(~real_tokens(scores.shape[1], inputs.lengths)[..., None], -math.inf)

    @override
    def loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(scores, labels, reduction="sum") / 2

    @override
    def decisions(self, labels: Tensor) -> int:
        """One per row."""
        return len(labels)

    @override
    def macs_per_token(self, length: int) -> float:
        """The output layers run on every token."""
        return super().macs_per_token(length) + self.output_macs() * (1 - 1 / length)

    @override
    def uniform_loss(self) -> float:
        """Any position of a row of 512."""
        return math.log(512)
