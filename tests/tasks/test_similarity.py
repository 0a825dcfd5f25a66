"""Numbers of texts: scaled for the model and back, measured as scipy does."""

import numpy as np
import pytest
import torch
from builders import small
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from foretell.data.batches.framing import Framing
from foretell.data.labelled.examples import Labelled
from foretell.data.tokenizers.kinds import WordConfig
from foretell.errors import ConfigError
from foretell.models.model_spec import ModelSpec
from foretell.models.recurrent import RecurrentConfig
from foretell.nn.heads import FullHeadConfig
from foretell.tasks.similarity import Rated, SimilarityConfig
from foretell.types import Inputs

FRAMING = Framing(WordConfig().train(["a b c\n"]), length=9)


def examples(numbers: list[float | None]) -> list[Labelled]:
    return [Labelled(("a", "b"), number) for number in numbers]


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, unique=True))
def test_labels_come_back_from_what_the_model_is_to_say(numbers: list[float]) -> None:
    task = SimilarityConfig()
    labels = task.labels(examples(numbers))
    assert labels == (repr(min(numbers)), repr(max(numbers))) and task.labels_fault(labels) == ""
    rows = task.rows(examples(numbers), FRAMING, labels)
    scores = [row.label for row in rows]
    assert min(scores) == 0 and max(scores) == 1
    found = task.predictions(examples(numbers), rows, scores, labels)
    span = max(numbers) - min(numbers)
    assert [rated.value for rated in found] == pytest.approx(numbers, abs=1e-6 * span)


def test_labels_that_are_missing_or_all_the_same() -> None:
    task = SimilarityConfig()
    rows = task.rows(examples([None, 2.5]), FRAMING, ("0.0", "5.0"))
    assert rows[0].label is None and rows[1].label == 0.5
    assert task.labels(examples([None])) == ("0.0", "1.0")
    with pytest.raises(ConfigError, match=r"every label of the training split is 2\.0"):
        task.labels(examples([2.0, 2.0]))
    assert task.example_fault(Labelled(("a",), "good"), ("0.0", "1.0")) == "the label 'good' is not a number"


@pytest.mark.parametrize("metric", ["spearman", "pearson"])
def test_it_is_measured_as_scipy_does(metric: str) -> None:
    random = np.random.default_rng(0)
    gold = random.integers(0, 6, 50) / 2  # with ties
    said = gold + random.normal(size=50).round(1)
    task, rated = SimilarityConfig(metric=metric), [Rated(float(value)) for value in said]
    expected = {"spearman": stats.spearmanr, "pearson": stats.pearsonr}[metric](gold, said).statistic
    labelled = examples(gold.tolist())
    assert task.measure(labelled, rated)[metric] == pytest.approx(expected, abs=1e-12)
    tally = task.tally(labelled, rated)
    assert float(tally.metric(tally.parts.sum(0))) == pytest.approx(expected, abs=1e-12)


def test_the_loss_is_the_squared_error_and_both_orders_are_added() -> None:
    torch.manual_seed(0)
    spec = ModelSpec(small(RecurrentConfig), FullHeadConfig(), vocabulary=11)
    task = SimilarityConfig(pooling="mean", pairs="both-orders").build(spec).eval()
    scores, labels = torch.randn(5, dtype=torch.float64), torch.rand(5)
    assert float(task.loss(scores, labels)) == pytest.approx(
        sum((float(s) - float(n)) ** 2 for s, n in zip(scores, labels, strict=True)), rel=1e-6
    )
    vectors = torch.randn(6, 4, task.backbone.dim)
    both = task.scores(vectors, Inputs(tokens=torch.zeros(3, 2, 4, dtype=torch.int64)))
    summed = vectors.mean(1).view(3, 2, -1).sum(1)
    torch.testing.assert_close(both, task.outputs(summed)[:, 0])
    alone = task.scores(vectors, Inputs(tokens=torch.zeros(6, 4, dtype=torch.int64)))
    torch.testing.assert_close(alone, task.outputs(vectors.mean(1))[:, 0])


def test_texts_read_apart_are_compared() -> None:
    torch.manual_seed(0)
    spec = ModelSpec(small(RecurrentConfig), FullHeadConfig(), vocabulary=11)
    task = SimilarityConfig(pooling="max", pairs="apart").build(spec).eval()
    vectors = torch.randn(6, 4, task.backbone.dim)
    scores = task.scores(vectors, Inputs(tokens=torch.zeros(3, 2, 4, dtype=torch.int64)))
    weight, bias = task.outputs[-1].weight[0].detach(), task.outputs[-1].bias[0].detach()
    for score, first, second in zip(scores.tolist(), vectors[0::2], vectors[1::2], strict=True):
        u, v = first.amax(0), second.amax(0)
        seen = torch.stack([u, v, abs(u - v), u * v]).flatten()
        assert score == pytest.approx(float(weight @ seen + bias), abs=1e-5)


def test_a_prediction_is_a_number_in_a_line() -> None:
    assert (Rated(2.0).line(), Rated(1 / 3).record()) == ("2.0000", {"value": 1 / 3})
