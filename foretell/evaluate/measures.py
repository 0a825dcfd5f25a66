"""All metrics in one place: what each means and how it is shown.

Tables, plots, findings and reports read these records. Terms of objectives that are not listed here follow from the
pattern of their keys, `X_loss`, `X_accuracy` and `X_targets`; any other key is that of a task metric, where higher is
better.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from foretell import units


@dataclass(frozen=True)
class Measure:
    """A metric, or a cost: one figure of a record."""

    key: str
    """its name in records"""
    format: str = ".4f"
    """format of its values"""
    unit: str = ""
    """words after a value; empty if the key suffices"""
    scale: Callable[[float], str] | None = None
    """formats values with a unit of their size, in place of `format`"""
    better: Literal["lower", "higher"] | None = None
    """None: neither"""
    role: Literal["quality", "text", "cost"] = "quality"
    """quality of the model, a property of the text, or a cost"""
    average: Literal["mean", "max"] | None = None
    """how a table over seeds summarises it; None: not in such a table"""
    title: str = ""
    """its name in plots; empty: the key"""
    brief: bool = False
    """whether it is part of a summary"""
    listed: bool = True
    """whether it has a row in tables"""

    @property
    def label(self) -> str:
        """Its name in tables."""
        return units.label(self.key)

    @property
    def is_loss(self) -> bool:
        """Whether it is a loss in nats."""
        return self.key == "loss" or self.key.endswith("_loss")

    def text(self, value: float) -> str:
        """A value with its unit."""
        return f"{self.number(value)} {self.unit}".rstrip()

    def number(self, value: float) -> str:
        """A value without its unit."""
        return self.scale(value) if self.scale else format(value, self.format)


def _loss(term: str, unit: str, *, brief: bool = False) -> Measure:
    return Measure(f"{term}_loss", ".4f", unit, better="lower", brief=brief)


def _accuracy(term: str, *, brief: bool = False) -> Measure:
    return Measure(f"{term}_accuracy", ".2%", better="higher", brief=brief)


def _targets(term: str, *, listed: bool = True) -> Measure:
    return Measure(f"{term}_targets", ",", role="text", listed=listed)


LIKELIHOOD = (
    Measure("bits_per_byte", better="lower", average="mean", title="bits per byte", brief=True),
    Measure("bits_per_character", better="lower", title="bits per character"),
    Measure("perplexity", ",.2f", better="lower", average="mean", title="perplexity", brief=True),
    Measure("loss", unit="nats per token", better="lower", title="loss in nats per token", brief=True),
)
"""of models that assign text a probability"""
TERMS = (
    _loss("masked", "nats per masked token", brief=True),
    _accuracy("masked", brief=True),
    _targets("masked"),
    _loss("replaced", "nats per token"),
    _accuracy("replaced", brief=True),
    Measure("replaced_precision", ".2%", better="higher"),
    Measure("replaced_recall", ".2%", better="higher", brief=True),
    _targets("replaced", listed=False),
    _loss("original", "nats per token"),
    _accuracy("original"),
    _targets("original", listed=False),
    _loss("pair", "nats per pair"),
    _accuracy("pair", brief=True),
    _targets("pair"),
    Measure("objective_loss", better="lower", listed=False),
)
"""of objectives, by the names of their terms"""
PSEUDO = (
    Measure("pseudo_loss", ".4f", "nats per token, each masked alone", better="lower"),
    Measure("pseudo_perplexity", ",.2f", better="lower"),
    Measure("pseudo_tokens", ",", role="text"),
)
MIXED = (Measure("fitted_loss", ".4f", "nats per token", better="lower", listed=False),)
"""of mixtures, on the text that their weights are fitted to"""
LEARNING = (Measure("adaptive_bits_per_byte", better="lower", average="mean", listed=False),)
"""of models that learn from the measured text as they read it"""
RANKS = (
    Measure("top1", ".2%", better="higher"),
    Measure("top5", ".2%", better="higher"),
)
TEXT = (
    Measure("tokens", ",", role="text"),
    Measure("unknown_rate", ".3%", role="text", average="max"),
)
COSTS = (
    Measure("parameters", scale=units.count, better="lower", role="cost", average="mean", title="parameters"),
    Measure("seconds", scale=units.duration, better="lower", role="cost", average="mean"),
    Measure(
        "tokens_per_second",
        scale=units.count,
        better="higher",
        role="cost",
        average="mean",
        title="training tokens per second",
        brief=True,
    ),
    Measure(
        "peak_memory_bytes",
        scale=units.size,
        better="lower",
        role="cost",
        average="mean",
        title="peak memory in bytes",
    ),
    Measure("trained_tokens", scale=units.count, role="cost", average="mean", listed=False),
    Measure("budget_used", role="cost", average="mean", listed=False),
    Measure("examples_per_second", scale=units.count, better="higher", role="cost", listed=False),
    Measure("validation_seconds", scale=units.duration, better="lower", role="cost", listed=False),
    Measure("epoch", role="cost", listed=False, brief=True),
)

MEASURES = {
    measure.key: measure
    for group in (LIKELIHOOD, TERMS, PSEUDO, MIXED, LEARNING, RANKS, TEXT, COSTS)
    for measure in group
}
"""by key, in the order of tables; code outside the package may add to it"""


def measure_of(key: str) -> Measure:
    """The measure of a key, registered or by its pattern."""
    if key in MEASURES:
        return MEASURES[key]
    term, _, kind = key.rpartition("_")
    patterns = {
        "loss": _loss(term, "nats per target"),
        "accuracy": _accuracy(term, brief=True),
        "targets": _targets(term),
    }
    return patterns[kind] if term and kind in patterns else Measure(key, better="higher")


def terms_of(record: Mapping[str, Any]) -> list[str]:
    """The terms of an objective that a record measures, those with a loss and an accuracy."""
    return [key.removesuffix("_accuracy") for key in record if key.endswith("_accuracy")]


def term_losses(record: Mapping[str, Any]) -> list[str]:
    """The keys of the losses of single terms."""
    return [key for key in record if key.endswith("_loss") and key != "objective_loss"]


def qualities(record: Mapping[str, Any]) -> dict[str, float]:
    """The quality metrics of a record."""
    return {key: value for key, value in record.items() if isinstance(value, float) and is_quality(key)}


def is_quality(key: str) -> bool:
    """Whether it is a quality metric."""
    return measure_of(key).role == "quality"


def rows(record: Mapping[str, Any], *roles: str) -> Iterator[tuple[str, str]]:
    """Label and text of each listed figure of these roles, in the order of tables; then terms that follow a pattern."""
    others = [] if "metric" in record else [key for key in record if follows_pattern(key)]
    for key in [*MEASURES, *others]:
        measure = measure_of(key)
        if measure.listed and measure.role in roles and record.get(key) is not None:
            yield measure.label, measure.text(record[key])


def task_rows(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Label and number of each task metric that has no other row, in the order of the record."""
    for key, value in record.items() if "metric" in record else ():
        elsewhere = key == "share" or key.endswith("seconds") or (key in MEASURES and MEASURES[key].listed)
        if isinstance(value, float) and not elsewhere:
            measure = measure_of(key)
            yield measure.label, measure.number(value)


def follows_pattern(key: str) -> bool:
    """Whether a key belongs to an unregistered term."""
    return key not in MEASURES and key.endswith(("_loss", "_accuracy", "_targets"))
