from fuzz.checking import assert_holds
from fuzz.running import Runner


def test_runs(runner: Runner) -> None:
    assert_holds(runner, "runs", cases=5)
