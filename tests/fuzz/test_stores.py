from fuzz.checking import assert_holds
from fuzz.running import Runner


def test_stores(runner: Runner) -> None:
    assert_holds(runner, "stores", cases=5)
