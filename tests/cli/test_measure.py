"""Combinations of options of the commands that measure."""

from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (["score", "run", "--tune", "-", "--weights", "lm=1"], "--tune and --weights exclude each other"),
        (["score", "run", "-", "--group", "--words"], "--group and --tune rank whole texts"),
        (["evaluate", "run", "--mix", "run", "--pseudo", "5"], "has no pseudo-perplexity"),
        (["evaluate", "run", "--mix", "run", "--skip-bad"], "a mixture is not a task"),
        (["bench", "prepare", "ngram", "--child", "ours"], "--child runs one side of one workload"),
        (["compare", "run"], "comparing takes two runs or more"),
    ],
)
def test_options_that_exclude_each_other(line: list[str], what: str, run: Path, said: Any) -> None:
    code, out, err = said(*[str(run) if word == "run" else word for word in line])
    assert code == 2 and out == "" and what in err


def test_a_plus_makes_a_mixture(run: Path, said: Any) -> None:
    code, out, err = said("compare", run, f"{run}+{run}", "--resamples", "20", "--device", "cpu")
    assert code == 0, err
    assert out.count("+") >= 2 and "best" in out
