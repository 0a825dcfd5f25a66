"""Texts of several classes: read from lists and from fields, told by a threshold, measured by both averages of F1."""

import json
import logging
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from labelled import MODELS, task_tables, text, write_labelled
from sklearn.metrics import f1_score
from sklearn.utils.class_weight import compute_class_weight

import foretell
from foretell.data.batches.framing import Reading, Row, collate
from foretell.data.labelled.examples import Labelled
from foretell.data.tokenizers.kinds import ByteConfig
from foretell.errors import ConfigError
from foretell.learning.task import TaskModule
from foretell.recipe.loading import load_recipe
from foretell.tasks.classification import Classification, ClassificationConfig, Classified

LABELS = ("bad", "good", "odd")


def rows(count: int = 32) -> list[tuple[str, list[str]]]:
    """A text says its labels; every eighth has none."""
    draw = random.Random(3)
    chosen = [[label for bit, label in enumerate(LABELS) if number >> bit & 1] for number in range(count)]
    return [(text(draw, *labels), labels) for labels in chosen]


def recipe(corpus: Path, separator: str = ",", **objective: Any) -> dict[str, Any]:
    return {
        "limit": "40steps",
        "data": {
            "corpus": {"train": str(corpus), "valid": str(corpus)},
            "reader": {"kind": "table", "labels": "several", "separator": separator},
            "tokenizer": "word",
            "batches": {"kind": "examples", "batch": 16, "length": 40},
        },
        "model": MODELS["recurrent"],
        "objective": {"kind": "classification", "multi_label": True, "metric": "micro_f1"} | objective,
        "optimizer": {"kind": "adam", "learning_rate": 0.02},
        "evaluation": {"every": "100epochs"},
        "checkpoint": {"every": "100epochs"},
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> foretell.Trained:
    folder = tmp_path_factory.mktemp("several")
    (folder / "a.jsonl").write_text("".join(json.dumps({"text": t, "label": ls}) + "\n" for t, ls in rows()))
    return foretell.train(recipe(folder / "a.jsonl"), folder / "run", quiet=True)


def test_lists_and_fields_are_the_same_labels(run: foretell.Trained, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\n" + "".join(f'"{t}","{"; ".join(ls)}"\n' for t, ls in rows()))
    fields = TaskModule(load_recipe(recipe(tmp_path / "a.csv", ";")))
    lists = TaskModule(run.recipe)
    assert fields.learned.train == lists.learned.train == [Labelled((t,), tuple(ls)) for t, ls in rows()]
    assert fields.labels == lists.labels == run.labels == LABELS


def test_both_averages_of_f1(run: foretell.Trained) -> None:
    measured = run.evaluate("valid")
    found = run.predict([t for t, _ in rows()])
    truth, told = (
        [[label in one for label in LABELS] for one in side]
        for side in ([ls for _, ls in rows()], [one.label for one in found])
    )
    for average in ("micro", "macro"):
        assert measured[f"{average}_f1"] == pytest.approx(f1_score(truth, told, average=average, zero_division=0))
    assert measured["metric"] == "micro_f1" and measured["micro_f1"] > 0.9
    for one in found:
        assert one.label == tuple(label for label in LABELS if one.probabilities[label] > 0.5)


def test_the_threshold_is_a_setting() -> None:
    probabilities = {"bad": 0.3, "good": 0.6, "odd": 0.1}
    for threshold, expected in ((0.5, ("good",)), (0.2, ("bad", "good")), (0.9, ())):
        task = ClassificationConfig(multi_label=True, threshold=threshold)
        assert task.prediction(probabilities).label == expected
    with pytest.raises(ValueError, match="threshold is for texts with several labels"):
        ClassificationConfig(threshold=0.2)


def test_texts_none_of_which_has_a_label_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "the cat", "label": []}\n{"text": "a dog", "label": []}\n')
    with pytest.raises(foretell.ConfigError, match="no example of the training split has a label"):
        foretell.train(recipe(tmp_path / "a.jsonl"), tmp_path / "run", quiet=True)


def test_bad_rows_of_what_is_measured_are_told_or_left_out(run: foretell.Trained, tmp_path: Path) -> None:
    good = [json.dumps({"text": t, "label": ls}) + "\n" for t, ls in rows()]
    (tmp_path / "good.jsonl").write_text("".join(good))
    (tmp_path / "bad.jsonl").write_text(
        "".join([*good, '{"text": "no label"}\n', '{"text": "x", "label": ["ugly"]}\n'])
    )
    with pytest.raises(foretell.ConfigError, match=r"bad.jsonl: 1 of 34 rows cannot be used.*--skip-bad\n.*:33: "):
        run.evaluate(str(tmp_path / "bad.jsonl"))
    left = run.evaluate(str(tmp_path / "bad.jsonl"), skip_bad=True)
    whole = run.evaluate(str(tmp_path / "good.jsonl"))
    assert left["examples"] == len(good) and left["objective_loss"] == whole["objective_loss"]


def test_a_line_has_each_label_with_its_probability(run: foretell.Trained) -> None:
    """Labels may hold commas and blanks, and never a tab."""
    chances = {"a, b": 0.75, "c": 0.5, "d": 0.25}
    assert Classified(("a, b", "c"), chances).line() == "a, b\t0.7500\tc\t0.5000"
    assert Classified((), chances).line() == ""
    assert Classified("a, b", chances).line() == "a, b\t0.7500"
    found = run.predict([t for t, _ in rows()])
    assert [tuple(one.line().split("\t")[::2]) for one in found if one.label] == [
        one.label for one in found if one.label
    ]


def test_labels_that_look_alike_are_told(caplog: pytest.LogCaptureFixture) -> None:
    labels = ["1", "1.0", "Good", "good", "bad", "nan", "NaN"]
    with caplog.at_level(logging.WARNING, "foretell"):
        found = ClassificationConfig().labels([Labelled(("a",), label) for label in labels])
    assert set(found) == set(labels)
    assert caplog.messages == [
        "the labels '1', '1.0' are 2 classes; spell them alike if they are one",
        "the labels 'Good', 'good' are 2 classes; spell them alike if they are one",
    ]


def test_mistakes_of_several_labels() -> None:
    """The probability of exactly the labels that were predicted, and of each decision."""
    task = ClassificationConfig(multi_label=True, metric="micro_f1")
    example = Labelled(("text",), ("a",))
    found = task.prediction({"a": 0.4, "b": 0.9})
    (mistake,) = task.mistakes([example], [found])
    assert (mistake.gold, mistake.predicted) == ("a", "b")
    assert mistake.probability == pytest.approx(0.6 * 0.9) and mistake.size == pytest.approx(-math.log(0.4 * 0.1))
    assert [(round(p, 6), right) for p, right in task.confidences([example], [found])] == [(0.6, False), (0.9, False)]
    assert task.confused([example], [found]) == []


def weighted_rows(labels: list[int], **settings: Any) -> tuple[ClassificationConfig, list[Row]]:
    task = ClassificationConfig(**settings)
    plain = [Row(i, (Reading(np.array([5, 6, 7])),), np.array(label)) for i, label in enumerate(labels)]
    return task, task.weighted(plain, LABELS)


@pytest.mark.parametrize("weights", ["balanced", {"good": 3.0, "odd": 0.25}])
def test_a_weighted_loss_is_torchs_weighted_mean(weights: Any) -> None:
    labels = [0, 0, 0, 0, 1, 2, 2, 1, 0]
    task, rows = weighted_rows(labels, class_weights=weights)
    if weights == "balanced":
        expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
        assert list(task.label_weights(rows, LABELS).values()) == pytest.approx(expected.tolist())
    else:
        expected = np.array([1, 3, 0.25])
    batch = collate(rows, ByteConfig().train([]).specials)
    model = Classification.__new__(Classification)
    torch.nn.Module.__init__(model)
    model.multi_label, model.language_weight = False, 0.0
    scores = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
    mean = torch.nn.functional.cross_entropy(scores, batch.labels, weight=torch.tensor(expected, dtype=torch.float32))
    (count,) = model.counts(batch).values()
    assert float(model.batch_loss(scores, batch)) / count == pytest.approx(float(mean), rel=1e-6)
    parts = [slice(0, 2), slice(2, 9)]
    sums = [float(model.batch_loss(scores[part], batch.rows(part))) for part in parts]
    assert sum(sums) / count == pytest.approx(float(mean), rel=1e-6)
    assert sum(model.counts(batch.rows(part))["label"] for part in parts) == pytest.approx(count)


def test_weights_of_several_labels_are_those_of_texts_that_have_them() -> None:
    labels = [[1, 0, 0], [1, 0, 1], [0, 0, 1], [1, 1, 0]]
    task, rows = weighted_rows(labels, class_weights="balanced", multi_label=True, metric="micro_f1")
    assert task.label_weights(rows, LABELS) == {"bad": pytest.approx(1 / 3), "good": 3, "odd": 1}
    assert rows[3].weight.tolist() == pytest.approx([1 / 3, 3, 1])


def test_micro_batches_of_a_weighted_loss_equal_one_batch_and_weights_are_recorded(tmp_path: Path) -> None:
    data = write_labelled("classification", tmp_path)
    weights = []
    for parts in (1, 4):
        tables = task_tables("classification", "recurrent", data, limit="3steps")
        tables["objective"] |= {"class_weights": {"ODD": 0.01, "BAD": 5.0}}
        tables["training"] = {"micro_batches": parts}
        run = foretell.train(tables, tmp_path / f"run{parts}", quiet=True)
        weights.append(torch.cat([tensor.flatten() for tensor in run.weights.values()]))
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-4, atol=1e-5)
    (record,) = [record for record in run.run.metrics() if record["kind"] == "data"]
    assert record["class_weights"] == {"BAD": 5.0, "GOOD": 1.0, "ODD": 0.01}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"objective": {"class_weights": {"ODDD": 2.0}}}, "'ODDD' is not a label"),
        ({"objective": {"class_weights": "balanced"}, "sampling": "balanced"}, "balance classes twice"),
        ({"objective": {"multi_label": True, "metric": "micro_f1"}, "sampling": "balanced"}, "one class each"),
    ],
)
def test_weights_that_cannot_be(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    tables = task_tables("classification", "recurrent", write_labelled("classification", tmp_path))
    tables["objective"] |= changes["objective"]
    tables["data"]["batches"] |= {"sampling": changes.get("sampling", "all")}
    with pytest.raises(ConfigError, match=why):
        foretell.train(tables, tmp_path / "run", quiet=True)
