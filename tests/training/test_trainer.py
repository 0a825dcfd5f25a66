"""The training loop: limits, logs, clipping, stages, and what it does when things go wrong."""

import errno
import math
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from builders import assert_same, averaging, losses, outcome, tables, trainer_of
from torch import nn

import foretell
from foretell.config import Amount
from foretell.errors import ConfigError
from foretell.evaluate import scoring
from foretell.evaluate.scoring import NeuralScorer
from foretell.optim.progress import Progress, due
from foretell.run import Run
from foretell.training import checkpoint
from foretell.training import trainer as trainer_module
from foretell.training.seeds import seed_generators
from foretell.training.trainer import Trainer

Corpus = dict[str, str]


def train(corpus: Corpus, out: Path, **changes: Any) -> foretell.Trained:
    return foretell.train(tables(corpus, **changes), out, quiet=True)


def records(out: Path, kind: str = "train") -> list[dict[str, Any]]:
    return [record for record in Run(out).metrics() if record["kind"] == kind]


# --- limits ---------------------------------------------------------------------------------------


def test_limits_by_hand(corpus: Corpus, tmp_path: Path) -> None:
    """Windows of 4 x 10 tokens: so many steps, epochs or tokens, the one that passes the limit included."""
    assert train(corpus, tmp_path / "steps", limit="7steps").facts["step"] == 7
    last = records(tmp_path / "steps")[-1]
    assert (last["step"], last["tokens"]) == (7, 280)
    train(corpus, tmp_path / "tokens", limit="241tokens")
    assert records(tmp_path / "tokens")[-1]["tokens"] == 280
    train(corpus, tmp_path / "epochs", limit="2epochs")
    last = records(tmp_path / "epochs")[-1]
    assert last["epoch"] == 2
    train_text = Path(corpus["train"]).read_text()
    assert last["tokens"] == 2 * (len(train_text.split()) + train_text.count("\n"))


class Clock:
    """Time that passes when it is looked at, and when a test says so: how busy the machine is decides nothing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tick: float):
        self.now, self.tick = 0.0, tick
        for module in (trainer_module, scoring):
            monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=self.look, perf_counter=self.look))

    def look(self) -> float:
        self.now += self.tick
        return self.now


def test_a_time_limit_ends_on_time_with_a_saved_model(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch, tick=0.004)
    trained = train(corpus, tmp_path / "run", limit="2s", evaluation__every="10steps", schedule="linear")
    spent = records(tmp_path / "run")[-1]["seconds"]
    assert 1 < spent <= clock.now < 2.1
    assert trained.checkpoint.record()["position"]["finished"] or trained.facts["step"] > 0
    assert losses(tmp_path / "run")[-1][0] == records(tmp_path / "run")[-1]["step"]


def test_a_time_limit_leaves_room_for_the_first_validation(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of its windows is one token in each column and takes 10 ms; nothing is validated before the limit."""
    clock, score = Clock(monkeypatch, tick=0.001), NeuralScorer.score

    def slow(*args: Any) -> Any:
        clock.now += 0.01
        return score(*args)

    monkeypatch.setattr(NeuralScorer, "score", slow)
    train(corpus, tmp_path / "run", limit="2.5s", evaluation__length=1, evaluation__every="100000steps")
    (valid,) = records(tmp_path / "run", "valid")
    spent = records(tmp_path / "run")[-1]["seconds"]
    assert 2.2 < spent + valid["seconds"] < 2.6
    assert valid["columns"] > 1 and valid["seconds"] < 0.25 < 0.01 * valid["tokens"]


@pytest.mark.parametrize(("seconds", "over"), [(29.0, False), (31.0, True)])
def test_a_time_limit_leaves_room_for_a_step_as_long_as_the_longest_of_late(seconds: float, over: bool) -> None:
    """Texts of different lengths: 4 s for a validation, and 10 s for a step, within 45 s."""
    trainer = trainer_of(nn.Linear(1, 1))
    trainer.stage.limit = Amount.model_validate("45s")
    trainer.step_seconds.extend([1.0, 10.0, 1.0])
    trainer.pause = 4.0
    assert trainer.used_up(Progress(3, 0.0, 0, seconds, seconds / 45)) is over


@pytest.mark.parametrize(
    ("every", "before", "after", "expected"),
    [
        ("3steps", 2, 3, True),
        ("3steps", 3, 4, False),
        ("3steps", 0, 1, False),
        ("1steps", 0, 1, True),
        ("1epochs", 9, 10, True),
        ("1epochs", 10, 11, False),
        ("0.5epochs", 4, 5, True),
        ("250tokens", 2, 3, True),  # 200 … 300
        ("7s", 13, 14, True),
        ("7s", 14, 15, False),
    ],
)
def test_what_is_due(every: str, before: int, after: int, expected: bool) -> None:
    """Steps of a tenth of an epoch, a hundred tokens and a second."""
    moments = [Progress(step, step / 10, 100 * step, float(step), 0.0) for step in (before, after)]
    assert due(Amount.model_validate(every), *moments) is expected


def test_patience_ends_a_training(corpus: Corpus, tmp_path: Path) -> None:
    train(
        corpus,
        tmp_path / "run",
        limit="500steps",
        optimizer__learning_rate=8.0,
        training__patience=2,
        evaluation__every="2steps",
    )
    seen = [loss for _, loss in losses(tmp_path / "run")]
    assert len(seen) < 250
    assert seen[-1] > min(seen[:-3])
    assert all(seen[i] <= min(seen[: i - 2]) for i in range(3, len(seen) - 1))


# --- records --------------------------------------------------------------------------------------


def test_records_by_a_plain_loop(corpus: Corpus, tmp_path: Path) -> None:
    """The loss, gradient norm before clipping, and learning rate of each step, and the weights they make."""
    recipe = foretell.load_recipe(
        tables(corpus, training__gradient_clip=0.1, schedule={"kind": "linear"}, limit="10steps")
    )
    trained = foretell.train(recipe, tmp_path / "run", quiet=True)
    from foretell.data.preparing import prepared

    text = prepared(recipe.data.corpus, recipe.data.tokenizer).split("train").tokens.astype("int64")
    height = -(-len(text) // 4)
    columns = [torch.tensor(text[i : i + height]) for i in range(0, len(text), height)]
    torch.manual_seed(recipe.seed)
    objective = recipe.build(trained.tokenizer.size)
    parameters = list(objective.parameters())
    block, state = objective.backbone.blocks[0], None
    for step, record in enumerate(records(tmp_path / "run")):
        targets = torch.stack([column[step * 10 : step * 10 + 10] for column in columns])
        before = [trained.tokenizer.boundary, *[int(column[-1]) for column in columns[:-1]]]
        if step > 0:
            before = [int(column[step * 10 - 1]) for column in columns]
        tokens = torch.cat([torch.tensor(before)[:, None], targets[:, :-1]], dim=1)
        hidden, state = block(objective.backbone.embedding.weight[tokens], state or block.initial(4))
        state = tuple(part.detach() for part in state)
        scores = hidden @ objective.head.weight.T + objective.head.bias
        loss = torch.nn.functional.cross_entropy(scores.flatten(0, 1), targets.flatten())
        gradients = torch.autograd.grad(loss, parameters)
        norm = torch.sqrt(sum(gradient.square().sum() for gradient in gradients))
        rate = 1.0 * (1 - step / 10)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter -= rate * gradient * min(1.0, 0.1 / float(norm))
        assert record["step"] == step + 1
        assert record["loss"] == pytest.approx(loss.item(), rel=1e-5)
        assert record["gradient_norm"] == pytest.approx(float(norm), rel=1e-4)
        assert record["gradient_norm"] > 0.1  # or the clip would not be seen
        assert record["learning_rate"] == pytest.approx(rate)
    last, _ = checkpoint.pointed(trained.run, "last")
    assert_same(last.tensors("model"), dict(objective.named_parameters()), 1e-5)


def test_a_record_is_the_mean_over_its_tokens(corpus: Corpus, tmp_path: Path) -> None:
    """Weighted by the tokens of each window, which differ with random windows and at the end."""
    batches = {"kind": "streams", "batch": 4, "length": 10, "jitter": 3.0}
    train(corpus, tmp_path / "each", data__batches=batches, limit="1epochs")
    train(corpus, tmp_path / "once", data__batches=batches, limit="1epochs", training__log_every="1epochs")
    each = records(tmp_path / "each")
    tokens = [now["tokens"] - before for now, before in zip(each, [0, *[r["tokens"] for r in each]], strict=False)]
    assert len(set(tokens)) > 3
    mean = sum(r["loss"] * n for r, n in zip(each, tokens, strict=True)) / sum(tokens)
    (once,) = records(tmp_path / "once")
    assert once["loss"] == pytest.approx(mean, rel=1e-6)
    measured = Path(corpus["train"]).stat().st_size / sum(tokens)
    assert once["bits_per_byte"] == pytest.approx(mean / math.log(2) / measured, rel=1e-6)


def test_a_shorter_window_takes_a_smaller_step_at_once(corpus: Corpus, tmp_path: Path) -> None:
    """length / 10 on the rate of the very step: torch's ASGD applies it one step late."""
    batches = {"kind": "streams", "batch": 4, "length": 10, "jitter": 3.0, "shortest": 2}
    train(corpus, tmp_path / "run", data__batches=batches, averaging={"kind": "nt-asgd", "at_once": True})
    every = records(tmp_path / "run")
    before = 0
    for record in every[:-1]:
        assert record["learning_rate"] == pytest.approx((record["tokens"] - before) / 4 / 10)
        before = record["tokens"]


# --- stages ---------------------------------------------------------------------------------------


def stages(**second: Any) -> list[dict[str, Any]]:
    return [{"name": "one", "limit": "8steps"}, {"name": "two", "limit": "4steps"} | second]


def begin_of_second(corpus: Corpus, out: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Trainer:
    """The trainer as it is before the second stage's first step."""
    found: list[Trainer] = []
    original = Trainer.train

    def train_first(self: Trainer) -> str:
        if self.position.stage == 1:
            found.append(self)
            raise InterruptedError
        return original(self)

    monkeypatch.setattr(Trainer, "train", train_first)
    with pytest.raises(InterruptedError):
        foretell.train(tables(corpus, **changes), out, quiet=True)
    return found[0]


WORSE = {"optimizer__learning_rate": 30.0, "evaluation__every": "1steps", "schedule": "plateau"}


@pytest.mark.parametrize("start", ["best", "last"])
def test_a_stage_starts_from_the_weights_asked_for(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    trainer = begin_of_second(corpus, tmp_path / "run", monkeypatch, stages=stages(start=start), **WORSE)
    run = Run(tmp_path / "run")
    best, last = (checkpoint.pointed(run, name)[0] for name in ("best", "last"))
    assert best.path != last.path
    expected = {"best": best, "last": last}[start].tensors("model")
    assert_same({k: p.detach() for k, p in trainer.stage.objective.named_parameters()}, expected)
    assert (trainer.position.stage, trainer.position.step, trainer.position.stage_step) == (1, 8, 0)


def test_a_stage_starts_from_the_average(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    averaged = {"kind": "nt-asgd", "at_once": True}
    trainer = begin_of_second(corpus, tmp_path / "run", monkeypatch, stages=stages(), averaging=averaged)
    last, _ = checkpoint.pointed(Run(tmp_path / "run"), "last")
    given = {k: p.detach() for k, p in trainer.stage.objective.named_parameters()}
    assert_same(given, last.tensors("averaged"))
    assert not torch.equal(given["head.bias"], last.tensors("model")["head.bias"])
    assert trainer.stage.averager.count == 0


@pytest.mark.parametrize("keep", [[], ["optimizer"], ["schedule"], ["averager"]], ids=str)
def test_a_stage_keeps_what_is_asked_for_and_nothing_else(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: list[str]
) -> None:
    settings = {
        "optimizer": {"kind": "sgd", "learning_rate": 30.0, "momentum": 0.9},
        "averaging": {"kind": "nt-asgd", "at_once": True},
        "schedule": "plateau",
        "evaluation__every": "1steps",
    }
    trainer = begin_of_second(corpus, tmp_path / "run", monkeypatch, stages=stages(keep=keep), **settings)
    stage = trainer.stage
    kept = {
        "optimizer": bool(stage.optimizer.state_dict()["state"]),
        "schedule": stage.schedule.state_dict()["plateaus"] > 0,
        "averager": stage.averager.count == 8,
    }
    assert [name for name, was in kept.items() if was] == keep


def test_settings_of_a_stage(corpus: Corpus, tmp_path: Path) -> None:
    second = stages(set={"optimizer.learning_rate": 0.125, "data.batches.length": 5})
    trained = train(corpus, tmp_path / "run", stages=second)
    every = records(tmp_path / "run")
    assert [(r["stage"], r["step"], r["learning_rate"]) for r in every[7:9]] == [("one", 8, 1.0), ("two", 9, 0.125)]
    assert every[8]["tokens"] == 20
    assert trained.settings.data.batches.length == 5
    assert trained.recipe.data.batches.length == 10


@pytest.mark.parametrize(
    ("changed", "kept"),
    [({}, True), ({"evaluation.columns": 2}, False), ({"data.batches": {"kind": "lines"}}, False)],
    ids=str,
)
def test_the_best_is_that_of_all_stages_measured_alike(
    corpus: Corpus, tmp_path: Path, changed: dict[str, Any], kept: bool
) -> None:
    second = stages(set={"optimizer.learning_rate": 20.0, "training.gradient_clip": 0.25, **changed})
    trained = train(corpus, tmp_path / "run", stages=second, evaluation__every="2steps")
    one, two = ([r for r in records(tmp_path / "run", "valid") if r["stage"] == name] for name in ("one", "two"))
    assert min(r["loss"] for r in two) > min(r["loss"] for r in one)
    best = min(one if kept else two, key=lambda r: r["loss"])
    assert trained.facts["step"] == best["step"]
    assert trained.facts["loss"] == best["loss"]
    assert trained.settings.optimizer.learning_rate == (1.0 if kept else 20.0)
    assert (foretell.load(tmp_path / "run", which="last").facts["step"]) == 12


def test_starting_from_another_run(corpus: Corpus, tmp_path: Path) -> None:
    first = train(corpus, tmp_path / "first", limit="60steps", optimizer__learning_rate=5.0)
    train(corpus, tmp_path / "second", init=str(tmp_path / "first"), limit="1steps")
    begun = records(tmp_path / "second")[0]["loss"]
    assert begun < records(tmp_path / "first")[0]["loss"] - 0.3
    assert first.run.path == tmp_path / "first"


# --- when things go wrong -------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_first(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    before = signal.getsignal(number)
    at_step(monkeypatch, 5, lambda: os.kill(os.getpid(), number))
    with pytest.raises(foretell.Interrupted) as caught:
        train(corpus, tmp_path / "run")
    assert caught.value.run.path == tmp_path / "run"
    last, facts = checkpoint.pointed(Run(tmp_path / "run"), "last")
    assert last.intact()
    assert facts["step"] == 6
    assert not last.record()["position"]["finished"]
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_does_not_wait(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    at_step(monkeypatch, 5, twice)
    with pytest.raises(KeyboardInterrupt):
        train(corpus, tmp_path / "run")


def at_step(monkeypatch: pytest.MonkeyPatch, step: int, act: Any) -> None:
    """Lets something happen just before a step, once."""
    original, done = Trainer.step, []

    def patched(self: Trainer, progress: Progress) -> None:
        if self.position.step == step and not done:
            done.append(step)
            act()
        original(self, progress)

    monkeypatch.setattr(Trainer, "step", patched)


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_lost_loss_stops_before_it_reaches_the_weights(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, poison: float
) -> None:
    original = Trainer.backward

    def poisoned(self: Trainer, *given: Any) -> Any:
        found = original(self, *given)
        if self.position.step == 6:
            self.stage.objective.head.bias.grad.fill_(poison)
        return found if poison == math.inf else found._replace(loss=found.loss * poison)

    monkeypatch.setattr(Trainer, "backward", poisoned)
    with pytest.raises(foretell.Diverged) as caught:
        train(corpus, tmp_path / "run", checkpoint__every="2steps")
    step = 7 if poison == math.inf else 1
    assert f"step {step}:" in str(caught.value)
    assert "optimizer.learning_rate" in str(caught.value)
    if step == 7:
        assert "head.bias" in str(caught.value)
        last, facts = checkpoint.pointed(Run(tmp_path / "run"), "last")
        assert facts["step"] == 6 and last.intact()
        assert all(torch.isfinite(tensor).all() for tensor in last.result().values())


def test_a_mad_learning_rate_is_noticed(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(foretell.Diverged, match="diverged at step"):
        train(corpus, tmp_path / "run", optimizer__learning_rate=1e9)


def full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("place", ["safetensors.torch.save_file", "os.fsync", "os.rename", "os.replace"])
def test_a_full_disk_costs_nothing_that_was_saved(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "run"
    foretell.train(averaging(corpus, limit="20steps"), whole, quiet=True)
    with monkeypatch.context() as patch:
        at_step(patch, 11, lambda: patch.setattr(place, full))
        with pytest.raises(OSError, match="No space left"):
            foretell.train(averaging(corpus, limit="20steps"), out, quiet=True)
    for name in ("last", "best"):
        assert checkpoint.pointed(Run(out), name)[0].intact()
    newest = checkpoint.newest(Run(out))
    assert newest is not None and 8 <= newest.record()["step"] <= 12
    assert [path.name for path in Run(out).checkpoints.iterdir() if path.name.startswith(".")] == []
    foretell.load(out)
    foretell.train(averaging(corpus, limit="20steps"), out, resume=True, quiet=True)
    assert outcome(out) == outcome(whole)
    assert losses(out) == losses(whole)


def test_old_checkpoints_go_but_best_and_last_stay(corpus: Corpus, tmp_path: Path) -> None:
    saving = {"every": "1steps", "keep": 2}
    trained = train(corpus, tmp_path / "run", checkpoint=saving, limit="12steps", **WORSE)
    left = sorted(path.name for path in trained.run.checkpoints.glob("step-*"))
    best = checkpoint.pointed(trained.run, "best")[0].path.name
    assert left == sorted({best, "step-00000011", "step-00000012"})
    assert best not in left[1:]
    every = dict(losses(tmp_path / "run"))
    assert trained.facts["step"] == min(every, key=every.__getitem__)


# --- the run folder -------------------------------------------------------------------------------


def test_a_run_is_not_written_over(corpus: Corpus, tmp_path: Path) -> None:
    train(corpus, tmp_path / "run", limit="1steps")
    with pytest.raises(ConfigError, match="exists; add --resume"):
        train(corpus, tmp_path / "run", limit="1steps")
    with pytest.raises(ConfigError, match=r"other settings \(seed = 7\)"):
        foretell.train(tables(corpus, limit="1steps", seed=7), tmp_path / "run", resume=True, quiet=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("precious")
    for resume in (True, False):
        with pytest.raises(ConfigError, match="is not a run"):
            foretell.train(tables(corpus), tmp_path / "mine", resume=resume, quiet=True)


def test_a_run_that_died_while_it_was_made_can_be_resumed(corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / ".recipe.toml.0123abcd.draft").write_text("li")
    foretell.train(tables(corpus), out, resume=True, quiet=True)
    assert losses(out)
    assert not (out / ".recipe.toml.0123abcd.draft").exists()


# --- seeds and the clock ---------------------------------------------------------------------------


def test_seeding_a_step_draws_what_torch_would_and_leaves_nothing_behind() -> None:
    torch.manual_seed(2**62 + 7)
    expected = torch.rand(3)
    queued = len(torch.cuda._queued_calls)
    for _ in range(3):
        seed_generators(2**62 + 7, torch.device("cpu"))
        assert torch.equal(torch.rand(3), expected)
    assert len(torch.cuda._queued_calls) == queued


# --- the clock ------------------------------------------------------------------------------------


def test_what_depends_on_the_clock_is_told(corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    schedule = {"kind": "linear", "warmup": "30s"}
    foretell.train(tables(corpus, limit="2steps", schedule=schedule, checkpoint__every="5m"), tmp_path / "run")
    (record,) = records(tmp_path / "run", "clock")
    assert record["settings"] == ["schedule.warmup"] and record["step"] == 0
    assert "settings in seconds: schedule.warmup; the same seed" in " ".join(capsys.readouterr().err.split())
    train(corpus, tmp_path / "steps", limit="2steps", checkpoint__every="5m", training__log_every="10s")
    assert records(tmp_path / "steps", "clock") == []
