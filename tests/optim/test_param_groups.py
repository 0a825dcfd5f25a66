"""Parameter groups by weight decay and depth."""

import pytest
import torch
from torch import nn

from foretell.optim.param_groups import LayerDepths, param_groups


def test_groups_by_weight_decay() -> None:
    matrix, bias, norm = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    given = [bias, matrix, norm]
    assert param_groups(given, rate=0.5, decay=0.1, decay_on="all") == [
        {"params": given, "lr": 0.5, "weight_decay": 0.1}
    ]
    apart = param_groups(iter(given), rate=0.5, decay=0.1, decay_on="matrices")
    assert [(len(group["params"]), group["weight_decay"]) for group in apart] == [(1, 0.1), (2, 0.0)]
    assert apart[0]["params"][0] is matrix
    alone = param_groups([bias], rate=0.5, decay=0.1, decay_on="matrices")
    assert alone == [{"params": [bias], "lr": 0.5, "weight_decay": 0.0}]


def test_groups_by_depth() -> None:
    top, low, head = (nn.Parameter(torch.ones(2, 2)) for _ in range(3))
    groups = param_groups(
        [low, top, head],
        rate=1.0,
        decay=0.0,
        decay_on="all",
        layer_decay=0.5,
        gap=2,
        layer_depths=LayerDepths({head: 0, top: 1, low: 2}),
    )
    assert [(group["params"][0] is p, group["lr"]) for group, p in zip(groups, (head, top, low), strict=True)] == [
        (True, 1.0),
        (True, 0.25),
        (True, 0.125),
    ]
    with pytest.raises(ValueError, match="needs the depth"):
        param_groups([low], rate=1.0, decay=0.0, decay_on="all", layer_decay=0.5)
