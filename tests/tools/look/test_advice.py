"""Advice: which recipes, in which order, and commands that run as they stand."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from builders import members

from foretell.recipe.files import recipe_names
from foretell.recipe.names import check_recipe
from foretell.tasks.kinds import TaskChoice
from foretell.tools.look.advice import NOT_MEASURED, Situation, advise, notes, reading, spelled, then
from foretell.tools.look.trying_out import Counted
from foretell.tools.sizes import sizes
from foretell.tools.speed import Speed

SPEED = Speed({"recurrent": 50e9, "transformer": 50e9}, "cpu", 0.0)
SAMPLE = Counted(2.0, 4.0, 1e6)
TEXT = Situation("text.txt", 600.0, SPEED, None, train_bytes=1e6, sample=SAMPLE, sample_bytes=1 << 20)
MODEL = {"name": "minilm", "model": "transformer", "parameters": 22_700_000, "imported": True}
OWN = {"name": "lstm", "model": "recurrent lstm", "parameters": 4_000_000, "imported": False}


def test_imported_runs_come_after_an_encoder_of_the_language() -> None:
    labels = replace(TEXT, task="classification", models=[MODEL])
    assert "hf:" not in "".join(advice.why for advice in advise(labels))
    first, second, *_ = advise(replace(labels, language="German", baseline=("bag_of_words", 0.55)))
    assert "German or many languages" in first.why and "if it was pre-trained on German" in second.why
    assert "0.550, measured here" in first.expect
    assert advise(replace(labels, language="English")) == advise(labels)
    assert "Han script" in advise(replace(labels, scripts=["Han"]))[0].why


@pytest.mark.parametrize("task", [task.kind_name() for task in members(TaskChoice)])
def test_every_task_has_advice(task: str) -> None:
    for models in ([], [MODEL, OWN]):
        for advice in advise(replace(TEXT, task=task, models=models)):
            assert advice.recipe in recipe_names() and advice.expect.startswith(NOT_MEASURED)


def names(situation: Situation) -> list[str]:
    return [advice.recipe for advice in advise(situation)]


def test_more_time_takes_a_larger_model() -> None:
    """A model has at most as many parameters as it sees tokens: 50e9 FLOP/s / FLOPs per token x seconds."""
    short = replace(TEXT, seconds=20.0)
    assert names(short) == ["ngram-5"]
    assert "after about 57 s" in notes(short)[0] and not notes(TEXT)  # 691,712 / (50e9 / 4,128,768)
    assert names(replace(TEXT, seconds=120.0)) == ["context-mixing", "awd-lstm-tiny", "ngram-5"]
    assert names(TEXT) == ["context-mixing", "awd-lstm-tiny", "ngram-5", "nanogpt-shakespeare"]
    assert names(replace(TEXT, seconds=4000.0)) == ["context-mixing", "awd-lstm-small", "ngram-5", "gpt2-wiki-mini"]
    for situation in (TEXT, replace(TEXT, seconds=4000.0)):
        for advice in (advise(situation)[1], advise(situation)[3]):
            size = sizes()[advice.recipe]
            assert 50e9 / (size.flops_per_token or 0) * situation.seconds >= (size.parameters or 0)


def test_few_passes_put_the_baseline_first() -> None:
    """The 5-gram was ahead on Wikipedia in five minutes, and in the demo after 4 passes (docs/results.md)."""
    assert names(replace(TEXT, train_bytes=5e7))[0] == "ngram-5"
    demo = Speed({"recurrent": 20_500 * 4_128_768.0}, "cpu", 0.0)  # its 20,500 tokens a second
    assert names(replace(TEXT, speed=demo, seconds=110.0, train_bytes=1_737_143, sample=Counted(2.0, 3.1, 1e6))) == [
        "context-mixing",
        "ngram-5",
        "awd-lstm-tiny",
    ]
    assert "a 5-gram may stay ahead" in reading(replace(TEXT, train_bytes=5e7), "awd-lstm-tiny")


def test_context_mixing_needs_time_and_memory() -> None:
    """30 s, and 25 s for each MB."""
    assert names(replace(TEXT, seconds=54.0))[0] != "context-mixing" == names(replace(TEXT, seconds=56.0))[0]
    assert "context-mixing" not in names(replace(TEXT, memory=int(2.9e9)))
    assert "context-mixing" in names(replace(TEXT, memory=int(3.1e9)))


def test_a_model_has_to_fit_into_memory() -> None:
    assert names(replace(TEXT, memory=5_000_000)) == ["ngram-5"]


def test_passes_follow_from_the_speed() -> None:
    """12,110 tokens a second for 600 s of a text of 250,000 tokens."""
    expected = 50e9 / 4_128_768 * 600 / 250_000
    assert TEXT.passes("awd-lstm-tiny") == pytest.approx(expected)
    assert f"about {expected:.0f} times" in reading(TEXT, "awd-lstm-tiny")


def test_runs_are_starts_and_an_import_is_missed() -> None:
    task = replace(TEXT, task="classification", corpus="reviews.csv")
    assert names(task) == ["classify", "bert-wiki-mini"]
    assert names(replace(task, models=[MODEL])) == ["classify"]
    both = advise(replace(task, models=[OWN]))
    assert "foretell import" in both[0].commands[0] or "runs/lstm" in both[0].why
    assert len(both) == 2 and then(task) is None


@pytest.mark.parametrize("task", ["", "classification", "similarity", "tagging", "answering"])
@pytest.mark.parametrize("seconds", [10.0, 600.0, 36_000.0])
def test_every_command_is_valid(task: str, seconds: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    situation = replace(TEXT, task=task, seconds=seconds, corpus="my 'text'.txt", models=[MODEL, OWN] if task else ())
    following = then(situation)
    for advice in [*advise(situation), *[following] * (following is not None)]:
        assert NOT_MEASURED in advice.expect or "measured here" in advice.expect
        for line in advice.commands:
            program, verb, *words = shlex.split(line)
            assert program == "foretell" and verb in ("train", "import", "evaluate", "compare")
            if verb == "train":
                assert words[-2] == "--out"
                check_recipe(words[0], words[1:-2])


def test_folders_are_free(tmp_path: Path) -> None:
    situation = replace(TEXT, runs=tmp_path)
    assert situation.run("x") == str(tmp_path / "text-x")
    (tmp_path / "text-x").mkdir()
    (tmp_path / "text-x-2").mkdir()
    assert situation.run("x") == str(tmp_path / "text-x-3")


def test_a_budget_is_a_valid_limit() -> None:
    from foretell.config import Amount

    assert [spelled(seconds) for seconds in (600, 7200, 90, 0.2)] == ["10m", "2h", "90s", "0.2s"]
    for seconds in (0.5, 59.0, 60.0, 90.0, 3600.0, 5400.0, 1e6, 123_456_789.0):
        assert Amount.model_validate(spelled(seconds)).value == pytest.approx(seconds)
