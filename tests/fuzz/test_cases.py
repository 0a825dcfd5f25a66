"""The harness finds what it is made to find."""

from fuzz import mutate
from fuzz.cases import Answer, Case, Fifo, faults
from fuzz.running import Runner
from fuzz.seeds import EVALUATE, load_or_make
from hypothesis import given
from hypothesis import strategies as st


def causes(answer: Answer, **case: object) -> list[str]:
    made = Case("", **{"commands": (("evaluate", "run", "--json"),), **case})
    return [fault.cause for fault in faults(made, [answer], {"it": {"loss": 1.0}})]


def test_faults_are_told_apart() -> None:
    good = Answer(0, '{"loss": 1.0, "seconds": 3}', "")
    assert causes(good) == causes(good, same_as="it") == []
    assert causes(Answer(2, '{"error": {}}', "error: run/a: damaged; bring it back\n")) == []
    assert causes(Answer(0, '{"loss": NaN}', "")) == ["json: evaluate: 0"]
    assert causes(Answer(0, '{"loss": 2.0}', ""), same_as="it", damaged="run/a.json") == [
        "figure: evaluate of a damaged run/a.json"
    ]
    assert causes(Answer(0, '{"loss": 2.0}', "run/a.json is damaged, so"), same_as="it", damaged="run/a.json") == []
    assert causes(Answer(2, "{}", "error: no\n"), same_as="it", damaged="a.json") == [
        "unnamed: evaluate of a damaged a.json"
    ]
    internal = Answer(
        1, "{}", "error: KeyError: 'a' (run again with --debug for the traceback)\n", place="KeyError at x"
    )
    assert causes(internal) == ["internal: KeyError at x"]
    assert causes(Answer(1, "{}", "Traceback (most recent call last):\n")) == [
        "traceback: Traceback (most recent call last):"
    ]
    assert causes(Answer(None, "", "", 20.0, place="run.py in f")) == ["hang: run.py in f"]
    assert causes(Answer(-11, "", "")) == ["crash: evaluate"]
    assert causes(Answer(2, "{}", "error: one\ntwo\n")) == ["message: evaluate: several lines"]
    assert causes(Answer(2, "{}", "error: \x1b[31m\n")) == ["message: evaluate: control characters"]
    assert causes(Answer(2, "{}", "error: ValueError: no\n")) == ["message: evaluate: ValueError:"]
    assert causes(Answer(2, "{}", "")) == ["message: evaluate: none"]


def test_a_case_gives_the_figures_of_its_seed_in_a_fork_and_as_a_process(runner: Runner) -> None:
    figures = load_or_make(runner)
    case = Case("", (EVALUATE,), "runs/lm")
    for [answer] in (runner.run(case), runner.run_as_processes(case)):
        assert answer.code == 0
        assert answer.figures() == figures["evaluate lm"]


def test_what_takes_too_long_is_stopped_and_the_next_case_runs(runner: Runner) -> None:
    case = Case("", (("score", "run", "pipe"),), "runs/lm", {"pipe": Fifo()})
    [answer] = runner.run(case, seconds=0.5)
    assert answer.code in (None, 1, 2)
    assert runner.run(Case("", (("runs", "."),), "runs/lm"))[0].code == 0


@given(data=st.data(), stored=st.binary(max_size=30))
def test_damaged_bytes_are_others(data: st.DataObject, stored: bytes) -> None:
    assert data.draw(mutate.damaged(stored))[1] != stored
