"""A conditional random field against all sequences of tags, one by one, in float64."""

from itertools import pairwise, product

import pytest
import torch
from torch import Tensor

from foretell.tasks.crf import Chain

ROWS = [[1, 2, 4, 6], [1], [3, 4], [1, 2, 3, 4, 5]]
"""the places of words in rows of seven"""
TAGS = 3


@pytest.fixture(name="chain")
def fixture_chain() -> Chain:
    torch.manual_seed(3)
    chain = Chain(TAGS).double()
    for parameter in chain.parameters():
        torch.nn.init.normal_(parameter)
    return chain


@pytest.fixture(name="scores")
def fixture_scores() -> Tensor:
    return torch.randn(len(ROWS), 7, TAGS, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


def words() -> Tensor:
    found = torch.zeros(len(ROWS), 7, dtype=torch.bool)
    for row, at in zip(found, ROWS, strict=True):
        row[at] = True
    return found


def every_path(chain: Chain, scores: Tensor) -> tuple[list[tuple[int, ...]], Tensor]:
    """All tags for the words of a row, scores [K, L], and log p of each."""
    paths, found = list(product(range(TAGS), repeat=len(scores))), []
    for path in paths:
        total = chain.start[path[0]] + chain.end[path[-1]]
        for place, tag in enumerate(path):
            total = total + scores[place, tag]
        for one, other in pairwise(path):
            total = total + chain.transitions[one, other]
        found.append(total)
    return paths, torch.stack(found).log_softmax(0)


def test_the_loss_is_over_all_sequences(chain: Chain, scores: Tensor) -> None:
    tags = torch.randint(TAGS, (len(ROWS), 7), generator=torch.Generator().manual_seed(9))
    labels = tags.masked_fill(~words(), -100)
    expected = torch.zeros((), dtype=torch.float64)
    for row, at in enumerate(ROWS):
        paths, logs = every_path(chain, scores[row, at])
        expected -= logs[paths.index(tuple(tags[row, at].tolist()))]
    given = scores.clone().requires_grad_()
    found = chain.loss(given, labels, words())
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    found.backward()
    assert not given.grad[~words()].any()  # what is no word has no part in it
    assert given.grad[words()].all()


def test_the_likeliest_sequence_and_how_sure_each_of_its_tags_is(chain: Chain, scores: Tensor) -> None:
    with torch.no_grad():
        found = chain.likeliest(scores, words())
        assert not found[~words()].any()
        for row, at in enumerate(ROWS):
            paths, logs = every_path(chain, scores[row, at])
            best = paths[int(logs.argmax())]
            assert found[row, at, 0].tolist() == list(best)
            for place, tag in enumerate(best):
                share = sum(float(p) for path, p in zip(paths, logs.exp(), strict=True) if path[place] == tag)
                assert float(found[row, at[place], 1]) == pytest.approx(share, rel=1e-10)
    assert chain.transitions.grad is None


def test_it_can_tell_otherwise_than_each_word_alone(chain: Chain) -> None:
    """Tag 1 never follows itself, so the surer of two words has it."""
    for parameter in chain.parameters():
        torch.nn.init.zeros_(parameter)
    chain.transitions.data[1, 1] = -10
    scores = torch.tensor([[[0.0, 2, 0], [1.0, 2, 0]]], dtype=torch.float64)
    assert chain.likeliest(scores, torch.ones(1, 2, dtype=torch.bool))[0, :, 0].tolist() == [1, 0]


def test_a_row_without_words_costs_nothing(chain: Chain, scores: Tensor) -> None:
    none = torch.zeros(len(ROWS), 7, dtype=torch.bool)
    none[0, :2] = True
    tags = torch.ones(len(ROWS), 7, dtype=torch.int64)
    whole, alone = chain.loss(scores, tags, none), chain.loss(scores[:1], tags[:1], none[:1])
    torch.testing.assert_close(whole, alone)
    assert not chain.likeliest(scores, none)[1:].any()
