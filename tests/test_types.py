"""Batches: what holds for every field that has rows."""

from dataclasses import fields

import torch

from foretell.types import Batch, Inputs

SHAPES = {"lengths": (), "fresh": ()}
"""shape of a row; absent: one number per token"""


def test_a_row_is_repeated_in_every_field() -> None:
    given = {item.name: torch.rand(1, *SHAPES.get(item.name, (4,))) for item in fields(Inputs)}
    batch = Batch(Inputs(**given), targets=torch.rand(1, 4)).repeat(3)
    for name, row in given.items():
        assert torch.equal(getattr(batch.inputs, name), torch.cat([row] * 3))
    assert batch.targets.shape == (3, 4)
    assert batch.labels is None
    batch.inputs.tokens[0, 0] = 9  # copies have their own memory
    assert batch.inputs.tokens[1, 0] == given["tokens"][0, 0] != 9
