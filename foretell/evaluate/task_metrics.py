"""Metrics of tasks: classes, correlations, entities, answers. Pure functions; all figures are fractions, not per cent.

scikit-learn and SciPy compute what the field computes with them; entities follow conlleval.pl, answers the two scripts
of SQuAD. Gold is the label of an example, predicted that of the model.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from foretell.data.labelled.examples import Question
from foretell.data.labelled.tags import Span, spans_of

PUNCTUATION = str.maketrans("", "", string.punctuation)
ARTICLES = re.compile(r"\b(a|an|the)\b")


# --- classes --------------------------------------------------------------------------------------


def classification(gold: Sequence[str], predicted: Sequence[str], positive: str = "") -> dict[str, float]:
    """Accuracy, F1 and Matthews' correlation with one class per example; `f1` is that of the `positive` class.

    `macro_f1` is the mean over all classes on either side; one that is never right counts as 0. `matthews` is 0 where
    either side has a single class, as in scikit-learn.
    """
    metrics = scikit_learn_metrics()
    labels = sorted({*gold, *predicted})
    scores = {
        "accuracy": float(metrics.accuracy_score(gold, predicted)),
        "macro_f1": float(metrics.f1_score(gold, predicted, labels=labels, average="macro", zero_division=0)),
        "matthews": float(metrics.matthews_corrcoef(gold, predicted)) if len(labels) > 1 else 0.0,
    }
    if positive:
        scores["f1"] = float(metrics.f1_score(gold, predicted, labels=[positive], average="macro", zero_division=0))
    return scores


def multi_label(gold: Sequence[Iterable[str]], predicted: Sequence[Iterable[str]]) -> dict[str, float]:
    """Accuracy (all labels of an example right) and F1 over labels, with any number of labels per example."""
    metrics = scikit_learn_metrics()
    pairs = [(set(a), set(b)) for a, b in zip(gold, predicted, strict=True)]
    labels = sorted({label for pair in pairs for side in pair for label in side})
    columns = [*labels, None]  # an extra empty one: scikit-learn would take a single column for two classes
    gold_bits, predicted_bits = (
        np.array([[label in pair[side] for label in columns] for pair in pairs]) for side in (0, 1)
    )
    scores = {"accuracy": float(np.mean([a == b for a, b in pairs]))}
    for average in ("micro", "macro"):  # without any label on either side nothing is found and nothing missed
        f1 = (
            metrics.f1_score(gold_bits, predicted_bits, labels=range(len(labels)), average=average, zero_division=0)
            if labels
            else 0
        )
        scores[f"{average}_f1"] = float(f1)
    return scores


def classes_by_label(gold: Sequence[Iterable[str]], predicted: Sequence[Iterable[str]]) -> dict[str, dict[str, float]]:
    """Precision, recall and F1 of each class, and its number of examples as `support`."""
    pairs = [(set(a), set(b)) for a, b in zip(gold, predicted, strict=True)]
    sides = ([a & b for a, b in pairs], [a for a, _ in pairs], [b for _, b in pairs])
    return f1_by_label(*(Counter(label for labels in side for label in labels) for side in sides))


def confusion(pairs: Iterable[tuple[str, str]]) -> dict[str, dict[str, int]]:
    """How often each gold label was predicted as which: `{gold: {predicted: number}}`, without zeros."""
    counts: dict[str, Counter[str]] = {}
    for gold, predicted in pairs:
        counts.setdefault(gold, Counter())[predicted] += 1
    return {gold: dict(sorted(counts[gold].items())) for gold in sorted(counts)}


def scikit_learn_metrics() -> Any:
    """scikit-learn's metrics, imported only here: the import takes a second."""
    from sklearn import metrics

    return metrics


# --- scores ---------------------------------------------------------------------------------------


def pearson(gold: Sequence[float], predicted: Sequence[float]) -> float:
    """Linear correlation; 0 where either side is constant."""
    return correlation("pearsonr", gold, predicted)


def spearman(gold: Sequence[float], predicted: Sequence[float]) -> float:
    """Correlation of ranks, ties with their mean rank; 0 where either side is constant."""
    return correlation("spearmanr", gold, predicted)


def ranks(values: Sequence[float]) -> list[float]:
    """Ranks from 1, ties with their mean rank."""
    ranked: list[float] = scipy_stats().rankdata(values).tolist()
    return ranked


def correlation(name: str, gold: Sequence[float], predicted: Sequence[float]) -> float:
    """One of SciPy's correlations."""
    if len(set(gold)) < 2 or len(set(predicted)) < 2:
        return 0.0
    function: Callable[..., Any] = getattr(scipy_stats(), name)
    return float(function(gold, predicted).statistic)


def scipy_stats() -> Any:
    """SciPy's statistics, imported only here."""
    from scipy import stats

    return stats


def score_errors(gold: Sequence[float], predicted: Sequence[float]) -> dict[str, Any]:
    """The distribution of predicted - gold: its mean and sizes, quantiles, and a histogram of 20 bins."""
    errors = np.asarray(predicted, np.float64) - np.asarray(gold, np.float64)
    if not len(errors):
        return {}
    counts, edges = np.histogram(errors, bins=20)
    shares = (0.05, 0.25, 0.5, 0.75, 0.95)
    return {
        "bias": float(errors.mean()),
        "mean_absolute_error": float(np.abs(errors).mean()),
        "root_mean_square_error": float(np.sqrt(np.square(errors).mean())),
        "quantiles": {
            f"{share:.0%}": float(value) for share, value in zip(shares, np.quantile(errors, shares), strict=True)
        },
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
    }


# --- entities -------------------------------------------------------------------------------------


def entity_f1(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> dict[str, float]:
    """Precision, recall and F1 of entities, right where label, first and last word are; tags in any one scheme.

    Tags that break the rules of their scheme are read as conlleval.pl and seqeval read them: see `spans_of`.
    """
    a, b = located(gold), located(predicted)
    return {f"entity_{name}": value for name, value in precision_recall_f1(len(a & b), len(a), len(b)).items()}


def entities_by_label(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> dict[str, dict[str, float]]:
    """Precision, recall and F1 of entities for each label, and their number as `support`."""
    a, b = located(gold), located(predicted)
    return f1_by_label(*(Counter(span.label for _, span in side) for side in (a & b, a, b)))


def located(sentences: Sequence[Sequence[str]]) -> set[tuple[int, Span]]:
    """All spans, each with the index of its sentence."""
    return {(number, span) for number, tags in enumerate(sentences) for span in spans_of(tags)}


def f1_by_label(
    right: Mapping[str, int], gold: Mapping[str, int], predicted: Mapping[str, int]
) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and support of each label, from true positives, gold and predicted counts."""
    return {
        label: precision_recall_f1(right.get(label, 0), gold.get(label, 0), predicted.get(label, 0))
        | {"support": gold.get(label, 0)}
        for label in sorted({*gold, *predicted})
    }


def precision_recall_f1(right: int, gold: int, predicted: int) -> dict[str, float]:
    """From true positives, gold and predicted counts; 0 where a denominator is 0."""
    return {
        "precision": right / predicted if predicted else 0.0,
        "recall": right / gold if gold else 0.0,
        "f1": 2 * right / (gold + predicted) if right else 0.0,
    }


# --- answers --------------------------------------------------------------------------------------


def squad(questions: Sequence[Question], answers: Sequence[str]) -> dict[str, float]:
    """Exact match and F1 as SQuAD's scripts count them; the empty answer is "no answer".

    A set without impossible questions is counted as evaluate-v1.1.py does, any other as evaluate-v2.0.py, and then
    also separately for questions with and without an answer.
    """
    possible = np.array([not question.impossible for question in questions])
    none_allowed = not possible.all()
    scores = np.array([answer_scores(q, a, none_allowed) for q, a in zip(questions, answers, strict=True)])  # [N, 2]
    metrics = mean_scores("", scores)
    if none_allowed:
        metrics |= mean_scores("possible_", scores[possible]) | mean_scores("impossible_", scores[~possible])
    return metrics


def mean_scores(prefix: str, scores: np.ndarray[Any, Any]) -> dict[str, float]:
    """The means of scores [N, 2] by name; empty for an empty group."""
    if not len(scores):
        return {}
    exact, f1 = scores.mean(0).tolist()
    return {f"{prefix}exact_match": exact, f"{prefix}f1": f1}


def answer_scores(question: Question, answer: str, none_allowed: bool) -> tuple[float, float]:
    """Exact match and F1 of one answer: the best over all gold answers."""
    gold = [words_of(answer.text) for answer in question.answers]
    if none_allowed:  # a gold answer of articles and punctuation only is "no answer" in evaluate-v2.0.py
        gold = [words for words in gold if words] or [[]]
    predicted = words_of(answer)
    return float(predicted in gold), max((word_f1(words, predicted, none_allowed) for words in gold), default=0.0)


def word_f1(gold: Sequence[str], predicted: Sequence[str], none_allowed: bool) -> float:
    """F1 of the words of two answers; 1 for two empty ones where "no answer" is allowed."""
    if not gold or not predicted:
        return float(none_allowed and gold == predicted)
    common = sum((Counter(gold) & Counter(predicted)).values())
    return 2 * common / (len(gold) + len(predicted))


def words_of(answer: str) -> list[str]:
    """The words of an answer that count: in lower case, without ASCII punctuation and articles."""
    return ARTICLES.sub(" ", answer.lower().translate(PUNCTUATION)).split()


def null_threshold(
    questions: Sequence[Question], answers: Sequence[str], no_answer: Sequence[float], metric: str = "f1"
) -> tuple[float, float]:
    """The best threshold on the score of "no answer", and the metric at it: (threshold, value).

    `answers` are the best spans whatever that score is; none is given where the score is *larger* than the threshold.
    The threshold is one of the scores, or -inf. Questions with equal scores stay together; evaluate-v2.0.py splits
    them, and then reports a value that no threshold reaches.
    """
    column = {"exact_match": 0, "f1": 1}[metric]
    answered = np.array([answer_scores(q, a, True)[column] for q, a in zip(questions, answers, strict=True)])
    silent = np.array([answer_scores(question, "", True)[column] for question in questions])
    scores = np.asarray(no_answer, dtype=float)
    order = np.argsort(scores, kind="stable")
    totals = silent.sum() + np.concatenate([[0.0], np.cumsum((answered - silent)[order])])  # with the first k answered
    ranked = scores[order]
    ends = np.concatenate([[True], np.append(ranked[1:] != ranked[:-1], True)])  # no threshold lies within equal scores
    best = int(np.argmax(np.where(ends, totals, -np.inf)))
    return (float(ranked[best - 1]) if best else -np.inf), float(totals[best] / len(scores))
