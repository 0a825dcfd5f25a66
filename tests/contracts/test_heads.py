"""Every output head: probabilities that sum to one and agree with the loss, and the right gradient."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from builders import assert_same, members, name_of, small
from torch import Tensor

from foretell.config import Config
from foretell.errors import ConfigError
from foretell.nn.embedding import AdaptiveEmbedding, TokenEmbedding
from foretell.nn.frequency_bands import Bands
from foretell.nn.heads import Head, HeadChoice
from foretell.nn.heads.adaptive import AdaptiveHeadConfig
from foretell.nn.heads.full import FullHeadConfig, TransformConfig
from foretell.nn.heads.hierarchical import HierarchicalHeadConfig
from foretell.nn.heads.mixture import MixtureHeadConfig

VOCABULARY, WIDTH, POSITIONS = 13, 6, 29
COUNTS = np.array([7, 0, 90, 3, 3, 1, 250, 12, 3, 40, 0, 5, 30])
"""of tokens whose ids say nothing about their frequency"""


def variants() -> Iterator[Config]:
    """Every kind of head with each of its switches both ways, chunks smaller than the work, and settings of its own."""
    for member in members(HeadChoice):
        switches = [name for name, field in member.model_fields.items() if field.annotation is bool]
        chunk = {"chunk": 40} if "chunk" in member.model_fields else {}
        yield small(member)
        for name in switches:
            for value in (True, False):
                yield small(member, **{name: value}, **chunk)
    for cutoffs in [(), (1,), (12,), (4, 5), (1, 2, 3, 12), (3, 6, 9), tuple(range(1, VOCABULARY))]:
        yield AdaptiveHeadConfig(cutoffs=cutoffs)
        yield AdaptiveHeadConfig(cutoffs=cutoffs, tied=True, divide=2, chunk=40)
    yield from (HierarchicalHeadConfig(tree="classes", classes=classes) for classes in (None, 1, 2, VOCABULARY, 99))
    for activation in ("gelu", "gelu_tanh", "relu"):
        yield FullHeadConfig(tied=activation != "relu", transform=TransformConfig(activation=activation), chunk=40)
    yield from (MixtureHeadConfig(components=components, latent=5) for components in (1, 3))


def variant_name(head: Config) -> str:
    return name_of(head) + "".join(f"-{k}={v}" for k, v in head if k != "kind" and v is not None)


every_head = pytest.mark.parametrize("config", list(variants()), ids=variant_name)


def build(config: Config) -> Head:
    torch.manual_seed(0)
    head: Head = config.build(WIDTH, VOCABULARY, TokenEmbedding(VOCABULARY, WIDTH), COUNTS)
    head.double().eval()  # a loss that is drawn by chance in training is not then
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


@every_head
def test_second_derivatives_apart_the_gradient_is_right(config: Config) -> None:
    head = build(config)
    hidden, targets = positions()
    part = slice(0, 5)

    def loss(given: Tensor) -> Tensor:
        return head.nll(given, targets[part])

    assert torch.autograd.gradcheck(loss, hidden[part].detach().requires_grad_(), fast_mode=True)


@every_head
def test_gradients_come_under_autocast_too(config: Config) -> None:
    head = build(config).float()
    hidden, targets = positions()
    expected = head.nll(hidden.float(), targets).detach()
    with torch.autocast("cpu", torch.bfloat16):
        given = hidden.detach().float().requires_grad_()
        nll = head.nll(given, targets)
        log_probs = head.log_probs(given)
    assert nll.dtype == log_probs.dtype == torch.float32
    assert_same(nll, expected, 0.3)
    nll.sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in head.parameters() if p.numel())


BIASED = [member for member in members(HeadChoice) if "bias_start" in member.model_fields]


@pytest.mark.parametrize("member", BIASED, ids=name_of)
def test_a_bias_from_frequencies_begins_as_the_unigram_model(member: type[Config]) -> None:
    given = {"cutoffs": (2, 5, 6)} if "cutoffs" in member.model_fields else {}
    head = small(member, bias_start="unigram", **given).build(WIDTH, VOCABULARY, None, COUNTS).eval()
    with torch.no_grad():
        for parameter in head.parameters():  # nothing but the bias has a say
            parameter.mul_(parameter.dim() == 1)
    shares = (COUNTS + 1) / (COUNTS + 1).sum()
    found = head.log_probs(torch.randn(WIDTH)).exp()
    assert_same(found.double(), torch.from_numpy(shares), 1e-6)


TIED = [member for member in members(HeadChoice) if "tied" in member.model_fields]


@pytest.mark.parametrize("member", TIED, ids=name_of)
def test_a_tied_head_shares_the_embedding(member: type[Config]) -> None:
    embedding = TokenEmbedding(VOCABULARY, WIDTH)
    shared = member(tied=True).build(WIDTH, VOCABULARY, embedding)
    assert any(parameter is embedding.weight for parameter in shared.parameters())
    apart = member(tied=False).build(WIDTH, VOCABULARY, embedding)
    assert all(parameter is not embedding.weight for parameter in apart.parameters())


def adaptive_embedding(width: int = WIDTH) -> AdaptiveEmbedding:
    return AdaptiveEmbedding(Bands(VOCABULARY, COUNTS, (3, 7)), width)


@pytest.mark.parametrize("member", TIED, ids=name_of)
@pytest.mark.parametrize("embedding", [TokenEmbedding(VOCABULARY, 4), None], ids=["narrow", "none"])
def test_a_head_that_cannot_be_tied_says_what_to_set(member: type[Config], embedding: TokenEmbedding | None) -> None:
    mixture = member is MixtureHeadConfig
    wide = {"latent": WIDTH} if mixture else {}  # absent it is the embedding's width
    with pytest.raises(ConfigError, match="but it is 4" if embedding else "it does not exist") as caught:
        member(tied=True, **wide).build(WIDTH, VOCABULARY, embedding)
    assert ("head.latent" if mixture else "model.output") in str(caught.value)
    assert "head.tied = false" in str(caught.value)


@pytest.mark.parametrize("member", [member for member in TIED if member is not AdaptiveHeadConfig], ids=name_of)
def test_only_an_adaptive_head_shares_adaptive_word_vectors(member: type[Config]) -> None:
    with pytest.raises(ConfigError, match=r'head\.kind = "adaptive"'):
        member(tied=True).build(WIDTH, VOCABULARY, adaptive_embedding())


def test_an_adaptive_head_takes_the_bands_of_the_word_vectors_it_shares() -> None:
    embedding = adaptive_embedding()
    head = AdaptiveHeadConfig(tied=True).build(WIDTH, VOCABULARY, embedding)
    assert head.bands is embedding.words.bands
    assert {id(p) for p in embedding.parameters()} < {id(p) for p in head.parameters()}
    with pytest.raises(ConfigError, match=r"not those of the embedding it shares, \[3, 7\]"):
        AdaptiveHeadConfig(tied=True, cutoffs=(3, 8)).build(WIDTH, VOCABULARY, embedding)
    with pytest.raises(ConfigError, match=r"model\.output"):
        AdaptiveHeadConfig(tied=True).build(WIDTH, VOCABULARY, adaptive_embedding(8))


def test_no_chunk_is_empty() -> None:
    with pytest.raises(ValueError, match="chunk"):
        FullHeadConfig(chunk=0)
