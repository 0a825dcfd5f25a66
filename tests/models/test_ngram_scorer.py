"""Scores of an n-gram model do not depend on windows, and stop at fresh rows."""

import numpy as np
import pytest
import torch

from foretell.models.ngram import NGram, NGramConfig
from foretell.types import IGNORED, Inputs


@pytest.fixture(scope="module")
def model() -> NGram:
    tokens = np.minimum(np.random.default_rng(0).geometric(0.3, 2000), 9) - 1
    return NGramConfig(order=3).fit(tokens.astype(np.uint16), np.zeros(0, np.int64), 0, 9)


def test_windows_carry_the_last_words(model: NGram) -> None:
    row, scorer = torch.tensor([[0, 1, 2, 1, 3, 0, 4, 1]]), model.scorer()
    whole, _ = scorer.score(Inputs(tokens=row[:, :-1]), row[:, 1:], None)
    first, state = scorer.score(Inputs(tokens=row[:, :3]), row[:, 1:4], None)
    second, _ = scorer.score(Inputs(tokens=row[:, 3:-1]), row[:, 4:], state)
    torch.testing.assert_close(torch.cat([first.logp, second.logp], 1), whole.logp, rtol=0, atol=0)
    logp, _ = scorer.next(row[:, :5], None)
    assert abs(float(logp[0, row[0, 5]]) - float(whole.logp[0, 4])) < 1e-5


def test_a_fresh_row_forgets_and_ignored_targets_count_nothing(model: NGram) -> None:
    row, scorer = torch.tensor([[0, 1, 2], [0, 1, 2]]), model.scorer()
    _, state = scorer.score(Inputs(tokens=torch.tensor([[3, 4], [5, 6]])), torch.tensor([[4, 1], [6, 1]]), None)
    targets = torch.tensor([[1, 2, 3], [1, 2, IGNORED]])
    fresh = torch.tensor([True, False])
    scores, _ = scorer.score(Inputs(tokens=row, fresh=fresh), targets, state)
    alone, _ = scorer.score(Inputs(tokens=row[:1]), targets[:1], None)
    torch.testing.assert_close(scores.logp[:1], alone.logp, rtol=0, atol=0)
    assert float(scores.logp[1, 2]) == 0
