"""The sampled head: draws as often as it says, a loss that tends to the full one, evaluation without a sample."""

import numpy as np
import pytest
import torch
from builders import assert_same, tables

import foretell
from foretell.nn.heads import FullHead, SampledHead, SampledHeadConfig
from foretell.nn.heads.sampled import Proposal

VOCABULARY, WIDTH = 30, 6
COUNTS = np.random.default_rng(0).integers(0, 100, VOCABULARY)


@pytest.mark.parametrize("kind", ["log-uniform", "unigram"])
def test_words_are_drawn_as_often_as_they_should(kind: str) -> None:
    torch.manual_seed(0)
    words, stands = Proposal(VOCABULARY, COUNTS, kind).draw(100_000)
    expected = (COUNTS + 1) / (COUNTS + 1).sum()
    if kind == "log-uniform":  # by rank
        ranks = np.argsort(np.argsort(-COUNTS, kind="stable"))
        expected = np.log((ranks + 2) / (ranks + 1)) / np.log(VOCABULARY + 1)
    assert expected.sum() == pytest.approx(1)
    times = stands.exp().numpy() * 100_000 * expected[words]  # what it stands for is times / (draws q)
    assert times.sum() == pytest.approx(100_000)
    error = np.sqrt(100_000 * expected * (1 - expected))[words]
    assert (np.abs(times - 100_000 * expected[words]) < 4.5 * error).all()


def head(samples: int) -> SampledHead:
    torch.manual_seed(1)
    made = SampledHeadConfig(samples=samples, proposal="unigram").build(WIDTH, VOCABULARY, None, COUNTS).double()
    torch.nn.init.normal_(made.full.weight)
    return made.train()


def test_the_gradient_tends_to_the_full_one() -> None:
    hidden = torch.randn(8, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    targets = torch.arange(8)
    errors = []
    for samples in (10, 100, 1000, 10_000):
        made = head(samples)
        exact = torch.autograd.grad(made.full.nll(hidden, targets).sum(), made.full.weight)[0]
        found = [torch.autograd.grad(made.nll(hidden, targets).sum(), made.full.weight)[0] for _ in range(40)]
        errors.append(float((torch.stack(found).mean(0) - exact).norm() / exact.norm()))
    # the error of one mean falls with the root of all draws, its bias with the draws
    assert errors[0] > errors[1] > errors[2] > errors[3]
    assert errors[3] < 0.01


def test_a_seed_gives_the_same_loss_again() -> None:
    made = head(20)
    hidden, targets = torch.randn(5, WIDTH, dtype=torch.float64), torch.arange(5)
    torch.manual_seed(7)
    first = made.nll(hidden, targets)
    assert not torch.equal(made.nll(hidden, targets), first)
    torch.manual_seed(7)
    assert_same(made.nll(hidden, targets), first)


def test_figures_are_of_the_full_softmax_over_all_tokens(corpus: dict[str, str], tmp_path) -> None:
    """f-lm's published perplexities were not; here the sum over a plain loop, one token at a time."""
    run = foretell.train(tables(corpus, head={"kind": "sampled", "samples": 4}), tmp_path / "run", quiet=True)
    assert isinstance(run.objective.head, SampledHead) and isinstance(run.objective.head.full, FullHead)
    with run.text("test") as text:
        tokens = torch.from_numpy(text.tokens.astype(np.int64))
    state, total = None, 0.0
    for before, token in zip([run.tokenizer.boundary, *tokens.tolist()], tokens.tolist(), strict=False):
        log_probs, state = run.scorer().next(torch.tensor([[before]]), state)
        total -= float(log_probs[0, token])
    result = run.evaluate("test")
    assert result["tokens"] == len(tokens)
    assert result["loss"] == pytest.approx(total / len(tokens), abs=1e-5)
