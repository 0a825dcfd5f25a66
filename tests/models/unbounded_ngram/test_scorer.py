"""The static scorer: windows, rows, and `next` as `score` has it."""

import numpy as np
import pytest
import torch

from foretell.models.unbounded_ngram.model import UnboundedNGram
from foretell.types import IGNORED, Inputs

TEXT = np.frombuffer(b"she sells sea shells on the sea shore\n" * 10, np.uint8).astype(np.uint16) + 1


@pytest.fixture(scope="module")
def model() -> UnboundedNGram:
    return UnboundedNGram.fit(TEXT, np.zeros(0, np.int64), 0, 257)


def row_of(text: bytes) -> torch.Tensor:
    return torch.tensor([[0, *(b + 1 for b in text)]])


def test_windows_carry_their_context(model: UnboundedNGram) -> None:
    row, scorer = row_of(b"shells on the shore of the sea\n"), model.scorer()
    whole, _ = scorer.score(Inputs(tokens=row[:, :-1]), row[:, 1:], None)
    first, state = scorer.score(Inputs(tokens=row[:, :9]), row[:, 1:10], None)
    second, _ = scorer.score(Inputs(tokens=row[:, 9:-1]), row[:, 10:], state)
    torch.testing.assert_close(torch.cat([first.logp, second.logp], 1), whole.logp, rtol=0, atol=0)
    fresh = Inputs(tokens=row[:, :-1], fresh=torch.tensor([True]))
    torch.testing.assert_close(scorer.score(fresh, row[:, 1:], state)[0].logp, whole.logp, rtol=0, atol=0)


def test_rows_do_not_affect_each_other(model: UnboundedNGram) -> None:
    rows = torch.cat([row_of(b"sea shells"), row_of(b"on the sea")])
    targets = rows[:, 1:].clone()
    targets[0, 4:] = IGNORED
    both, state = model.scorer().score(Inputs(tokens=rows[:, :-1]), targets, None)
    for k in range(2):
        alone, mine = model.scorer().score(Inputs(tokens=rows[k : k + 1, :-1]), targets[k : k + 1], None)
        torch.testing.assert_close(both.logp[k], alone.logp[0], rtol=0, atol=0)
        torch.testing.assert_close(state[k], mine[0], rtol=0, atol=0)
    assert (both.logp[0, 4:] == 0).all()


def test_next_gives_the_distribution_that_scores_are_taken_from(model: UnboundedNGram) -> None:
    row, scorer = row_of(b"she sells she\n\nsells"), model.scorer()
    scores, _ = scorer.score(Inputs(tokens=row[:, :-1]), row[:, 1:], None)
    state = None
    for place in range(10):
        logp, state = scorer.next(row[:, place : place + 1], state)
        assert float(logp[0, row[0, place + 1]]) == float(scores.logp[0, place])
        assert abs(float(logp.exp().sum()) - 1) < 1e-9
