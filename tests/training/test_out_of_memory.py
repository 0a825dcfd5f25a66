"""Running out of memory: more and smaller parts, or one line of advice."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import assert_same, averaging, losses, outcome, tables
from torch import nn

import foretell
from foretell.cli.problems import explain
from foretell.objectives.causal import Causal
from foretell.run import Run
from foretell.training import checkpoint
from foretell.training import out_of_memory as memory
from foretell.training.out_of_memory import OutOfMemory, advising, out_of_memory

Corpus = dict[str, str]


KINDS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to …"),
    MemoryError(),
]


@pytest.mark.parametrize("problem", KINDS, ids=lambda problem: type(problem).__name__)
def test_what_counts_as_out_of_memory(problem: Exception) -> None:
    assert out_of_memory(problem)
    with pytest.raises(OutOfMemory, match="out of memory in a test"), advising("in a test"):
        raise problem


def test_onednn_tells_memory_from_what_it_does_not_support() -> None:
    assert out_of_memory(RuntimeError("could not create a primitive"))
    assert not out_of_memory(RuntimeError("could not create a primitive descriptor for an LSTM"))


@pytest.mark.parametrize("problem", [RuntimeError("shapes do not match"), ValueError("memory"), KeyError("x")])
def test_what_does_not(problem: Exception) -> None:
    assert not out_of_memory(problem)
    with pytest.raises(type(problem)), advising("in a test"):
        raise problem


def test_a_real_one_counts() -> None:
    """No machine has so much; torch says so at once."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert out_of_memory(caught.value)


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A machine on which at most so many rows fit into a training step, from some time on."""
    machine: dict[str, Any] = {"rows": 99, "from": 0, "passes": 0, "problem": KINDS[0], "failures": 0}
    original = Causal.forward

    def forward(self: Causal, batch: Any, state: Any) -> Any:
        step = original(self, batch, state)  # part of the work is done, random numbers are drawn
        machine["passes"] += 1
        if self.training and len(batch.targets) > machine["rows"] and machine["passes"] > machine["from"]:
            machine["failures"] += 1
            raise machine["problem"]
        return step

    monkeypatch.setattr(Causal, "forward", forward)
    return machine


@pytest.mark.parametrize(("rows", "problem"), [(1, KINDS[0]), (2, KINDS[1]), (2, KINDS[2])], ids=["1", "2", "host"])
def test_auto_is_as_if_the_number_had_been_right_from_the_start(
    corpus: Corpus, tmp_path: Path, room: dict[str, Any], rows: int, problem: Exception
) -> None:
    """With dropout, carried state, penalties and averages: all to the last bit."""
    foretell.train(
        averaging(corpus, training__micro_batches=4 // rows, limit="16steps"), tmp_path / "right", quiet=True
    )
    room |= {"rows": rows, "problem": problem}
    foretell.train(averaging(corpus, training__micro_batches="auto", limit="16steps"), tmp_path / "auto", quiet=True)
    assert room["failures"] == {1: 2, 2: 1}[rows]  # once for each doubling, never again
    for name in ("last", "best"):
        one, other = (checkpoint.pointed(Run(tmp_path / run), name)[0] for run in ("auto", "right"))
        for file in ("model", "averaged", "optimizer", "carried"):
            assert_same(one.tensors(file), other.tensors(file))
    assert losses(tmp_path / "auto") == losses(tmp_path / "right")
    assert losses(tmp_path / "auto", "train") == losses(tmp_path / "right", "train")


def test_it_is_said_once(
    corpus: Corpus, tmp_path: Path, room: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    room |= {"rows": 2, "from": 3}
    foretell.train(tables(corpus, training__micro_batches="auto"), tmp_path / "run")
    said = re.findall(r"out of memory.*", capsys.readouterr().err)
    assert said == ["out of memory at step 4, with 4 rows in 1 part: batches are split into 2 from here on"]


def test_going_on_keeps_the_number(corpus: Corpus, tmp_path: Path, room: dict[str, Any]) -> None:
    room |= {"rows": 2}
    recipe = averaging(corpus, training__micro_batches="auto", limit="12steps")
    foretell.train(recipe, tmp_path / "whole", quiet=True)
    original = foretell.training.trainer.Trainer.after_step

    def interrupt(self: Any, *given: Any) -> None:
        self.interrupted = self.position.step == 6
        original(self, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(foretell.training.trainer.Trainer, "after_step", interrupt)
        with pytest.raises(foretell.Interrupted):
            foretell.train(recipe, tmp_path / "run", quiet=True)
    room["failures"] = 0
    foretell.train(recipe, tmp_path / "run", resume=True, quiet=True)
    assert room["failures"] == 0
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


@pytest.mark.parametrize(
    ("training", "rows", "advice"),
    [
        ({}, 2, r"at step 1, with 4 rows in 1 part; set training.micro_batches=2 \(or \"auto\"\), "
                r"a smaller data.batches.batch, training.precision=\"bf16\""),
        ({"micro_batches": 2, "precision": "bf16"}, 1, r"2 parts; set training.micro_batches=4 .*batches.batch$"),
        ({"micro_batches": 4}, 0, "data.batches.length.*smaller model"),
        ({"micro_batches": "auto"}, 0, "4 rows in 4 parts; set a smaller data.batches.length"),
    ],
)  # fmt: skip
def test_advice_in_one_line(
    corpus: Corpus, tmp_path: Path, room: dict[str, Any], training: dict[str, Any], rows: int, advice: str
) -> None:
    room |= {"rows": rows}
    with pytest.raises(OutOfMemory, match=advice) as caught:
        foretell.train(tables(corpus, training=training), tmp_path / "run", quiet=True)
    error, code = explain(caught.value)
    assert "\n" not in str(error) and "--debug" not in str(error)
    assert code == 1


def test_other_errors_are_not_caught(corpus: Corpus, tmp_path: Path, room: dict[str, Any]) -> None:
    room |= {"rows": 2, "problem": RuntimeError("shapes do not match")}
    with pytest.raises(RuntimeError, match="shapes"):
        foretell.train(tables(corpus, training__micro_batches="auto"), tmp_path / "run", quiet=True)
    assert room["failures"] == 1


def test_advice_for_the_optimiser(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def step(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    with pytest.raises(OutOfMemory, match="optimiser's state"):
        foretell.train(tables(corpus), tmp_path / "run", quiet=True)


# --- memory ---------------------------------------------------------------------------------------


def test_a_model_that_does_not_fit_is_refused_before_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "memory_of", lambda _: 1 << 20)
    recipe = foretell.load_recipe("char-lstm", ["model.hidden=512", "model.embedding_dim=64", "model.layers=1"])
    with pytest.raises(memory.OutOfMemory, match=r"take 4\.9 MB, and there are 1 MB; make it smaller by model\.hid"):
        recipe.build(65)
    monkeypatch.setattr(memory, "memory_of", lambda _: 1 << 40)
    assert recipe.build(65)


def test_memory_that_runs_out_while_a_model_is_built_has_advice() -> None:
    class Greedy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            if torch.get_default_device().type != "meta":
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes")

    with pytest.raises(memory.OutOfMemory, match="out of memory while the model was built: its weights alone take 0"):
        memory.build_within(Greedy)


def test_this_machine_has_memory() -> None:
    assert 1 << 28 < memory.memory_of(torch.device("cpu")) < 1 << 50
