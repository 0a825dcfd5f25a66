"""Budgets of training: time, tokens or floating-point operations."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from foretell.config import Amount
from foretell.errors import ConfigError


@dataclass(frozen=True)
class Budget:
    """A limit of time, training tokens or floating-point operations."""

    amount: float
    unit: str
    """`seconds`, `tokens` or `flops`"""

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Parse `5m`, `5e6tokens` or `1e15flops`."""
        if text.endswith("flops"):
            with contextlib.suppress(ValueError):
                if 0 < (flops := float(text.removesuffix("flops"))) <= 1e30:
                    return cls(flops, "flops")
        amount = None
        with contextlib.suppress(ValidationError):
            amount = Amount.model_validate(text)
        if amount is None or amount.unit not in ("seconds", "tokens"):
            raise ConfigError(f'--budget {text!r} is not a budget; write time ("5m"), "5e6tokens" or "1e15flops"')
        return cls(amount.value, amount.unit)

    def used(self, result: Mapping[str, Any]) -> float:
        """Fraction of the budget that a training used."""
        if self.unit == "seconds":  # training and validation
            return float(result["seconds"] + result["validation_seconds"]) / self.amount
        return float(result["trained_tokens" if self.unit == "tokens" else "flops"]) / self.amount
