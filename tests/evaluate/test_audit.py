"""Places, sums and errors of an audit; what slow models leave out. Whole scorers: tests/contracts/test_scorers.py."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from builders import FakeText
from torch import Tensor

from foretell.data.batches.streams import DocumentsConfig, StreamsConfig
from foretell.data.tokenizers.specials import Specials
from foretell.evaluate import audit
from foretell.evaluate.audit import Recomputed, mixed, recomputed, sampled

CPU = torch.device("cpu")


def test_places_are_the_first_the_last_and_others_in_order() -> None:
    places = sampled(10_000)
    assert len(places) == 64 and places[0] == 0 and places[-1] == 9_999 and (np.diff(places) > 0).all()
    assert sampled(5).tolist() == [0, 1, 2, 3, 4] and sampled(1).tolist() == [0]
    assert (sampled(10_000) == places).all() and (sampled(10_000, seed=1) != places).any()


def test_errors_are_the_largest() -> None:
    logp = np.log(np.array([[0.5, 0.5], [0.25, 0.76]]))
    found = Recomputed(np.array([1, 3]), logp, 1e-6).audit(np.array([0, 1, 0, 0]), np.log([0.1, 0.5, 0.1, 0.2]))
    assert found.max_sum_error == pytest.approx(0.01) and found.max_recompute_error == pytest.approx(math.log(1.25))
    assert not found.passed and found.record()["positions"] == 2


@pytest.mark.parametrize(
    ("again", "before", "passes"), [(-np.inf, -np.inf, True), (np.nan, 0.0, False), (0.0, np.nan, False)]
)
def test_what_is_no_number(again: float, before: float, passes: bool) -> None:
    row = np.array([[again, 0.0 if again == -np.inf else -np.inf]])
    assert Recomputed(np.array([0]), row, 1e-6).audit(np.array([0]), np.array([before])).passed is passes


def test_a_mixture_is_of_the_places_that_all_members_have() -> None:
    one = Recomputed(np.array([0, 4, 7]), np.log(np.array([[0.5, 0.5], [0.1, 0.9], [0.2, 0.8]])), 1e-6)
    two = Recomputed(np.array([4, 7]), np.log(np.array([[0.3, 0.7], [0.4, 0.6]])), 1e-4)
    weights = np.full((2, 9), np.nan)
    weights[:, [4, 7]] = [[0.25, 0.5], [0.75, 0.5]]
    found = mixed([one, two], weights)
    assert found.places.tolist() == [4, 7] and found.tolerance == 1e-4
    np.testing.assert_allclose(np.exp(found.logp), [[0.25, 0.75], [0.3, 0.7]])


class Recorder:
    """A scorer whose state is the tokens read; `next` gives the last one, and notes all."""

    independent = True

    def __init__(self) -> None:
        self.given = dict[int, list[int]]()

    def begin(self, rows: int, tokens: int) -> Any:
        return None

    def score(self, inputs: Any, targets: Tensor, state: Any) -> tuple[Any, Any]:
        return None, inputs.tokens if state is None else torch.cat([state, inputs.tokens], 1)

    def next(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        read = tokens if state is None else torch.cat([state, tokens], 1)
        self.given[int(read[0, -1])] = read[0].tolist()
        return torch.zeros(1, 4, dtype=torch.float64), read


def test_a_scorer_is_given_all_that_comes_before_a_place_and_nothing_else() -> None:
    text = FakeText(np.arange(1, 31, dtype=np.uint16), np.array([0, 12, 30]), np.array([0, 30]))
    scorer = Recorder()
    windows = StreamsConfig(batch=1, length=7).build(text, Specials(boundary=0), seed=0)
    recomputed(scorer, windows, np.array([0, 6, 7, 25]), CPU)
    assert scorer.given == {place: list(range(place + 1)) for place in (0, 6, 7, 25)}
    documents, scorer = DocumentsConfig(batch=2, length=5).build(text, Specials(boundary=0), seed=0), Recorder()
    found = recomputed(scorer, documents, np.array([3, 12, 29]), CPU)
    assert found.places.tolist() == [3, 12, 29] and scorer.given[3] == [0, 1, 2, 3]
    assert scorer.given[0] == [0] and scorer.given[29] == [0, *range(13, 30)]


def test_slow_models_are_asked_at_fewer_places(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr(audit.time, "perf_counter", lambda: float(next(clock)))
    text = FakeText(np.arange(1, 401, dtype=np.uint16), np.array([0, 400]), np.array([0, 400]))
    windows = StreamsConfig(batch=1, length=50).build(text, Specials(boundary=0), seed=0)
    found = recomputed(Recorder(), windows, np.arange(400), CPU)
    assert 55 <= len(found.places) <= 62  # a second each, and a minute for all
