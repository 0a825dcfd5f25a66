"""A command that is killed is called again, and ends as if nothing had happened."""

import random
import shutil
from pathlib import Path

import pytest
from endurance.works import WORKS, Undisturbed, add_seeds, again, fresh, is_finished, temporary, variables, works_there
from fuzz.running import Runner


@pytest.mark.parametrize("name", works_there(slow=False))
def test_a_few_kills(runner: Runner, name: str) -> None:
    assert strand(runner, name, kills=3) == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", works_there(slow=True))
def test_many_kills(runner: Runner, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    kills = 12 if WORKS[name].slow else 24
    stranded = strand(runner, name, kills)
    with capsys.disabled():
        print(f"\n{name}: {kills} kills, {len(stranded)} stranded")
    assert stranded == []


def strand(runner: Runner, name: str, kills: int) -> list[str]:
    """Kill a command before single operations on files, in the middle of writes and at any moment; what came of it
    where the same command did not then end as if nothing had happened."""
    work, place, draw = WORKS[name], temporary("kills-"), random.Random(name)
    add_seeds(runner)
    try:
        whole = Undisturbed(runner, work, place)
        stranded = []
        for number in range(kills):
            accident = an_accident(draw, number, kills, whole)
            with fresh(work, runner.seeds, place) as folder:
                killed = runner.run_in(folder, work.case, seconds=120, **told(accident, folder))
                answer = again(runner, work, folder)
                problem = None if answer.accepted or is_finished(answer) else answer.stderr[-300:]
                problem = problem or whole.difference(folder)
            if problem:
                stranded.append(f"{accident} (ended with {[one.code for one in killed]}): {problem}")
        return stranded
    finally:
        shutil.rmtree(place, ignore_errors=True)


def an_accident(draw: random.Random, number: int, kills: int, whole: Undisturbed) -> dict[str, float]:
    """Every third comes before an operation (they are spread over all of them), in a write, and at any moment."""
    if number % 3 == 0:
        return {"FUZZ_DIE_AT": 1 + number * whole.operations // kills}
    if number % 3 == 1:
        return {"FUZZ_DIE_BYTES": draw.randint(1, whole.largest)}
    return {"kill_after": draw.uniform(0.0, whole.seconds)}


def told(accident: dict[str, float], folder: Path) -> dict[str, object]:
    """An accident as the runner takes it."""
    if "kill_after" in accident:
        return {**accident, "more": variables(folder)}
    return {"more": variables(folder) | {name: str(value) for name, value in accident.items()}}
