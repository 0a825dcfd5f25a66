from fuzz.checking import assert_holds
from fuzz.running import Runner


def test_hugging_face(runner: Runner) -> None:
    assert_holds(runner, "hugging-face", cases=5)
