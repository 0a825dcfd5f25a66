from fuzz.checking import assert_holds
from fuzz.running import Runner


def test_command_lines(runner: Runner) -> None:
    assert_holds(runner, "command-lines", cases=8, processes=1)
