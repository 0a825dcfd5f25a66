"""Adapters against the sum written out: the same outputs, the same gradients, and nothing at the start."""

import copy

import pytest
import torch
from builders import assert_same, name_of, small
from torch import Tensor, nn

from foretell.config import Config
from foretell.models.recurrent import RecurrentConfig
from foretell.models.transformer import TransformerConfig
from foretell.nn.adapter import Adapter, adapt, adapters_in, merged, plain_name
from foretell.nn.embedding import TokenEmbedding
from foretell.nn.recurrent.lstm import GRUConfig, LSTMConfig
from foretell.nn.recurrent.mlstm import MLSTMConfig
from foretell.nn.recurrent.qrnn import QRNNConfig
from foretell.types import Inputs

SCALE = 1.5
MODELS = [
    *(small(RecurrentConfig, cell=cell) for cell in (LSTMConfig(projection=3), GRUConfig(), QRNNConfig(window=2))),
    small(RecurrentConfig, cell=MLSTMConfig(weight_norm=True)),
    small(RecurrentConfig, direction="both"),
    small(TransformerConfig, embedding_dim=None),
    small(TransformerConfig, embedding_dim=None, layers=3, groups=1, direction="both"),
]


def adapted(config: Config) -> tuple[nn.Module, nn.Module]:
    """A model, and a copy with adapters that have learnt something."""
    torch.manual_seed(0)
    plain = config.build(11).double().eval()
    other = copy.deepcopy(plain)
    for adapter in adapt(other.blocks, rank=2, scale=SCALE):
        nn.init.normal_(adapter.up)
    return plain, other


def named(model: nn.Module) -> dict[str, Tensor]:
    return {plain_name(name): parameter for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("config", MODELS, ids=name_of)
def test_an_adapted_model_is_the_one_it_is_merged_into(config: Config) -> None:
    plain, model = adapted(config)
    tokens = Inputs(torch.randint(11, (3, 5)))
    before = plain(tokens, None).last
    with torch.no_grad():
        for name, tensor in merged(named(model), SCALE).items():
            named(plain)[name].copy_(tensor)
    made = model(tokens, None).last
    assert_same(made, plain(tokens, None).last, 1e-12)
    assert not torch.allclose(made, before)


@pytest.mark.parametrize("config", MODELS, ids=name_of)
def test_every_matrix_of_the_layers_has_one_and_nothing_else(config: Config) -> None:
    plain, model = adapted(config)
    matrices = {name for name, p in plain.named_parameters() if name.startswith("blocks.") and p.dim() == 2}
    own = adapters_in(named(model))
    assert own == {name + end for name in matrices for end in (".down", ".up")}
    assert named(model).keys() - own == dict(plain.named_parameters()).keys()


@pytest.mark.parametrize("config", MODELS, ids=name_of)
def test_nothing_changes_at_the_start(config: Config) -> None:
    plain = config.build(11).double().eval()
    other = copy.deepcopy(plain)
    assert list(adapt(other.blocks, rank=2, scale=SCALE))
    tokens = Inputs(torch.randint(11, (3, 5)))
    assert_same(other(tokens, None).last, plain(tokens, None).last, 1e-14)


def test_gradients_by_hand() -> None:
    """y = W x + s U D x: dD = s U' g x', dU = s g (D x)', and none of the weight."""
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Linear(4, 3)).double().requires_grad_(False)
    (adapter,) = adapt(layer, rank=2, scale=SCALE)
    nn.init.normal_(adapter.up)
    x, g = torch.randn(5, 4, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    (layer(x) * g).sum().backward()
    assert adapter.down.grad is not None and adapter.up.grad is not None
    assert_same(adapter.down.grad, SCALE * adapter.up.detach().T @ g.T @ x, 1e-12)
    assert_same(adapter.up.grad, SCALE * g.T @ (x @ adapter.down.detach().T), 1e-12)
    assert named(layer)["0.weight"].grad is None


def test_word_vectors_have_none() -> None:
    assert not list(adapt(TokenEmbedding(5, 3), rank=2, scale=SCALE))


def test_how_adapters_begin() -> None:
    adapter = Adapter(torch.zeros(7, 400), 32, 1.0)
    assert not adapter.up.any()
    assert adapter.down.abs().max() <= 0.05
    assert float(adapter.down.detach().std()) == pytest.approx(0.05 / 3**0.5, rel=0.05)  # of a uniform distribution
