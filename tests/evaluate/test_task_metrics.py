"""Metrics against the libraries and scripts that the field counts with."""

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import classification_report, f1_score, precision_score, recall_score
from sklearn import metrics

from foretell.data.labelled.examples import Answer, Question
from foretell.evaluate.task_metrics import (
    classes_by_label,
    classification,
    entities_by_label,
    entity_f1,
    multi_label,
    null_threshold,
    pearson,
    spearman,
    squad,
)

pytestmark = pytest.mark.filterwarnings("ignore")  # seqeval and scikit-learn warn where they divide by zero
WORDS = st.sampled_from(["a", "The", "cat", "Cat.", "sat", "--", "an", "sat!", "anthem"])
TEXTS = st.lists(WORDS, max_size=4).map(" ".join)


# --- classes --------------------------------------------------------------------------------------


def test_classes_by_hand() -> None:
    """3 of 5 right; F1 of x 2/3, of y 2/3, of z 0; Matthews by its formula for several classes."""
    truth, found = ["x", "x", "y", "y", "z"], ["x", "x", "y", "x", "y"]
    scores = classification(truth, found, positive="y")
    right, n = 3, 5
    t, p = Counter(truth), Counter(found)
    both = sum(t[k] * p[k] for k in t)
    matthews = (right * n - both) / math.sqrt(
        (n**2 - sum(v**2 for v in p.values())) * (n**2 - sum(v**2 for v in t.values()))
    )
    expected = {"accuracy": 0.6, "macro_f1": (0.8 + 0.5 + 0) / 3, "f1": 0.5, "matthews": matthews}
    assert scores == pytest.approx(expected)


def test_one_class_alone_correlates_with_nothing() -> None:
    assert classification(["x", "y"], ["x", "x"])["matthews"] == 0
    assert classification(["x", "y"], ["x", "x"], positive="y")["f1"] == 0


@pytest.mark.filterwarnings("error")
def test_one_class_on_both_sides_is_measured_without_a_warning() -> None:
    scores = classification(["x", "x"], ["x", "x"], positive="x")
    assert scores == {"accuracy": 1.0, "macro_f1": 1.0, "matthews": 0.0, "f1": 1.0}


def test_several_labels() -> None:
    scores = multi_label([("x", "y"), ("x",), ()], [("y", "x"), ("z",), ()])
    assert scores == pytest.approx({"accuracy": 2 / 3, "micro_f1": 2 * 2 / 6, "macro_f1": (2 / 3 + 1 + 0) / 3})
    assert multi_label([()], [()]) == {"accuracy": 1.0, "micro_f1": 0.0, "macro_f1": 0.0}


def test_a_single_label_is_there_or_not_and_its_absence_is_no_class() -> None:
    """One found, one missed, two rightly left out: F1 2/3."""
    scores = multi_label([("x",), ("x",), (), ()], [("x",), (), (), ()])
    assert scores == pytest.approx({"accuracy": 0.75, "micro_f1": 2 / 3, "macro_f1": 2 / 3})
    assert multi_label([(), ()], [(), ("x",)]) == {"accuracy": 0.5, "micro_f1": 0.0, "macro_f1": 0.0}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(*[st.sets(st.sampled_from("xyz"))] * 2), min_size=1, max_size=9))
def test_classes_are_counted_as_scikit_learn_does(pairs: list[tuple[set[str], set[str]]]) -> None:
    truth, found = zip(*pairs, strict=True)
    sides = [[[label in one for label in "xyz"] for one in side] for side in (truth, found)]
    theirs = metrics.precision_recall_fscore_support(*sides, zero_division=0)
    expected = {
        label: dict(zip(("precision", "recall", "f1", "support"), figures, strict=True))
        for label, *figures in zip("xyz", *theirs, strict=True)
        if any(label in one for pair in pairs for one in pair)
    }
    measured = classes_by_label(truth, found)
    assert list(measured) == list(expected)
    for label, figures in measured.items():
        assert figures == pytest.approx(expected[label])


# --- scores ---------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-3, 3)), min_size=2, max_size=12))
def test_correlations_are_those_of_their_formulas(pairs: list[tuple[int, int]]) -> None:
    x, y = np.array(pairs, dtype=float).T

    def ranks(values: np.ndarray) -> np.ndarray:  # the mean place of equal values
        return np.array([((values < v).sum() + (values <= v).sum() + 1) / 2 for v in values])

    def formula(a: np.ndarray, b: np.ndarray) -> float:
        a, b = a - a.mean(), b - b.mean()
        return float((a * b).sum() / math.sqrt((a * a).sum() * (b * b).sum())) if a.any() and b.any() else 0.0

    assert pearson(x.tolist(), y.tolist()) == pytest.approx(formula(x, y), abs=1e-12)
    assert spearman(x.tolist(), y.tolist()) == pytest.approx(formula(ranks(x), ranks(y)), abs=1e-12)


# --- entities -------------------------------------------------------------------------------------


@st.composite
def tagged(draw: st.DrawFn, marks: str) -> tuple[list[list[str]], list[list[str]]]:
    """Sentences of any tags, right and wrong, and others of the same lengths, alike now and then."""
    tag = st.one_of(st.just("O"), st.builds("{}-{}".format, st.sampled_from(marks), st.sampled_from(["x", "y-z"])))
    truth = draw(st.lists(st.lists(tag, min_size=1, max_size=8), min_size=1, max_size=4))
    found = [[draw(st.one_of(st.just(t), tag)) for t in sentence] for sentence in truth]
    return truth, found


@pytest.mark.parametrize("marks", ["BI", "I", "BIES"])
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_entities_are_counted_as_seqeval_does(marks: str, data: st.DataObject) -> None:
    truth, found = data.draw(tagged(marks))
    scores = entity_f1(truth, found)
    expected = [function(truth, found) for function in (precision_score, recall_score, f1_score)]
    assert list(scores.values()) == pytest.approx(expected)
    assert list(scores) == ["entity_precision", "entity_recall", "entity_f1"]
    by_label = entities_by_label(truth, found)
    if by_label:  # seqeval's report fails without entities
        report = classification_report(truth, found, output_dict=True)
        for label, measured in by_label.items():
            theirs = report[label]
            assert measured == pytest.approx({n: theirs[n if n != "f1" else "f1-score"] for n in measured})


# --- answers --------------------------------------------------------------------------------------


@st.composite
def answered(draw: st.DrawFn, impossible: bool) -> tuple[list[Question], list[str]]:
    """Questions with up to three answers, some impossible, and what is answered, often one of these."""
    questions, told = [], []
    for number in range(draw(st.integers(1, 5))):
        none = impossible and draw(st.booleans())
        given_answers = [] if none else draw(st.lists(TEXTS, min_size=1, max_size=3))
        answers = tuple(Answer(text, 0) for text in given_answers)
        questions.append(Question(str(number), "?", "", answers, none))
        told.append(draw(st.one_of(TEXTS, st.sampled_from([*given_answers, ""]))))
    return questions, told


def normal(text: str) -> list[str]:
    """The rules of SQuAD in their order, small letters, no ASCII signs, no articles, single blanks."""
    kept = "".join(c for c in text.lower() if c.isalnum() or c.isspace() or ord(c) > 127)
    return [word for word in kept.split() if word not in ("a", "an", "the")]


def by_the_rules(question: Question, answer: str, version: str) -> tuple[float, float]:
    """One question under the rules of evaluate-v1.1.py or evaluate-v2.0.py, as their authors describe them."""
    told, best = normal(answer), []
    golds = [normal(one.text) for one in question.answers]
    if version == "2.0":
        golds = list(filter(None, golds)) or [[]]
    for gold in golds:
        common = sum(min(gold.count(word), told.count(word)) for word in {*gold, *told})
        if version == "2.0" and (not gold or not told):
            best.append((float(gold == told), float(gold == told)))
        elif common:
            precision, recall = common / len(told), common / len(gold)
            best.append((float(gold == told), 2 * precision * recall / (precision + recall)))
        else:
            best.append((float(gold == told), 0.0))
    return max(exact for exact, _ in best), max(f1 for _, f1 in best)


@settings(max_examples=80)
@given(st.booleans().flatmap(answered))
def test_answers_are_counted_by_the_rules_of_squad(case: tuple[list[Question], list[str]]) -> None:
    questions, answers = case
    version = "2.0" if any(question.impossible for question in questions) else "1.1"
    marks = np.array([by_the_rules(q, a, version) for q, a in zip(questions, answers, strict=True)])
    scores = squad(questions, answers)
    assert [scores["exact_match"], scores["f1"]] == pytest.approx(marks.mean(0).tolist())
    for name, wanted in (("possible", False), ("impossible", True)):
        group = marks[[question.impossible == wanted for question in questions]]
        if version == "2.0" and len(group):
            assert [scores[f"{name}_exact_match"], scores[f"{name}_f1"]] == pytest.approx(group.mean(0).tolist())
        else:
            assert f"{name}_f1" not in scores


def test_answers_by_hand() -> None:
    """Articles within words stay; signs go before articles, so that `a.` is one; words count as often as they occur."""
    question = Question("1", "?", "", (Answer("the anthem, a song", 0), Answer("song song", 0)))
    assert squad([question], ["Anthem song!"]) == {"exact_match": 1.0, "f1": 1.0}
    assert squad([question], ["song"]) == pytest.approx({"exact_match": 0.0, "f1": 2 / 3})
    nothing_but_an_article = Question("1", "?", "", (Answer("The", 0),))
    assert squad([nothing_but_an_article], ["a."]) == {"exact_match": 1.0, "f1": 0.0}  # evaluate-v1.1.py has it so
    none = Question("2", "?", "", (), impossible=True)
    assert squad([nothing_but_an_article, none], ["a.", "song"])["f1"] == 0.5


@settings(max_examples=80)
@given(answered(True), st.lists(st.integers(-2, 2), min_size=5, max_size=5), st.sampled_from(["f1", "exact_match"]))
def test_the_threshold_for_no_answer_is_the_best_of_all(
    case: tuple[list[Question], list[str]], drawn: list[int], metric: str
) -> None:
    questions, answers = case
    questions = [*questions, Question("none", "?", "", (), impossible=True)]  # so that the rules are those of 2.0
    answers, scores = [*answers, "cat"], [*map(float, drawn[: len(questions) - 1]), 0.0]

    def measured(threshold: float) -> Any:
        told = ["" if score > threshold else answer for answer, score in zip(answers, scores, strict=True)]
        return squad(questions, told)[metric]

    threshold, value = null_threshold(questions, answers, scores, metric)
    assert value == pytest.approx(measured(threshold))
    assert value == pytest.approx(max(measured(one) for one in [-math.inf, *scores]))


def test_scikit_learn_is_what_counts_classes() -> None:
    random = np.random.default_rng(0)
    truth, found = (random.choice(list("xyz"), 50).tolist() for _ in range(2))
    scores = classification(truth, found)
    assert scores["macro_f1"] == pytest.approx(metrics.f1_score(truth, found, average="macro"))
    assert scores["matthews"] == pytest.approx(metrics.matthews_corrcoef(truth, found))
