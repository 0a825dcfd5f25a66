"""Weights at the start, and modules that are built on paper."""

import pytest
import torch
from builders import small_models
from torch import nn

from foretell.models.kinds import ModelChoice
from foretell.nn.initializers import NormalConfig, on_paper


def test_on_paper_nothing_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(*_: object) -> None:
        raise AssertionError("numbers were drawn")

    for name in ("_no_grad_normal_", "_no_grad_uniform_", "_no_grad_trunc_normal_"):
        monkeypatch.setattr(nn.init, name, draw)
    with on_paper():
        modules = [nn.Embedding(5, 3), nn.Linear(3, 4), nn.Parameter(torch.empty(2, 3).uniform_(-1, 1))]
        NormalConfig(truncated=True).fill(modules[1].weight)
    assert modules[1].weight.is_meta and modules[1].weight.shape == (4, 3) and modules[2].is_meta
    with pytest.raises(AssertionError, match="numbers were drawn"):
        nn.Embedding(5, 3)


@pytest.mark.parametrize("model", [*small_models(ModelChoice)], ids=lambda model: model.kind_name())
def test_models_on_paper_have_the_shapes_of_models(model: object) -> None:
    if not hasattr(model, "build"):
        pytest.skip("it is counted, not built")
    with on_paper():
        blank = model.build(11, None)
    assert {n: p.shape for n, p in blank.named_parameters()} == {
        n: p.shape for n, p in model.build(11, None).named_parameters()
    }
