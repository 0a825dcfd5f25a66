"""Weights and the state of an optimizer as named tensors."""

import pytest
import torch
from builders import assert_same, small

from foretell.errors import ConfigError
from foretell.models.model_spec import ModelSpec
from foretell.models.recurrent import RecurrentConfig
from foretell.nn.heads import FullHeadConfig
from foretell.objectives.causal import CausalConfig
from foretell.objectives.objective import Objective
from foretell.training.state_dict import (
    check_fit,
    load_optimizer,
    load_weights,
    optimizer_tensors,
    parted,
    trained_names,
    weights,
)

EMBEDDING = "backbone.embedding.table.weight"


def built(tied: bool = True, seed: int = 0, **settings: int) -> Objective:
    torch.manual_seed(seed)
    model = small(RecurrentConfig, **({"embedding_dim": 4, "hidden": 4} | settings))
    return CausalConfig().build(ModelSpec(model, FullHeadConfig(tied=tied), vocabulary=9))


def test_a_shared_tensor_is_there_once() -> None:
    tied, apart = weights(built()), weights(built(tied=False))
    assert set(apart) - set(tied) == {"head.weight"} and EMBEDDING in tied
    assert len({id(tensor) for tensor in tied.values()}) == len(tied)
    assert sum(p.numel() for p in tied.values()) == sum(p.numel() for p in built().parameters())


def test_buffers_are_there_if_they_are_saved() -> None:
    objective = built()
    objective.register_buffer("kept", torch.zeros(2))
    objective.register_buffer("made_again", torch.zeros(2), persistent=False)
    assert "kept" in weights(objective) and "made_again" not in weights(objective)
    assert "kept" not in trained_names(objective)


def test_trained_and_frozen_are_all_of_it() -> None:
    objective = built()
    objective.backbone.embedding.table.weight.requires_grad_(False)
    trained, frozen = parted(objective)
    assert list(frozen) == [EMBEDDING]
    assert trained.keys() | frozen.keys() == weights(objective).keys()
    assert trained_names(objective) == [name for name in weights(objective) if name != EMBEDDING]


def test_loading_makes_two_models_one() -> None:
    one, other = built(seed=1), built(seed=2)
    places = [p.data_ptr() for p in other.parameters()]
    tensors = {name: tensor.detach().clone() for name, tensor in weights(one).items()}
    assert not torch.equal(weights(other)[EMBEDDING], tensors[EMBEDDING])
    load_weights(other, tensors)
    assert_same(dict(other.state_dict()), dict(one.state_dict()))
    assert [p.data_ptr() for p in other.parameters()] == places


def test_other_names_and_shapes_are_refused() -> None:
    mine = weights(built())
    with pytest.raises(ConfigError, match=r"holds other weights than the model: head\.weight$"):
        check_fit(built(), weights(built(tied=False)))
    with pytest.raises(ConfigError, match=r"holds other weights than the model: backbone\.embedding\.table\.weight$"):
        check_fit(built(), {name: tensor for name, tensor in mine.items() if name != EMBEDDING})
    with pytest.raises(ConfigError, match=r"the checkpoint's backbone\.\S* is \(20,\), and the model's is \(16,\)"):
        check_fit(built(), weights(built(embedding_dim=5, hidden=5)))
    check_fit(built(), mine)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.Adagrad])
def test_the_state_of_an_optimizer_comes_back_and_its_settings_do_not(kind: type[torch.optim.Optimizer]) -> None:
    torch.manual_seed(0)
    parameters = [torch.nn.Parameter(torch.randn(3)) for _ in range(2)]
    momentum = {"momentum": 0.9} if kind is torch.optim.SGD else {}
    optimizer = kind(parameters, lr=0.1, **momentum)
    parameters[1].grad = torch.ones(3)  # the first never had a gradient
    optimizer.step()
    tensors = optimizer_tensors(optimizer)
    assert tensors and any(name.startswith("1.") for name in tensors)
    other = kind(parameters, lr=0.5, **momentum)
    load_optimizer(other, tensors)
    assert_same(optimizer_tensors(other), tensors)
    assert other.param_groups[0]["lr"] == 0.5
