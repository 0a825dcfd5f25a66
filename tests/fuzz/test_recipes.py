from fuzz.checking import assert_holds
from fuzz.running import Runner


def test_recipes(runner: Runner) -> None:
    assert_holds(runner, "recipes", cases=5)
