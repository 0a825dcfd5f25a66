"""Drops at given times."""

from typing import Any

import pytest

from foretell.config import validate
from foretell.errors import ConfigError
from foretell.optim.schedules.step import StepsConfig


def make(**settings: Any) -> StepsConfig:
    return validate(StepsConfig, settings, "test")


def test_times_in_different_units_cannot_be_compared() -> None:
    """`every` counts from `after`, which needs the same unit."""
    with pytest.raises(ConfigError, match=r"every.*same unit"):
        make(after="4epochs", every="100steps")
    with pytest.raises(ConfigError, match="after"):
        make(every="100steps")
