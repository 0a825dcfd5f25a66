"""Penalties on hidden vectors and on the way from the start, by hand."""

import pytest
import torch
from builders import assert_same, members

from foretell.objectives.penalties import ActivationPenaltyConfig, PenaltyChoice, StartPenaltyConfig
from foretell.types import Hidden


def test_penalties_by_hand() -> None:
    """alpha * mean(dropped^2) and beta * mean((h[t+1] - h[t])^2) of what was not dropped."""
    penalties = {member.kind_name(): member for member in members(PenaltyChoice)}
    last = torch.tensor([[[1.0, 2.0], [3.0, 2.0], [3.0, 5.0]]])
    dropped = torch.tensor([[[2.0, 0.0], [6.0, 4.0], [0.0, 10.0]]])
    hidden = Hidden(last=last, dropped=dropped)
    module = torch.nn.Module()
    assert float(penalties["activation"](weight=2.0).build()(module, hidden)) == pytest.approx(
        2 * (4 + 0 + 36 + 16 + 0 + 100) / 6
    )
    temporal = penalties["temporal"](weight=3.0).build()
    assert float(temporal(module, hidden)) == pytest.approx(3 * (4 + 0 + 0 + 9) / 4)
    one = Hidden(last=last[:, :1], dropped=dropped[:, :1])
    assert float(temporal(module, one)) == 0


def test_the_penalty_on_the_way_from_the_start_by_hand() -> None:
    """weight / 2 * |w - w_0|^2 of what is trained, with gradient weight * (w - w_0); w_0 can be kept and loaded."""
    model = torch.nn.Linear(2, 1)
    model.bias.requires_grad_(False)
    start = model.weight.detach().clone()
    penalty = StartPenaltyConfig(weight=3.0).build()
    assert penalty(model, None).item() == 0
    with torch.no_grad():
        model.weight += torch.tensor([[1.0, -2.0]])
        model.bias += 5
    found = penalty(model, None)
    assert found.item() == pytest.approx(3 / 2 * (1 + 4))
    found.backward()
    assert_same(model.weight.grad, 3 * (model.weight.detach() - start), 1e-6)
    assert_same(penalty.tensors(), {"weight": start})
    other = StartPenaltyConfig(weight=3.0).build()
    other.load(penalty.tensors())
    assert torch.equal(other(model, None), found)


def test_penalties_are_computed_in_single_precision() -> None:
    """Squares of 300 are beyond fp16."""
    large = torch.full((1, 2, 3), 300.0, dtype=torch.float16)
    penalty = ActivationPenaltyConfig(weight=1.0).build()
    assert float(penalty(torch.nn.Module(), Hidden(last=large, dropped=large))) == 90_000


def test_only_the_way_from_the_start_has_a_state() -> None:
    for member in members(PenaltyChoice):
        penalty = member().build()
        assert penalty.tensors() == {}
        penalty.load({})
        if member is not StartPenaltyConfig:
            with pytest.raises(ValueError, match="has no state"):
                penalty.load({"weight": torch.zeros(1)})
