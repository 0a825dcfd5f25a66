"""Trainings whose batches and rates change: in stages, along a ramp, by layer. Every rate is one of a table by hand."""

from pathlib import Path
from typing import Any

import pytest
from builders import attending, masking

import foretell
from foretell.data.batches.packing import Passages
from foretell.data.batches.ramp import Ramp
from foretell.recipe.loading import load_recipe
from foretell.run import Run

Corpus = dict[str, str]


def rates(run: Path) -> list[float]:
    return [record["learning_rate"] for record in Run(run).metrics() if record["kind"] == "train"]


def test_two_phases_of_bert(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short rows in large batches, then long ones in small batches, as NVIDIA trains BERT with LAMB."""
    shapes: list[tuple[int, int]] = []
    original = Passages.__getitem__

    def noted(self: Passages, k: int) -> Any:
        shapes.append((self.config.batch, self.config.length))
        return original(self, k)

    monkeypatch.setattr(Passages, "__getitem__", noted)
    second = {
        "data.batches.length": 12,
        "data.batches.batch": 2,
        "optimizer.learning_rate": 4e-3,
        "schedule.warmup": "1steps",
    }
    recipe = masking(
        corpus,
        data__batches=dict(kind="full", batch=6, length=6),
        optimizer=dict(kind="lamb", variant="nvlamb", learning_rate=6e-3),
        schedule=dict(kind="polynomial", power=0.5, warmup="2steps", falls_from="start"),
        training__log_every="1steps",
        evaluation__every="99steps",
        stages=[
            {"name": "128", "limit": "8steps"},
            {"name": "512", "limit": "5steps", "keep": ["optimizer"], "set": second},
        ],
    )
    foretell.train(recipe, tmp_path / "run", quiet=True)
    first = [0.5, 1, 0.866025, 0.790569, 0.707107, 0.612372, 0.5, 0.353553]  # (1 - k / 8)^0.5 behind two steps up
    then = [1, 0.894427, 0.774597, 0.632456, 0.447214]  # (1 - k / 5)^0.5 behind one
    assert rates(tmp_path / "run") == pytest.approx([6e-3 * f for f in first] + [4e-3 * f for f in then], rel=1e-5)
    assert set(shapes) == {(6, 6), (2, 12)}
    saved = foretell.load(tmp_path / "run", which="last").checkpoint.tensors("optimizer")
    assert saved["0.step"] == 13  # the means go on


def test_rates_follow_a_growing_batch(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: dict[int, int] = {}
    original = Ramp.__getitem__

    def noted(self: Ramp, k: int) -> Any:
        batch = original(self, k)
        rows[k] = len(batch.targets)
        return batch

    monkeypatch.setattr(Ramp, "__getitem__", noted)
    recipe = attending(
        corpus,
        limit="6steps",
        data__ramp=dict(times=3, over="4steps"),
        optimizer=dict(learning_rate=0.03, batch_scaling=dict(rule="square-root", rows=12)),
        training__log_every="1steps",
    )
    foretell.train(recipe, tmp_path / "run", quiet=True)
    full = {k: 4 * times for k, times in enumerate([1, 2, 2, 3, 3, 3])}
    assert [k for k in full if rows[k] != full[k]] in ([], [3], [4], [5])  # an epoch's last batch has fewer rows
    assert rates(tmp_path / "run") == pytest.approx([0.03 * (rows[k] / 12) ** 0.5 for k in range(6)])


@pytest.mark.parametrize(
    ("rule", "rows", "rate"),
    [  # LAMB's rates for BERT: 5e-3 at 32k, divided by the root of 2 for each halving (arXiv:1904.00962)
        ("square-root", 32768, 5e-3),
        ("square-root", 16384, 5e-3 / 2**0.5),
        ("square-root", 512, 5e-3 / 2**3),
        ("linear", 16384, 2.5e-3),
        ("flat", 512, 5e-3),
    ],
)
def test_rules_for_other_batches(rule: str, rows: int, rate: float) -> None:
    scaling = {"rule": rule, "rows": 32768}
    optimizer = load_recipe({"optimizer": {"learning_rate": 5e-3, "batch_scaling": scaling}}).optimizer
    assert optimizer.learning_rate * optimizer.batch_scaling.factor(rows) == pytest.approx(rate)


def test_lamb_warms_up_over_as_many_steps_whatever_the_batch() -> None:
    """Its table halves the share of the warm-up with the batch, while the steps double: 3125 of them everywhere."""
    shares = {2**n * 1024: (2**n / 160, 500_000 / 2**n) for n in range(6)}
    assert shares[32768] == (1 / 5, 15625)
    assert {share * steps for share, steps in shares.values()} == {3125.0}
