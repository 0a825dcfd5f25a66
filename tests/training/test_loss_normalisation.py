"""What losses are divided by: closed forms, by themselves and over micro-batches."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from builders import assert_same, ragged_batch, tables, trainer_of
from outside import PairsConfig

import foretell
from foretell.nn.heads import FullHeadConfig
from foretell.objectives.causal import Causal
from foretell.objectives.objective import Objective
from foretell.optim.progress import Progress
from foretell.run import Run
from foretell.training.loss_normalisation import loss_factor
from foretell.types import Batch

LENGTHS = (6, 2, 0, 5)  # 13 tokens in 3 rows, the longest of 6
DIVISORS = {"tokens": 13, "sequences": 3, "longest": 18}
every_way = pytest.mark.parametrize("normalise", DIVISORS)


def objective() -> Objective:
    torch.manual_seed(0)
    backbone = PairsConfig().build(11)
    return Causal(backbone, FullHeadConfig().build(backbone.dim, 11, backbone.embedding)).double()


def by_hand(model: Objective, batch: Batch, divisor: float) -> dict[str, torch.Tensor]:
    """Gradients of the sum over tokens, one after the other, divided once."""
    total = torch.zeros((), dtype=torch.float64)
    hidden = model.backbone(batch.inputs, None).last
    for row, length in enumerate((batch.targets >= 0).sum(1).tolist()):
        for t in range(length):
            scores = hidden[row, t] @ model.head.weight.T + model.head.bias
            total = total + F.cross_entropy(scores, batch.targets[row, t])
    gradients = torch.autograd.grad(total / divisor, list(model.parameters()))
    return dict(zip(dict(model.named_parameters()), gradients, strict=True))


@every_way
def test_factors_by_hand(normalise: Any) -> None:
    batch = ragged_batch(11, LENGTHS)
    assert loss_factor(batch, normalise) == pytest.approx(13 / DIVISORS[normalise])
    full = ragged_batch(11, (4, 4))
    assert loss_factor(full, normalise) == {"tokens": 1, "sequences": 4, "longest": 1}[normalise]


def test_a_row_counts_by_its_length_not_by_its_targets() -> None:
    """Masked objectives predict few tokens of a sequence; one without any is not in the mean."""
    batch = ragged_batch(11, (6, 4))
    targets = torch.full_like(batch.targets, -100)
    assert loss_factor(dataclasses.replace(batch, targets=targets), "longest") == 1  # labels only
    targets[0, 2] = targets[0, 3] = 1
    assert loss_factor(dataclasses.replace(batch, targets=targets), "longest") == pytest.approx(2 / (1 * 6))
    assert loss_factor(dataclasses.replace(batch, targets=targets), "sequences") == 2


@every_way
@pytest.mark.parametrize("parts", [1, 2, 3, 4])
def test_gradients_in_closed_form(normalise: str, parts: int) -> None:
    """Through a whole step of the trainer: plain gradient descent moves by the gradient itself."""
    batch, model = ragged_batch(11, LENGTHS), objective()
    expected = by_hand(model, batch, DIVISORS[normalise])
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    trainer = trainer_of(model, normalise=normalise, micro_batches=parts)
    trainer.stage.batches = Located([batch])
    trainer.step(Progress(0, 0.0, 0, 0.0, 0.0))
    moved = {name: before[name] - p.detach() for name, p in model.named_parameters()}
    assert_same(moved, expected, 1e-12)


class Located(list[Batch]):
    """Batches that know where they are."""

    def locate(self, k: int) -> tuple[int, int, int]:
        return 0, k, len(self)


@pytest.mark.parametrize("normalise", ["sequences", "longest"])
def test_reports_are_per_token_in_any_case(corpus: dict[str, str], tmp_path: Path, normalise: str) -> None:
    """Lines of different lengths; the learning rate is so small that the weights stay the same."""
    batches = {"kind": "lines", "batch": 32, "length": 50}
    found = {}
    for way in ("tokens", normalise):
        changes = {"data__batches": batches, "optimizer__learning_rate": 1e-12, "limit": "4steps"}
        foretell.train(tables(corpus, training__normalise=way, **changes), tmp_path / way, quiet=True)
        found[way] = [record for record in Run(tmp_path / way).metrics() if record["kind"] == "train"]
    mine, plain = found[normalise], found["tokens"]
    assert [r["loss"] for r in mine] == pytest.approx([r["loss"] for r in plain], rel=1e-5)
    assert [r["tokens"] for r in mine] == [r["tokens"] for r in plain]
    ratios = [one["gradient_norm"] / other["gradient_norm"] for one, other in zip(mine, plain, strict=True)]
    assert min(ratios) > 2 if normalise == "sequences" else min(ratios) < 0.97  # but not the gradients
