"""Budgets of training."""

import pytest

from foretell.errors import ConfigError
from foretell.tools.budget import Budget


def test_budgets() -> None:
    assert Budget.parse("5m") == Budget(300, "seconds")
    assert Budget.parse("2e6tokens") == Budget(2e6, "tokens")
    assert Budget.parse("1e15flops") == Budget(1e15, "flops")
    for wrong in ("5", "3epochs", "10steps", "xflops"):
        with pytest.raises(ConfigError, match="write time"):
            Budget.parse(wrong)
