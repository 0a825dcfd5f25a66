"""Models that learn as they read: learning comes after scoring, and `next` gives what is scored."""

import numpy as np
import pytest
import torch

from foretell.errors import ConfigError
from foretell.models.context_mixing.model import ContextMixingConfig
from foretell.models.counted import CountedConfig, CountedModel
from foretell.models.unbounded_ngram.config import UnboundedNGramConfig
from foretell.types import IGNORED, Inputs

TEXT = np.frombuffer(b"she sells sea shells on the sea shore\n" * 10, np.uint8).astype(np.uint16) + 1


@pytest.fixture(scope="module", params=[ContextMixingConfig(table_bits=12), UnboundedNGramConfig()])
def model(request: pytest.FixtureRequest) -> CountedModel:
    config: CountedConfig = request.param
    return config.fit(TEXT, np.zeros(0, np.int64), 0, 257)


def row_of(text: bytes) -> torch.Tensor:
    return torch.tensor([[0, *(b + 1 for b in text)]])


def test_next_gives_the_distribution_that_scores_are_taken_from(model: CountedModel) -> None:
    row = row_of(b"she sells she\n\nsells")
    scores, _ = model.learner().score(Inputs(tokens=row[:, :-1]), row[:, 1:], None)
    for place in (0, 4, 15):
        logp, _ = model.learner().next(row[:, : place + 1], None)
        assert abs(float(logp[0, row[0, place + 1]]) - float(scores.logp[0, place])) < 1e-9
        assert abs(float(logp.exp().sum()) - 1) < 1e-6


def test_distributions_of_windows_are_those_of_next(model: CountedModel) -> None:
    row, scorer, single, state = row_of(b"she qqzz she qqzz"), model.learner(), model.learner(), None
    targets = row[:, 1:].clone()
    targets[0, 14:] = IGNORED
    first, after = scorer.distributions(Inputs(tokens=row[:, :9]), targets[:, :9], None)
    second, after = scorer.distributions(Inputs(tokens=row[:, 9:-1]), targets[:, 9:], after)
    found = torch.cat([first, second], 1)[0]
    assert found.shape == (len(targets[0]), 257) and (found[14:] == 0).all() and int(after) == 14
    for t in range(14):
        logp, state = single.next(row[:, t : t + 1], state)
        torch.testing.assert_close(found[t], logp[0], rtol=0, atol=0)


def test_windows_go_on_learning(model: CountedModel) -> None:
    row, scorer = row_of(b"qqzz xyxy 0815 qqzz xyxy"), model.learner()
    whole, _ = model.learner().score(Inputs(tokens=row[:, :-1]), row[:, 1:], None)
    first, state = scorer.score(Inputs(tokens=row[:, :9]), row[:, 1:10], None)
    second, _ = scorer.score(Inputs(tokens=row[:, 9:-1]), row[:, 10:], state)
    torch.testing.assert_close(torch.cat([first.logp, second.logp], 1), whole.logp, rtol=0, atol=0)


def test_learning_makes_a_repeated_text_more_likely_and_leaves_the_model(model: CountedModel) -> None:
    row, scorer = row_of(b"qqzz xyxy 0815 qqzz xyxy 0815 qqzz xyxy 0815"), model.learner()
    static, _ = model.scorer().score(Inputs(tokens=row[:, :-1]), row[:, 1:], None)
    learned, _ = scorer.score(Inputs(tokens=row[:, :-1]), row[:, 1:], None)
    assert float(learned.logp[0, 30:].sum()) > 0.5 * float(static.logp[0, 30:].sum())
    again, _ = scorer.score(Inputs(tokens=row[:, :-1]), row[:, 1:], None)  # None: from the trained model
    torch.testing.assert_close(again.logp, learned.logp, rtol=0, atol=0)


def test_ignored_targets_have_no_score(model: CountedModel) -> None:
    row = row_of(b"sea shells")
    targets = row[:, 1:].clone()
    targets[0, 6:] = IGNORED
    scores, _ = model.learner().score(Inputs(tokens=row[:, :-1]), targets, None)
    assert (scores.logp[0, 6:] == 0).all() and (scores.logp[0, :6] < 0).all()


def test_one_text_is_read_in_order(model: CountedModel) -> None:
    row, scorer = row_of(b"sea shells"), model.learner()
    _, state = scorer.score(Inputs(tokens=row[:, :5]), row[:, 1:6], None)
    scorer.score(Inputs(tokens=row[:, 5:-1]), row[:, 6:], state)
    with pytest.raises(ConfigError, match="cannot go back"):
        scorer.score(Inputs(tokens=row[:, 5:-1]), row[:, 6:], state)
    with pytest.raises(ConfigError, match="columns to 1"):
        scorer.score(Inputs(tokens=torch.cat([row, row])[:, :-1]), torch.cat([row, row])[:, 1:], None)
