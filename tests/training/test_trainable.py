"""What is frozen stays to the last bit, what is trained moves, and checkpoints hold the former once."""

from pathlib import Path
from typing import Any

import pytest
import torch
from builders import assert_same, attending, outcome, read_json, tables

import foretell
from foretell.errors import ConfigError
from foretell.nn.adapter import adapters_in
from foretell.recipe.loading import load_recipe
from foretell.tools.look.doctor import examine_run
from foretell.tools.look.runs import describe
from foretell.tools.look.show import describe as show
from foretell.tools.use.hugging_face import export_folder, import_folder
from foretell.training.checkpoint import at_step, digest
from foretell.training.state_dict import weights

Corpus = dict[str, str]
LORA = {"kind": "lora", "rank": 2, "alpha": 3.0}
TINY: dict[str, Any] = {
    "optimizer": {"kind": "adamw", "learning_rate": 0.02},
    "evaluation__every": "99steps",
    "checkpoint__every": "2steps",
    "checkpoint__keep": 99,
}


@pytest.fixture(scope="module", params=["recurrent", "transformer"])
def first(request: pytest.FixtureRequest, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> foretell.Trained:
    """A run to go on from."""
    made = {"recurrent": tables, "transformer": attending}[request.param]
    recipe = made(corpus, **TINY | {"model__layers": 2, "limit": "4steps", "head__tied": False})
    return foretell.train(recipe, tmp_path_factory.mktemp("first") / "run", quiet=True)


def tuned(first: foretell.Trained, out: Path, limit: str = "4steps", **changes: Any) -> foretell.Trained:
    """Going on from it."""
    return foretell.train(first.run.path, out, quiet=True, init=str(first.run.path), limit=limit, **changes)


def test_gradual_unfreezing_by_stages(first: foretell.Trained, tmp_path: Path) -> None:
    """The head, then one layer more in each stage, then everything: fastai's freeze_to(-1), (-2), ..., unfreeze."""
    top = [{"trainable": {"kind": "top", "layers": layers}} for layers in range(3)]
    stages = [
        {"name": f"stage {n}", "limit": "2steps", "set": {"schedule": "slanted"} | given}
        for n, given in enumerate([*top, {"trainable": "full"}])
    ]
    run = tuned(first, tmp_path / "run", stages=stages).run
    before, seen = first.weights, []
    for step in (2, 4, 6, 8):
        after = at_step(run, step).weights()
        names = {name for name in before if not torch.equal(before[name], after[name])}
        seen.append(names)
        before = after
    layers = [{name for name in before if f"blocks.{n}." in name} for n in range(2)]
    head = {name for name in before if name.startswith(("head.", "backbone.norm."))}
    assert seen == [head, head | layers[1], head | layers[1] | layers[0], set(before)]
    rates = [r["learning_rate"] for r in run.metrics() if r["kind"] == "train" and r["stage"] == "stage 1"]
    assert rates[-1] == pytest.approx(0.02 * (1 + (1 - 0.4 / 0.9) * 31) / 32)  # equation 3 at half the way


def test_frozen_weights_are_kept_once_and_go_with_the_last_that_needs_them(
    first: foretell.Trained, tmp_path: Path
) -> None:
    stages = [
        {"name": "top", "limit": "4steps", "set": {"trainable": "top"}},
        {"name": "more", "limit": "4steps", "set": {"trainable": {"kind": "top", "layers": 1}}},
    ]
    run = tuned(first, tmp_path / "run", stages=stages).run
    kept = sorted(run.checkpoints.glob("frozen-*"))
    assert len(kept) == 2
    few = tuned(first, tmp_path / "few", stages=stages, checkpoint__keep=1).run
    needed = {read_json(path)["frozen"] for path in few.checkpoints.glob("step-*/record.json")}
    assert {file.name for file in few.checkpoints.glob("frozen-*")} == needed


def test_a_damaged_file_of_frozen_weights_is_noticed(first: foretell.Trained, tmp_path: Path) -> None:
    run = tuned(first, tmp_path / "run", trainable="top").run
    (file,) = run.checkpoints.glob("frozen-*")
    assert digest(file)[:32] in file.name
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ConfigError, match=r"frozen-.*: does not match its checksum"):
        foretell.load(run.path)


def test_adapters_are_trained_beside_weights_that_stay(first: foretell.Trained, tmp_path: Path) -> None:
    run = tuned(first, tmp_path / "run", trainable=LORA)
    whole = run.checkpoint.weights()
    own = adapters_in(whole)
    assert own and all(name.startswith("backbone.blocks.") for name in own)
    body = {name for name in first.weights if name.startswith("backbone.")}
    assert_same({name: whole[name] for name in body}, {name: first.weights[name] for name in body})
    assert run.checkpoint.tensors("model").keys() == own | {name for name in first.weights if name not in body}
    for name in (name for name in own if name.endswith(".down")):
        weight = name.removesuffix(".down")
        change = 1.5 * whole[weight + ".up"].double() @ whole[name].double()  # alpha / rank
        assert change.any()
        assert_same(run.weights[weight].double(), whole[weight].double() + change, 1e-6)
    assert run.weights.keys() == weights(run.objective).keys() == first.weights.keys()


def test_measured_while_training_as_when_opened(first: foretell.Trained, tmp_path: Path) -> None:
    """The former with adapters beside the weights, the latter with their sum."""
    run = tuned(first, tmp_path / "run", trainable=LORA)
    (valid,) = [record for record in run.run.metrics() if record["kind"] == "valid"]
    assert run.evaluate("valid")["loss"] == pytest.approx(valid["loss"], abs=1e-5)


@pytest.mark.parametrize("tuning", [LORA, {"kind": "top", "layers": 1}], ids=lambda tuning: tuning["kind"])
def test_going_on_is_not_having_stopped(
    tuning: dict[str, Any], first: foretell.Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tuned(first, tmp_path / "whole", trainable=tuning, averaging="ema").run
    changes = {"init": str(first.run.path), "limit": "4steps", "trainable": tuning, "averaging": "ema"}
    recipe = load_recipe(first.run.path, changes)
    real = foretell.training.trainer.Trainer.step

    def dies(self: Any, progress: Any) -> None:
        if self.position.step == 3:
            raise KeyboardInterrupt
        real(self, progress)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(foretell.training.trainer.Trainer, "step", dies)
        foretell.train(recipe, tmp_path / "parts", quiet=True)
    foretell.train(recipe, tmp_path / "parts", quiet=True, resume=True)
    assert outcome(tmp_path / "parts") == outcome(whole.path)


def test_adapters_become_weights_in_a_later_stage_and_in_a_later_run(first: foretell.Trained, tmp_path: Path) -> None:
    small = {"optimizer.learning_rate": 1e-30}
    stages = [
        {"name": "adapters", "limit": "4steps", "set": {"trainable": LORA}},
        {"name": "all", "limit": "1steps", "set": small},
    ]
    run = tuned(first, tmp_path / "run", stages=stages)
    alone = tuned(first, tmp_path / "alone", trainable=LORA)
    assert foretell.load(run.run.path, which="last").facts["step"] == 5
    assert_same(foretell.load(run.run.path, which="last").weights, alone.weights, 1e-8)
    further = tuned(alone, tmp_path / "further", limit="1steps", trainable="full", optimizer__learning_rate=1e-30)
    assert_same(further.weights, alone.weights, 1e-8)


def test_a_run_with_adapters_looks_like_any_other(first: foretell.Trained, tmp_path: Path) -> None:
    run = tuned(first, tmp_path / "run", trainable=LORA).run
    assert not [finding for finding in examine_run(run.path)["findings"] if finding["level"] == "error"]
    shown = show(str(run.path))
    assert describe(run, tmp_path)["parameters"] == shown["parameters"]
    held = at_step(run, 4).tensors("model").values()
    assert shown["trained_parameters"] == sum(tensor.numel() for tensor in held) < shown["parameters"] / 2


def test_export_holds_the_sum(corpus: Corpus, tmp_path: Path) -> None:
    base = foretell.train(attending(corpus, limit="2steps"), tmp_path / "base", quiet=True)
    run = tuned(base, tmp_path / "run", trainable=LORA)
    export_folder(run, tmp_path / "hf")
    import_folder(tmp_path / "hf", tmp_path / "back", corpus["train"], None)
    assert_same(foretell.load(tmp_path / "back").weights, run.weights, 1e-6)


def test_what_cannot_be_is_refused(corpus: Corpus) -> None:
    stages = [
        {"name": "top", "limit": "1steps", "set": {"trainable": "top"}},
        {"name": "all", "limit": "1steps", "keep": ["optimizer"]},
    ]
    with pytest.raises(ConfigError, match="stage 'all': trainable selects other weights than the stage before"):
        load_recipe(tables(corpus, stages=stages))
    with pytest.raises(ConfigError, match=r"trainable: unknown kind .lara.; did you mean .lora."):
        load_recipe(tables(corpus, trainable="lara"))
