"""What is dropped, how often, shared with whom, and that nothing is in evaluation."""

import math
from collections.abc import Callable

import pytest
import torch
from builders import assert_same, members, name_of, small
from torch import Tensor

from foretell.config import Config
from foretell.models.recurrent import RecurrentConfig
from foretell.nn.dropout import dropout, keep_mask, weight_drop, word_dropout
from foretell.nn.embedding import TokenEmbedding
from foretell.nn.recurrent.kinds import CellChoice
from foretell.types import Inputs


def assert_share(kept: Tensor, rate: float, draws: int) -> None:
    """The share of kept entries is 1 - rate within three standard deviations."""
    share = float((kept != 0).double().mean())
    assert abs(share - (1 - rate)) < 3 * math.sqrt(rate * (1 - rate) / draws)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


RATES = [0.1, 0.5, 0.65]


@pytest.mark.parametrize("rate", RATES)
def test_masks_hold_zeros_and_one_other_number(rate: float) -> None:
    mask = keep_mask(torch.zeros((), dtype=torch.float64), (300, 100), rate)
    assert_share(mask, rate, 30_000)
    assert_same(mask[mask != 0].unique(), torch.tensor([1 / (1 - rate)], dtype=torch.float64))
    assert mask.dtype == torch.float64


@pytest.mark.parametrize("rate", [1e-9, 1 - 2**-16, 1 - 2**-53])
def test_rates_may_be_as_near_to_zero_and_one_as_they_can(rate: float) -> None:
    kept = keep_mask(torch.zeros(()), (100, 1000), rate) != 0
    assert float(kept.double().mean()) == pytest.approx(1 - rate, abs=1e-3)


@pytest.mark.parametrize("rate", RATES)
def test_locked_dropout_is_shared_over_time_only(rate: float) -> None:
    dropped = dropout(torch.ones(40, 7, 50), rate, training=True, locked=True)
    assert_share(dropped[:, 0], rate, 2000)
    assert_same(dropped, dropped[:, :1].expand(-1, 7, -1))
    assert len(dropped[:, 0].unique(dim=0)) == 40  # rows differ
    assert len(dropped[:, 0].unique(dim=1)[0]) == 50  # so do units


@pytest.mark.parametrize("rate", RATES)
def test_plain_dropout_is_not_shared(rate: float) -> None:
    dropped = dropout(torch.ones(40, 7, 50), rate, training=True, locked=False)
    assert_share(dropped, rate, 40 * 7 * 50)
    # shared masks would make 40; of masks that keep nearly all, a few agree by chance (0.9 ** 50 keep everything)
    assert len(dropped.flatten(0, 1).unique(dim=0)) > 40 * 6


@pytest.mark.parametrize("rate", RATES)
def test_weight_drop_leaves_the_raw_weight_and_gives_it_the_gradient(rate: float) -> None:
    raw = torch.randn(200, 50, requires_grad=True)
    before = raw.detach().clone()
    dropped = weight_drop(raw, rate, training=True)
    assert_share(dropped, rate, 10_000)
    kept = dropped != 0
    assert_same(dropped[kept], (before / (1 - rate))[kept], 1e-6)
    dropped.sum().backward()
    assert_same(raw.grad, kept.float() / (1 - rate), 1e-6)
    assert_same(raw.detach(), before)


@pytest.mark.parametrize("rate", RATES)
def test_word_dropout_is_dropping_rows_of_the_embedding(rate: float) -> None:
    vocabulary, width = 500, 3
    tokens = torch.randint(vocabulary, (20, 70))
    table = torch.randn(vocabulary, width)
    torch.manual_seed(8)
    dropped = word_dropout(table[tokens], tokens, vocabulary, rate, training=True)
    torch.manual_seed(8)
    rows = torch.nn.functional.embedding(tokens, table * keep_mask(table, (vocabulary, 1), rate))
    assert_same(dropped, rows, 1e-6)
    seen = dict(zip(tokens.flatten().tolist(), (dropped == 0).all(-1).flatten().tolist(), strict=True))
    for token, gone in seen.items():  # all occurrences alike, whole words
        assert ((dropped[tokens == token] == 0) == gone).all()
    assert_share(~torch.tensor(list(seen.values())), rate, len(seen))


FUNCTIONS: dict[str, Callable[[float, bool], tuple[Tensor, Tensor]]] = {
    "locked": lambda rate, training: (x := torch.randn(4, 5, 6), dropout(x, rate, training, True)),
    "plain": lambda rate, training: (x := torch.randn(4, 5, 6), dropout(x, rate, training, False)),
    "weight": lambda rate, training: (x := torch.randn(4, 5), weight_drop(x, rate, training)),
    "words": lambda rate, training: (
        x := torch.randn(4, 5, 6),
        word_dropout(x, torch.randint(9, (4, 5)), 9, rate, training),
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(("rate", "training"), [(0.5, False), (0.0, True)])
def test_nothing_is_dropped_in_evaluation_or_at_rate_zero(name: str, rate: float, training: bool) -> None:
    given, returned = FUNCTIONS[name](rate, training)
    assert returned is given


# --- in the layers --------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", members(CellChoice), ids=name_of)
def test_recurrent_weights_are_drawn_once_a_window(cell: type[Config]) -> None:
    """One mask for all rows and steps: equal rows stay equal, equal windows do not."""
    layer = cell().build(3, 16, 0.5, None).train()
    name = "weight_hh" if hasattr(layer, "weight_hh") else "weight"  # a QRNN has one weight, and drops of it all
    weight = layer.get_parameter(name)
    raw = weight.detach().clone()
    x = torch.randn(1, 9, 3).expand(6, -1, -1)
    outputs, _ = layer(x, layer.initial(6))
    assert_same(outputs, outputs[:1].expand_as(outputs), 1e-6)
    assert not torch.equal(layer(x, layer.initial(6))[0], outputs)
    outputs.sum().backward()
    assert_same(weight.detach(), raw)
    untouched = weight.grad == 0
    assert_share(~untouched, 0.5, untouched.numel())

    torch.manual_seed(4)
    outputs, _ = layer(x, layer.initial(6))
    torch.manual_seed(4)
    mask = keep_mask(raw, tuple(raw.shape), 0.5)
    plain = cell().build(3, 16, 0.0, None)
    plain.load_state_dict(layer.state_dict() | {name: raw * mask})
    assert_same(outputs, plain(x, plain.initial(6))[0], 1e-6)


def test_embedding_drops_words_in_training_only() -> None:
    embedding = TokenEmbedding(1000, 4, dropout=0.3)
    tokens = torch.arange(1000).repeat(2, 1)
    whole = embedding.weight[tokens]
    dropped = embedding.train()(tokens)
    assert_same(dropped[0], dropped[1])
    gone = (dropped == 0).all(-1)
    assert_share(~gone[0], 0.3, 1000)
    assert_same(dropped[~gone], whole[~gone] / 0.7, 1e-6)
    assert_same(embedding.eval()(tokens), whole)


PLACES = ["embedding", "input", "between", "output", "weight"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("locked", [True, False], ids=["locked", "plain"])
def test_every_place_drops_in_training_and_not_in_evaluation(place: str, locked: bool) -> None:
    model = small(RecurrentConfig, dropout={place: 0.5, "locked": locked})
    backbone = model.build(11)
    inputs = Inputs(tokens=torch.randint(11, (3, 8)))
    evaluated = backbone.eval()(inputs, None).dropped
    assert_same(backbone(inputs, None).dropped, evaluated)
    backbone.train()
    hidden = backbone(inputs, None)
    assert not torch.equal(hidden.dropped, evaluated)
    assert not torch.equal(hidden.dropped, backbone(inputs, None).dropped)
    assert torch.equal(hidden.last, evaluated) is (place == "output")
    if place == "output":
        zero = hidden.dropped == 0
        assert zero.any()
        assert bool((zero == zero[:, :1]).all()) is locked
        assert_same(hidden.dropped[~zero], 2 * hidden.last[~zero], 1e-6)
