"""The static scorer: windows, rows, and `next` as `score` has it."""

import numpy as np
import pytest
import torch

from foretell.models.context_mixing.model import ContextMixing, ContextMixingConfig
from foretell.types import IGNORED, Inputs

TEXT = np.frombuffer(b"she sells sea shells on the sea shore\n" * 10, np.uint8).astype(np.uint16) + 1


@pytest.fixture(scope="module")
def model() -> ContextMixing:
    return ContextMixingConfig(table_bits=12).fit(TEXT, np.zeros(0, np.int64), 0, 257)


def tokens_of(text: bytes) -> torch.Tensor:
    return torch.tensor([[0, *(b + 1 for b in text)]])


def test_windows_carry_their_context(model: ContextMixing) -> None:
    row, scorer = tokens_of(b"shells on the shore of the sea\n"), model.scorer()
    whole, _ = scorer.score(Inputs(tokens=row[:, :-1]), row[:, 1:], None)
    first, state = scorer.score(Inputs(tokens=row[:, :9]), row[:, 1:10], None)
    second, _ = scorer.score(Inputs(tokens=row[:, 9:-1]), row[:, 10:], state)
    torch.testing.assert_close(torch.cat([first.logp, second.logp], 1), whole.logp, rtol=0, atol=0)


def test_rows_do_not_affect_each_other(model: ContextMixing) -> None:
    one, two = tokens_of(b"sea shells"), tokens_of(b"on the sea")
    scorer = model.scorer()
    both, _ = scorer.score(Inputs(tokens=torch.cat([one, two])[:, :-1]), torch.cat([one, two])[:, 1:], None)
    for k, row in enumerate((one, two)):
        alone, _ = scorer.score(Inputs(tokens=row[:, :-1]), row[:, 1:], None)
        torch.testing.assert_close(both.logp[k], alone.logp[0], rtol=0, atol=0)


def test_next_gives_the_distribution_that_scores_are_taken_from(model: ContextMixing) -> None:
    row = tokens_of(b"she sells she\n\nsells")
    scorer = model.scorer()
    scores, _ = scorer.score(Inputs(tokens=row[:, :-1]), row[:, 1:], None)
    for place in (0, 4, 15):
        again = model.scorer()
        logp, _ = again.next(row[:, : place + 1], None)
        assert abs(float(logp[0, row[0, place + 1]]) - float(scores.logp[0, place])) < 1e-12
        assert abs(float(logp.exp().sum()) - 1) < 1e-6


def test_ignored_targets_have_no_score(model: ContextMixing) -> None:
    row = tokens_of(b"sea shells")
    targets = row[:, 1:].clone()
    targets[0, 6:] = IGNORED
    scores, _ = model.scorer().score(Inputs(tokens=row[:, :-1]), targets, None)
    assert (scores.logp[0, 6:] == 0).all() and (scores.logp[0, :6] < 0).all()
