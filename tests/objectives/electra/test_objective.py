"""ELECTRA: two models trained at once, samples between them, and what is told of which tokens."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from builders import assert_same, outcome, replacing, trainer_of
from electra import VOCABULARY, compose, masked_batch, samples_of
from torch import nn

import foretell
from foretell.data.batches.masking import Draws, places_of
from foretell.objectives.electra.objective import GROUP, sample, written
from foretell.run import Run
from foretell.tools.look import doctor_run
from foretell.training import checkpoint
from foretell.types import Batch, Inputs

# --- sampling -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("temperature", "vocabulary"), [(0.5, 300), (1.0, VOCABULARY), (1.0, 300), (1.0, 2 * GROUP), (2.0, 300)]
)
def test_samples_have_the_probabilities_of_the_scores(temperature: float, vocabulary: int) -> None:
    """With evenly spaced numbers each token's share is its probability up to one of them."""
    torch.manual_seed(1)
    scores, many = torch.randn(vocabulary), 100_000
    even = (torch.arange(many, dtype=torch.float64) + 0.5) / many
    drawn = sample((scores / temperature).expand(many, -1), even)
    ratios = torch.bincount(drawn, minlength=vocabulary) / many
    assert_same(ratios, (scores / temperature).softmax(0), 3e-5)


@pytest.mark.parametrize(("vocabulary", "possible"), [(4, 2), (3 * GROUP + 5, 1), (3 * GROUP + 5, 3 * GROUP + 2)])
def test_samples_of_probability_zero_never_come(vocabulary: int, possible: int) -> None:
    scores = torch.full((5, vocabulary), -math.inf)
    scores[:, possible] = -3.0
    edges = torch.tensor([0.0, 1e-12, 0.5, 1 - 1e-12, 1 - 2**-53], dtype=torch.float64)
    assert sample(scores, edges).tolist() == [possible] * 5


def test_the_hidden_token_may_be_ruled_out() -> None:
    one, random = masked_batch((8,) * 4), torch.Generator().manual_seed(0)
    batch = Batch(
        inputs=Inputs(tokens=one.inputs.tokens.repeat(50, 1)),
        targets=one.targets.repeat(50, 1),
        noise=torch.rand(200, 8, dtype=torch.float64, generator=random),
    )
    hidden = batch.targets[batch.targets != -100]
    share = (samples_of(compose(), batch) == hidden).float().mean().item()
    assert share == pytest.approx(1 / VOCABULARY, abs=0.05)  # a fresh generator knows nothing
    assert not (samples_of(compose(allow_correct=False), batch) == hidden).any()


def test_writing_by_places_is_writing_by_targets() -> None:
    """As on an accelerator, which is not asked how many targets there are."""
    batch = masked_batch()
    chosen = batch.targets != -100
    places = torch.from_numpy(places_of(chosen.numpy()))
    values = torch.arange(100, 100 + places.numel()).view_as(places)
    picked = values[places >= 0]  # rows one after the other
    assert_same(written(batch.inputs.tokens, places, values), batch.inputs.tokens.masked_scatter(chosen, picked))


def test_uniform_samples() -> None:
    batch = masked_batch()
    expected = (batch.noise[batch.targets != -100] * VOCABULARY).long()
    assert_same(samples_of(compose(generator="uniform"), batch), expected)


def test_no_gradient_flows_through_samples() -> None:
    """The main model's loss leaves the generator's own weights alone, and the generator's those of the main model."""
    built, batch = compose(), masked_batch()
    shared = set(built.backbone.parameters()) & set(built.generator.parameters())
    main = nn.ModuleList([built.backbone, built.discriminator])
    for name, others in (("replaced", built.generator), ("masked", main)):
        built.zero_grad(set_to_none=True)
        built(batch, None).terms[name].total.backward()
        assert {p for p in others.parameters() if p.grad is not None} <= shared
    built.zero_grad(set_to_none=True)
    step = built(batch, None)
    sum(term.total * term.weight for term in step.terms.values()).backward()
    untouched = {name for name, p in built.named_parameters() if p.grad is None or not p.grad.any()}
    assert untouched <= {"backbone.blocks.0.attention.qkv.bias"}


# --- the losses, in double precision --------------------------------------------------------------


def test_generating_is_what_a_masked_model_does() -> None:
    built, batch = compose().double().eval(), masked_batch()
    step = built(batch, None)
    chosen = batch.targets != -100
    log_probs = built.generator.head.log_probs(built.generator.backbone(batch.inputs, None).last[chosen])
    wanted = batch.targets[chosen]
    assert step.terms["masked"].total.item() == pytest.approx(F.nll_loss(log_probs, wanted, reduction="sum").item())
    assert step.metrics["masked"] == (log_probs.argmax(-1) == wanted).sum()
    assert built.counts(batch)["masked"] == chosen.sum()


@pytest.mark.parametrize("settings", [{}, {"generator": "tied"}, {"target": "original"}, {"generator": "uniform"}])
def test_parts_of_a_batch_add_up(settings: dict[str, Any]) -> None:
    """Both losses have denominators of their own; draws belong to rows, so that they do not depend on the parts."""
    batch, found = masked_batch(), {}
    for parts in (1, 2, 4):
        built = compose(**settings).double()
        trainer = trainer_of(built, micro_batches=parts)
        counts = {name: float(count) for name, count in built.counts(batch).items()}
        loss, *_ = trainer.backward(batch, None, counts)
        found[parts] = {"loss": loss} | {name: p.grad for name, p in built.named_parameters() if p.grad is not None}
    assert_same(found[2], found[1], 1e-12)
    assert_same(found[4], found[1], 1e-12)


# --- whole trainings ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(corpus: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that was never stopped."""
    out = tmp_path_factory.mktemp("replaced") / "run"
    foretell.train(replacing(corpus), out, quiet=True)
    return out


def test_both_models_learn(whole: Path) -> None:
    """From guessing blindly, log 19 for the generator and 50 log 2 for the main model."""
    trained = [record["loss"] for record in Run(whole).metrics() if record["kind"] == "train"]
    assert trained[0] == pytest.approx(math.log(19) + 50 * math.log(2), rel=0.1)
    assert trained[-1] < 0.7 * trained[0]
    valid = [record for record in Run(whole).metrics() if record["kind"] == "valid"][-1]
    assert valid["masked_loss"] < math.log(19)
    assert valid["replaced_loss"] < 0.6 * math.log(2)
    assert 0 < valid["masked_accuracy"] < 1
    assert 0.8 < valid["replaced_accuracy"] < 1
    assert valid["objective_loss"] == pytest.approx(valid["masked_loss"] + 50 * valid["replaced_loss"], rel=1e-6)


@pytest.mark.slow
def test_what_breaks_an_order_is_found(tmp_path: Path) -> None:
    """Of a text that goes round in a circle, whose replaced words any of their neighbours gives away."""
    words, random = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"], np.random.default_rng(0)
    for split, lines in ("train", 300), ("valid", 60):
        rounds = [np.roll(words, begin)[:10] for begin in random.integers(0, len(words), lines)]
        (tmp_path / f"{split}.txt").write_text("".join(" ".join(line) + "\n" for line in rounds))
    files = {split: str(tmp_path / f"{split}.txt") for split in ("train", "valid")}
    model = {"model__hidden": 32, "model__layers": 2, "model__positions": "rotary", "model__dropout": {}}
    how = {"limit": "16epochs", "data__batches__batch": 16, "optimizer__learning_rate": 3e-3}
    tables = replacing(files, objective__masking={"kind": "token", "rate": 0.2}, **model, **how)
    foretell.train(tables, tmp_path / "run", quiet=True)
    valid = [record for record in Run(tmp_path / "run").metrics() if record["kind"] == "valid"][-1]
    assert valid["replaced_precision"] > 0.4 and valid["replaced_recall"] > 0.1  # by chance: 0.15, none


def test_a_main_model_that_finds_nothing_is_told_of(whole: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(doctor_run, "EARLY", 1)
    shutil.copytree(whole, tmp_path / "run")

    def level(recall: float) -> str:
        records = [*Run(whole).metrics()]
        records[-1]["replaced_recall"] = recall
        (tmp_path / "run" / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
        found = doctor_run.examine_run(tmp_path / "run")["findings"]
        return next(str(finding["level"]) for finding in found if finding["about"] == "replaced tokens")

    assert level(0.0) == "warning" and level(0.2) == "ok"


def test_a_run_is_measured_alike_each_time(whole: Path) -> None:
    run = foretell.load(whole, which="last")
    one, other = run.evaluate("valid"), run.evaluate("valid", batch=2)
    last = [record for record in run.run.metrics() if record["kind"] == "valid"][-1]
    for name in ("masked_loss", "replaced_loss"):
        assert one[name] == pytest.approx(last[name], rel=1e-12)
        assert other[name] == pytest.approx(one[name], rel=1e-5)  # samples too, whatever the batch
    assert one["replaced_accuracy"] == other["replaced_accuracy"]


def test_sharing_survives_saving(whole: Path) -> None:
    built = foretell.load(whole).objective
    assert built.backbone.embedding is built.generator.backbone.embedding
    saved, _ = checkpoint.pointed(Run(whole), "last")
    assert not any(name.startswith("generator.backbone.embedding") for name in saved.tensors("model"))
    assert foretell.load(whole).features(["the cat sat"]).shape == (1, 8)


def test_going_on_is_as_if_never_stopped(whole: Path, corpus: dict[str, str], tmp_path: Path) -> None:
    recipe = replacing(corpus, checkpoint__every="1steps", checkpoint__keep=99)
    foretell.train(recipe, tmp_path / "run", quiet=True)
    for path in sorted((tmp_path / "run" / "checkpoints").glob("step-*")):
        if int(path.name.removeprefix("step-")) > 5:
            for file in path.iterdir():
                file.write_bytes(b"damaged")
    foretell.train(recipe, tmp_path / "run", quiet=True, resume=True)
    found, expected = outcome(tmp_path / "run"), outcome(whole)
    assert {key: found[key] for key in found if key.startswith("last")} == {
        key: expected[key] for key in expected if key.startswith("last")
    }


def test_draws_are_those_of_epoch_and_row(corpus: dict[str, str]) -> None:
    """Uniform over many rows, anew in each epoch, and the same wherever a row is."""
    rows = np.arange(2000)
    one, other = (Draws(1, epoch, rows, 50).places("sample") for epoch in (0, 1))
    assert one.mean() == pytest.approx(0.5, abs=5e-3)
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.02
    assert (Draws(1, 0, rows[[7, 3]], 50).places("sample") == one[[7, 3]]).all()
