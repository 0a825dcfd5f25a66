from fuzz.checking import assert_holds
from fuzz.running import Runner


def test_labelled(runner: Runner) -> None:
    assert_holds(runner, "labelled", cases=5)
