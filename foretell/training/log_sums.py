"""Sums over training steps, from which a log record is made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from foretell.run import Record


@dataclass
class LogSums:
    """Sums since the last log record, kept on the device: reading them waits for it."""

    loss: Tensor | float = 0.0
    """mean loss of each batch times its tokens"""
    tokens: int = 0
    seconds: float = 0.0
    terms: dict[str, Tensor | float] = field(default_factory=dict)
    """sum of the losses of each term of the objective"""
    counts: dict[str, float] = field(default_factory=dict)
    """denominator of each term"""

    def add(self, loss: Tensor, tokens: int, terms: Mapping[str, Tensor], counts: Mapping[str, float]) -> None:
        """Add one step: its mean loss [], the sum [] and the denominator of each term."""
        self.loss += loss * tokens
        self.tokens += tokens
        for name, term in terms.items():
            self.terms[name] = self.terms.get(name, 0.0) + term
            self.counts[name] = self.counts.get(name, 0) + counts[name]

    def losses(self, bytes_per_token: float | None) -> Record:
        """Nats per token, bits per byte where they are defined, and of several terms each one's nats per target."""
        loss = float(self.loss) / self.tokens
        terms = self.terms if len(self.terms) > 1 else {}
        return {
            "loss": loss,
            "bits_per_byte": loss / math.log(2) / bytes_per_token if bytes_per_token is not None else None,
            **{
                f"{name}_loss": float(term) / self.counts[name] for name, term in terms.items() if self.counts.get(name)
            },
        }

    def state_dict(self) -> Record:
        """For a checkpoint; `LogSums(**state)` is the inverse."""
        terms = {name: float(term) for name, term in self.terms.items()}
        return {**vars(self), "loss": float(self.loss), "terms": terms}
