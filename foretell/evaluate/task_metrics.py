"""How right predictions are: classes, scores, entities, answers. Pure functions; all figures are shares, not per cent.

What the field counts with a library is counted with it here (scikit-learn, SciPy); entities and answers are counted by
the rules of conlleval.pl and of the two scripts of SQuAD.
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
from foretell.errors import ConfigError

PUNCTUATION = str.maketrans("", "", string.punctuation)
ARTICLES = re.compile(r"\b(a|an|the)\b")


# --- classes --------------------------------------------------------------------------------------


def classification(truth: Sequence[str], found: Sequence[str], positive: str = "") -> dict[str, float]:
    """Accuracy, F1 and Matthews' correlation of one class each; `f1` is that of the `positive` class.

    `macro_f1` is the mean over all classes that occur on either side; one that is never right counts as 0. `matthews`
    is 0 where either side has but one class, as scikit-learn has it.
    """
    metrics = scikit_learn_metrics()
    labels = sorted({*truth, *found})
    scores = {
        "accuracy": float(metrics.accuracy_score(truth, found)),
        "macro_f1": float(metrics.f1_score(truth, found, labels=labels, average="macro", zero_division=0)),
        "matthews": float(metrics.matthews_corrcoef(truth, found)) if len(labels) > 1 else 0.0,
    }
    if positive:
        scores["f1"] = float(metrics.f1_score(truth, found, labels=[positive], average="macro", zero_division=0))
    return scores


def several_labels(truth: Sequence[Iterable[str]], found: Sequence[Iterable[str]]) -> dict[str, float]:
    """Accuracy (all labels of an example right) and F1 over labels, where an example has any number of them."""
    metrics = scikit_learn_metrics()
    pairs = [(set(one), set(other)) for one, other in zip(truth, found, strict=True)]
    labels = sorted({label for pair in pairs for side in pair for label in side})
    columns = [*labels, None]  # one that nobody has: scikit-learn would take a single column for two classes
    right, told = (np.array([[label in pair[side] for label in columns] for pair in pairs]) for side in (0, 1))
    scores = {"accuracy": float(np.mean([one == other for one, other in pairs]))}
    for average in ("micro", "macro"):  # no label at all on either side: none is found, none is missed
        f1 = metrics.f1_score(right, told, labels=range(len(labels)), average=average, zero_division=0) if labels else 0
        scores[f"{average}_f1"] = float(f1)
    return scores


def classes_by_label(truth: Sequence[Iterable[str]], found: Sequence[Iterable[str]]) -> dict[str, dict[str, float]]:
    """Precision, recall and F1 of each class, with its number of examples as `support`; an example may have several."""
    pairs = [(set(one), set(other)) for one, other in zip(truth, found, strict=True)]
    sides = ([one & other for one, other in pairs], [one for one, _ in pairs], [other for _, other in pairs])
    return each_label(*(Counter(label for labels in side for label in labels) for side in sides))


def scikit_learn_metrics() -> Any:
    """The library, imported only here: it takes a second."""
    try:
        from sklearn import metrics
    except ImportError:
        raise ConfigError("to measure F1 and correlations, pip install 'foretell[tasks]'") from None
    return metrics


# --- scores ---------------------------------------------------------------------------------------


def pearson(truth: Sequence[float], found: Sequence[float]) -> float:
    """The linear correlation; 0 where either side is constant, which leaves it undefined."""
    return correlation("pearsonr", truth, found)


def spearman(truth: Sequence[float], found: Sequence[float]) -> float:
    """The correlation of ranks, equal values with their mean rank; 0 where either side is constant."""
    return correlation("spearmanr", truth, found)


def ranks(values: Sequence[float]) -> list[float]:
    """Each value's rank from 1, equal ones with their mean rank."""
    found: list[float] = scipy_stats().rankdata(values).tolist()
    return found


def correlation(name: str, truth: Sequence[float], found: Sequence[float]) -> float:
    """One of SciPy's correlations."""
    if len(set(truth)) < 2 or len(set(found)) < 2:
        return 0.0
    measured: Callable[..., Any] = getattr(scipy_stats(), name)
    return float(measured(truth, found).statistic)


def scipy_stats() -> Any:
    """The library, imported only here."""
    try:
        from scipy import stats
    except ImportError:
        raise ConfigError("to measure correlations, pip install 'foretell[tasks]'") from None
    return stats


# --- entities -------------------------------------------------------------------------------------


def entity_f1(truth: Sequence[Sequence[str]], found: Sequence[Sequence[str]]) -> dict[str, float]:
    """Precision, recall and F1 of entities, right where label, first and last word are; tags in any one scheme.

    Tags that break the rules of their scheme are read as conlleval.pl and seqeval read them: see `spans_of`.
    """
    there, told = located(truth), located(found)
    return {f"entity_{name}": value for name, value in f1_of(len(there & told), len(there), len(told)).items()}


def entities_by_label(truth: Sequence[Sequence[str]], found: Sequence[Sequence[str]]) -> dict[str, dict[str, float]]:
    """The same for each label, with its number of entities as `support`."""
    there, told = located(truth), located(found)
    return each_label(*(Counter(span.label for _, span in side) for side in (there & told, there, told)))


def located(sentences: Sequence[Sequence[str]]) -> set[tuple[int, Span]]:
    """All spans, each with the number of its sentence."""
    return {(number, span) for number, tags in enumerate(sentences) for span in spans_of(tags)}


def each_label(
    right: Mapping[str, int], there: Mapping[str, int], told: Mapping[str, int]
) -> dict[str, dict[str, float]]:
    """Precision, recall and F1 of each label on either side, of how often it was told rightly, is there, was told."""
    return {
        label: f1_of(right.get(label, 0), there.get(label, 0), told.get(label, 0)) | {"support": there.get(label, 0)}
        for label in sorted({*there, *told})
    }


def f1_of(right: int, there: int, told: int) -> dict[str, float]:
    """Precision, recall and their harmonic mean, 0 where nothing is there or nothing is told."""
    return {
        "precision": right / told if told else 0.0,
        "recall": right / there if there else 0.0,
        "f1": 2 * right / (there + told) if right else 0.0,
    }


# --- answers --------------------------------------------------------------------------------------


def squad(questions: Sequence[Question], answers: Sequence[str]) -> dict[str, float]:
    """Exact match and F1 as SQuAD's scripts count them; the empty answer says that there is none.

    A set without impossible questions is counted as evaluate-v1.1.py does, any other as evaluate-v2.0.py, and then
    also apart for questions with and without an answer.
    """
    possible = np.array([not question.impossible for question in questions])
    none_allowed = not possible.all()
    scores = np.array([marks(q, answer, none_allowed) for q, answer in zip(questions, answers, strict=True)])  # [N, 2]
    measured = named("", scores)
    if none_allowed:
        measured |= named("possible_", scores[possible]) | named("impossible_", scores[~possible])
    return measured


def named(prefix: str, scores: np.ndarray[Any, Any]) -> dict[str, float]:
    """Means of scores [N, 2] by name, none of an empty group."""
    if not len(scores):
        return {}
    exact, f1 = scores.mean(0).tolist()
    return {f"{prefix}exact_match": exact, f"{prefix}f1": f1}


def marks(question: Question, answer: str, none_allowed: bool) -> tuple[float, float]:
    """Exact match and F1 of one answer: the best over all that people gave."""
    given = [words_of(one.text) for one in question.answers]
    if none_allowed:  # an answer that is nothing but articles and signs is none, says evaluate-v2.0.py
        given = [words for words in given if words] or [[]]
    told = words_of(answer)
    return float(told in given), max((overlap(words, told, none_allowed) for words in given), default=0.0)


def overlap(right: Sequence[str], told: Sequence[str], none_allowed: bool) -> float:
    """F1 of the words of two answers; of two empty ones it is 1 where that is an answer."""
    if not right or not told:
        return float(none_allowed and right == told)
    common = sum((Counter(right) & Counter(told)).values())
    return 2 * common / (len(right) + len(told))


def words_of(answer: str) -> list[str]:
    """What of an answer counts: lower case, no ASCII punctuation, no articles."""
    return ARTICLES.sub(" ", answer.lower().translate(PUNCTUATION)).split()


def null_threshold(
    questions: Sequence[Question], answers: Sequence[str], no_answer: Sequence[float], metric: str = "f1"
) -> tuple[float, float]:
    """From which score for there being no answer on to give none, and what the metric then is: (threshold, value).

    `answers` are the best ones whatever that score is; none is given where it is *larger* than the threshold. The
    threshold is one of the scores, or -inf. Questions of equal scores go together, unlike in evaluate-v2.0.py, which
    reports what no threshold reaches where there are such.
    """
    place = {"exact_match": 0, "f1": 1}[metric]
    answered = np.array([marks(q, a, True)[place] for q, a in zip(questions, answers, strict=True)])
    silent = np.array([marks(question, "", True)[place] for question in questions])
    scores = np.asarray(no_answer, dtype=float)
    order = np.argsort(scores, kind="stable")
    totals = silent.sum() + np.concatenate([[0.0], np.cumsum((answered - silent)[order])])  # after so many are answered
    ranked = scores[order]
    ends = np.concatenate([[True], np.append(ranked[1:] != ranked[:-1], True)])  # no threshold lies within equal scores
    best = int(np.argmax(np.where(ends, totals, -np.inf)))
    return (float(ranked[best - 1]) if best else -np.inf), float(totals[best] / len(scores))
