"""Every output head: probabilities that sum to one and agree with the loss, and the right gradient."""

from collections.abc import Iterator

import pytest
import torch
from builders import assert_same, members, name_of, small
from torch import Tensor

from foretell.config import Config, ConfigError
from foretell.nn.embedding import TokenEmbedding
from foretell.nn.heads import Head, HeadChoice

VOCABULARY, WIDTH, POSITIONS = 13, 6, 29


def variants() -> Iterator[Config]:
    """Every kind of head with each of its switches both ways, and chunks smaller than the work."""
    for member in members(HeadChoice):
        switches = [name for name, field in member.model_fields.items() if field.annotation is bool]
        chunk = {"chunk": 40} if "chunk" in member.model_fields else {}
        yield small(member)
        for name in switches:
            for value in (True, False):
                yield small(member, **{name: value}, **chunk)


def variant_name(head: Config) -> str:
    return name_of(head) + "".join(f"-{k}={v}" for k, v in head if k != "kind" and v is not None)


every_head = pytest.mark.parametrize("config", list(variants()), ids=variant_name)


def build(config: Config) -> Head:
    torch.manual_seed(0)
    head: Head = config.build(WIDTH, VOCABULARY, TokenEmbedding(VOCABULARY, WIDTH))
    head.double()
    with torch.no_grad():
        for parameter in head.parameters():  # biases start at zero: not here
            parameter.normal_()
    return head


def positions() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    hidden = torch.randn(POSITIONS, WIDTH, dtype=torch.float64, requires_grad=True)
    return hidden, torch.arange(POSITIONS) % VOCABULARY


@every_head
def test_probabilities_sum_to_one(config: Config) -> None:
    head = build(config)
    hidden = torch.randn(2, 3, WIDTH, dtype=torch.float64)
    log_probs = head.log_probs(hidden)
    assert log_probs.shape == (2, 3, VOCABULARY)
    assert_same(log_probs.exp().sum(-1), torch.ones(2, 3, dtype=torch.float64), 1e-12)
    assert_same(head.log_probs(hidden[1, 2]), log_probs[1, 2], 1e-12)


@every_head
def test_loss_is_the_negative_log_probability(config: Config) -> None:
    head = build(config)
    hidden, targets = positions()
    expected = -head.log_probs(hidden)[torch.arange(POSITIONS), targets]
    assert_same(head.nll(hidden, targets), expected, 1e-12)


@every_head
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
def test_gradient_is_that_of_the_log_probabilities(config: Config, dtype: torch.dtype, tolerance: float) -> None:
    hidden, targets = positions()
    weights = torch.linspace(-1, 2, POSITIONS, dtype=torch.float64)
    reference = build(config)
    picked = reference.log_probs(hidden)[torch.arange(POSITIONS), targets]
    expected = torch.autograd.grad(-(picked * weights).sum(), [hidden, *reference.parameters()])
    head = build(config).to(dtype)
    given = hidden.detach().to(dtype).requires_grad_()
    total = (head.nll(given, targets) * weights.to(dtype)).sum()
    gradients = torch.autograd.grad(total, [given, *head.parameters()])
    assert_same([gradient.double() for gradient in gradients], list(expected), tolerance)


@every_head
def test_no_positions_are_no_problem(config: Config) -> None:
    head = build(config)
    hidden = torch.zeros(0, WIDTH, dtype=torch.float64, requires_grad=True)
    nll = head.nll(hidden, torch.zeros(0, dtype=torch.int64))
    assert nll.shape == (0,)
    nll.sum().backward()


TIED = [member for member in members(HeadChoice) if "tied" in member.model_fields]


@pytest.mark.parametrize("member", TIED, ids=name_of)
def test_a_tied_head_shares_the_embedding(member: type[Config]) -> None:
    embedding = TokenEmbedding(VOCABULARY, WIDTH)
    shared = member(tied=True).build(WIDTH, VOCABULARY, embedding)
    assert any(parameter is embedding.weight for parameter in shared.parameters())
    apart = member(tied=False).build(WIDTH, VOCABULARY, embedding)
    assert all(parameter is not embedding.weight for parameter in apart.parameters())


@pytest.mark.parametrize("member", TIED, ids=name_of)
@pytest.mark.parametrize(
    ("embedding", "said"),
    [(TokenEmbedding(VOCABULARY, 4), "output, 6, but it is 4"), (None, "it does not exist")],
    ids=["narrow", "none"],
)
def test_a_head_that_cannot_be_tied_says_what_to_set(
    member: type[Config], embedding: TokenEmbedding | None, said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        member(tied=True).build(WIDTH, VOCABULARY, embedding)
    assert "model.output" in str(caught.value)
    assert "head.tied = false" in str(caught.value)
