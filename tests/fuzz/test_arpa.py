from fuzz.checking import assert_holds
from fuzz.running import Runner


def test_arpa(runner: Runner) -> None:
    assert_holds(runner, "arpa", cases=5)
