"""Lower precision: the trace of the loss scale, and what a step that is left out leaves alone."""

import math
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import assert_same, losses, outcome, tables
from torch import nn

import foretell
from foretell.run import Run
from foretell.training import checkpoint
from foretell.training.precision import LossScaler, ScalingConfig, autocast
from foretell.training.trainer import Trainer

Corpus = dict[str, str]


# --- the scaler -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "steps", "scales"),
    [
        # clean steps in a row are counted anew after each that was not
        (dict(initial=8.0, grow_every=3), "+++" + "++-" + "+++", [8, 8, 16, 16, 16, 8, 8, 8, 16]),
        (dict(initial=4.0, grow_every=2, floor=1.0), "----++++", [2, 1, 1, 1, 1, 2, 2, 4]),
        (dict(initial=4.0, grow_every=1, floor=0.5), "+---+", [8, 4, 2, 1, 2]),
    ],
)
def test_the_trace_by_hand(settings: dict[str, Any], steps: str, scales: list[float]) -> None:
    scaler = LossScaler(ScalingConfig(**settings))
    given = []
    for step in steps:
        scaler.update(step == "+")
        given.append(scaler.scale)
    assert given == scales
    assert scaler.skipped == steps.count("-")


def test_the_trace_from_two_to_the_thirty_second() -> None:
    """As the first large-scale fp16 language models were trained: gradients fit from 2**16 on, so 16 steps are lost."""
    scaler = LossScaler(ScalingConfig(initial=2.0**32))
    trace = []
    for _ in range(16 + 2500):
        fits = scaler.scale <= 2**16
        scaler.update(fits)
        trace.append(scaler.scale)
    assert trace[15] == 2**16 and scaler.skipped == 16 + 2
    assert trace[16 + 999] == 2**17 and trace[16 + 1000] == 2**16


def test_the_trace_is_torchs() -> None:
    """`torch.amp.GradScaler` with the same settings, over gradients that are now and then infinite."""
    random = torch.Generator().manual_seed(0)
    finite = (torch.rand(200, generator=random) > 0.15).tolist()
    scaler = LossScaler(ScalingConfig(initial=2.0**20, grow_every=4, floor=2.0**-40))
    twin = torch.amp.GradScaler("cpu", init_scale=2.0**20, growth_interval=4)
    weight = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    for good in finite:
        optimizer.zero_grad()
        twin.scale(weight.sum() * (1.0 if good else math.inf)).backward()
        twin.step(optimizer)
        twin.update()
        scaler.update(good)
        assert scaler.scale == twin.get_scale()


def test_unscaling_is_exact() -> None:
    torch.manual_seed(0)
    gradients = [torch.randn(5), torch.randn(2, 3)]
    scaler = LossScaler(ScalingConfig(initial=2.0**13))
    scaled = [gradient * scaler.scale for gradient in gradients]
    scaler.unscale(scaled)
    assert_same(scaled, gradients)


def test_state_goes_on() -> None:
    first = LossScaler(ScalingConfig(initial=16.0, grow_every=3))
    for finite in (True, False, True, True):
        first.update(finite)
    second = LossScaler(ScalingConfig(initial=16.0, grow_every=3))
    second.load_state_dict(first.state_dict())
    first.update(True)
    second.update(True)
    assert second.state_dict() == first.state_dict() == {"scale": 16.0, "clean": 0, "skipped": 1}


@pytest.mark.parametrize(("name", "dtype"), [("fp32", None), ("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_products_are_in_the_precision(name: Any, dtype: torch.dtype | None) -> None:
    a = torch.randn(3, 3)
    with autocast(torch.device("cpu"), name):
        assert (a @ a).dtype == (dtype or torch.float32)


# --- training with it -----------------------------------------------------------------------------


def half(corpus: Corpus, **changes: Any) -> dict[str, Any]:
    return tables(corpus, training__precision="fp16", checkpoint__every="2steps", checkpoint__keep=100, **changes)


def poison(monkeypatch: pytest.MonkeyPatch, steps: set[int]) -> None:
    """Gradients of some steps are infinite, as after an overflow in fp16."""
    original = Trainer.backward

    def poisoned(self: Trainer, *given: Any) -> Any:
        result = original(self, *given)
        if self.position.step in steps:
            self.stage.objective.head.bias.grad[0] = math.inf
        return result

    monkeypatch.setattr(Trainer, "backward", poisoned)


def records(out: Path) -> list[dict[str, Any]]:
    return [record for record in Run(out).metrics() if record["kind"] == "train"]


def weights_at(out: Path, step: int) -> dict[str, torch.Tensor]:
    return checkpoint.at_step(Run(out), step).tensors("model")


def test_a_step_that_is_not_finite_is_left_out(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights, the optimiser and the mean stay as they are; the scale is halved; the next step goes on."""
    poison(monkeypatch, {4, 5})
    recipe = half(corpus, averaging="asgd", optimizer={"kind": "adam"})
    foretell.train(recipe, tmp_path / "run", quiet=True)
    for file in ("model", "averaged", "optimizer"):
        before, after = (checkpoint.at_step(Run(tmp_path / "run"), step).tensors(file) for step in (4, 6))
        assert_same(after, before)
    assert not torch.equal(weights_at(tmp_path / "run", 8)["head.bias"], weights_at(tmp_path / "run", 6)["head.bias"])
    every = {record["step"]: record for record in records(tmp_path / "run")}
    assert [every[step]["loss_scale"] for step in (4, 7, 12)] == [2**16, 2**14, 2**14]
    assert 5 not in every and 6 not in every  # there is nothing to tell
    assert every[12]["skipped"] == 2
    assert every[12]["tokens"] == 480


def test_the_steps_are_those_of_fp32(corpus: Corpus, tmp_path: Path) -> None:
    """But for what fp16 rounds: gradients are divided by the scale before they are clipped and applied."""
    for precision in ("fp32", "fp16"):
        recipe = half(corpus, training__gradient_clip=0.05) | {"limit": "6steps"}
        recipe["training"]["precision"] = precision
        foretell.train(recipe, tmp_path / precision, quiet=True)
    full, lower = records(tmp_path / "fp32"), records(tmp_path / "fp16")
    for one, other in zip(full, lower, strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=2e-3)
        assert other["gradient_norm"] == pytest.approx(one["gradient_norm"], rel=2e-2)
        assert one["gradient_norm"] > 0.05
    assert_same(weights_at(tmp_path / "fp16", 6), weights_at(tmp_path / "fp32", 6), 2e-3)
    assert {tensor.dtype for tensor in weights_at(tmp_path / "fp16", 6).values()} == {torch.float32}


def test_a_scale_too_high_is_found_by_trying(corpus: Corpus, tmp_path: Path) -> None:
    """2**32 overflows in fp16 itself: nothing is simulated here."""
    foretell.train(half(corpus, training__scaling={"initial": 2.0**32}, limit="30steps"), tmp_path / "run", quiet=True)
    last = records(tmp_path / "run")[-1]
    assert 5 < last["skipped"] < 25
    assert last["loss_scale"] == 2.0 ** (32 - last["skipped"])
    every = losses(tmp_path / "run", "train")
    assert every[-1][1] < every[0][1]


def test_it_ends_when_the_scale_cannot_fall(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    poison(monkeypatch, set(range(3, 12)))
    with pytest.raises(foretell.Diverged, match=r"step 7: .*head\.bias"):  # 8, 4, 2, then 1: the fourth is too many
        foretell.train(half(corpus, training__scaling={"initial": 8.0}), tmp_path / "run", quiet=True)


def test_a_finite_loss_beyond_hope_still_ends_it(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(foretell.Diverged):
        foretell.train(half(corpus, optimizer__learning_rate=1e4, limit="40steps"), tmp_path / "run", quiet=True)


@pytest.mark.parametrize("stop", [3, 5, 9])
def test_going_on_is_as_if_never_stopped(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    poison(monkeypatch, {4, 8})
    recipe = half(corpus, training__scaling={"grow_every": 3}, averaging="ema")
    foretell.train(recipe, tmp_path / "whole", quiet=True)
    original = Trainer.step

    def stopping(self: Trainer, *given: Any) -> None:
        if self.position.step == stop:
            os.kill(os.getpid(), signal.SIGTERM)
        original(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", stopping)
        with pytest.raises(foretell.Interrupted):
            foretell.train(recipe, tmp_path / "run", quiet=True)
    foretell.train(recipe, tmp_path / "run", resume=True, quiet=True)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")
    ends = [records(tmp_path / name)[-1] for name in ("run", "whole")]
    assert ends[0]["loss_scale"] == ends[1]["loss_scale"] == 2.0**17  # - at 5 and 9, + at 4, 8 and 12
