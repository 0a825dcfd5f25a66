from fuzz.checking import assert_holds
from fuzz.running import Runner


def test_texts(runner: Runner) -> None:
    assert_holds(runner, "texts", cases=5)
