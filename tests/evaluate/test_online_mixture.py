"""Online mixtures as scorers: `next` gives what `score` books, rows and windows, and nothing later is looked at."""

import numpy as np
import pytest
import torch
from torch import Tensor

from foretell.evaluate.gated_weights import Gate
from foretell.evaluate.online_mixture import OnlineMixture
from foretell.evaluate.online_weights import ExponentiatedGradient, Rule
from foretell.evaluate.scoring import Scorer
from foretell.types import IGNORED, Inputs, Scores, State, join_rows, select_rows

V = 4
RULES: list[Rule] = [
    ExponentiatedGradient([0.6, 0.4], rate=0.1),
    Gate([0.6, 0.4], np.array([True, False, False, False]), rate=0.1),
]


class Bigrams(Scorer):
    """A table of log-probabilities of each token after each; its state is the number of tokens read."""

    independent = True

    def __init__(self, seed: int):
        self.table = torch.from_numpy(np.log(np.random.default_rng(seed).dirichlet(np.ones(V), V)))

    def begin(self, rows: int, tokens: int) -> State:
        return torch.zeros(rows, 1)

    def score(self, inputs: Inputs, targets: Tensor, state: State) -> tuple[Scores, State]:
        logp = self.table[inputs.tokens].gather(2, targets.clamp(min=0)[..., None])[..., 0]
        return Scores(logp.masked_fill(targets == IGNORED, 0)), self._after(inputs.tokens, state)

    def next(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        return self.table[tokens[:, -1]], self._after(tokens, state)

    def _after(self, tokens: Tensor, state: State) -> Tensor:
        return (torch.zeros(len(tokens), 1) if state is None else state) + tokens.shape[1]


@pytest.fixture(params=RULES, ids=lambda rule: rule.name)
def mixture(request: pytest.FixtureRequest) -> OnlineMixture:
    return OnlineMixture([Bigrams(0), Bigrams(1)], request.param)


def rows(count: int, length: int = 13) -> Tensor:
    return torch.from_numpy(np.random.default_rng(5).integers(0, V, (count, length)))


def test_it_books_what_the_rule_gives(mixture: OnlineMixture) -> None:
    text = rows(1)
    logp = np.stack(
        [s.score(Inputs(tokens=text[:, :-1]), text[:, 1:], None)[0].logp[0].numpy() for s in mixture.scorers]
    )
    wanted, _ = mixture.rule.read(text[0, 1:].numpy(), logp)
    found, _ = mixture.score(Inputs(tokens=text[:, :-1]), text[:, 1:], None)
    np.testing.assert_allclose(found.logp[0].numpy(), wanted, rtol=1e-12)


def test_windows_equal_one_pass(mixture: OnlineMixture) -> None:
    text = rows(2)
    whole, _ = mixture.score(Inputs(tokens=text[:, :-1]), text[:, 1:], None)
    first, state = mixture.score(Inputs(tokens=text[:, :5]), text[:, 1:6], mixture.begin(2, 12))
    second, _ = mixture.score(Inputs(tokens=text[:, 5:-1]), text[:, 6:], state)
    torch.testing.assert_close(torch.cat([first.logp, second.logp], 1), whole.logp, rtol=1e-12, atol=0)


def test_next_gives_what_is_booked_and_sums_to_one(mixture: OnlineMixture) -> None:
    text = rows(2)
    whole, _ = mixture.score(Inputs(tokens=text[:, :-1]), text[:, 1:], None)
    state: State = None
    for place in range(12):
        stepwise, state = mixture.next(text[:, place : place + 1], state)
        at_once, _ = mixture.next(text[:, : place + 1], None)  # from the prefix alone
        for logp in (stepwise, at_once):
            booked = logp.gather(1, text[:, place + 1 : place + 2])[:, 0]
            torch.testing.assert_close(booked, whole.logp[:, place], rtol=1e-12, atol=0)
            torch.testing.assert_close(logp.exp().sum(1), torch.ones(2, dtype=torch.float64))


def test_scoring_continues_after_next(mixture: OnlineMixture) -> None:
    text = rows(1)
    whole, _ = mixture.score(Inputs(tokens=text[:, :-1]), text[:, 1:], None)
    _, state = mixture.next(text[:, :4], None)
    rest, _ = mixture.score(Inputs(tokens=text[:, 4:-1]), text[:, 5:], state)
    torch.testing.assert_close(rest.logp, whole.logp[:, 4:], rtol=1e-12, atol=0)


def test_rows_are_apart_and_fresh_ones_start_again(mixture: OnlineMixture) -> None:
    text = rows(3)
    both, state = mixture.score(Inputs(tokens=text[:, :6]), text[:, 1:7], None)
    alone, mine = mixture.score(Inputs(tokens=text[1:2, :6]), text[1:2, 1:7], None)
    torch.testing.assert_close(both.logp[1:2], alone.logp, rtol=1e-12, atol=0)
    torch.testing.assert_close(select_rows(state, slice(1, 2))[1], mine[1])
    assert len(join_rows([mine, mine])[1]) == 2
    fresh = Inputs(tokens=text[:, 6:-1], fresh=torch.tensor([False, True, False]))
    later, _ = mixture.score(fresh, text[:, 7:], state)
    begun, _ = mixture.score(Inputs(tokens=text[1:2, 6:-1]), text[1:2, 7:], None)
    torch.testing.assert_close(later.logp[1:2], begun.logp, rtol=1e-12, atol=0)


def test_ignored_targets_are_not_learned(mixture: OnlineMixture) -> None:
    text, targets = rows(2), rows(2)[:, 1:].clone()
    targets[0, 4:] = IGNORED
    found, state = mixture.score(Inputs(tokens=text[:, :-1]), targets, None)
    assert (found.logp[0, 4:] == 0).all()
    short, before = mixture.score(Inputs(tokens=text[:1, :4]), targets[:1, :4], None)
    torch.testing.assert_close(found.logp[0, :4], short.logp[0], rtol=1e-12, atol=0)
    again = mixture.rule.learned(before[1].numpy(), targets[0, 3:4].numpy(), before[3][:, :, 0].numpy())
    np.testing.assert_allclose(state[1][0].numpy(), again[0])
