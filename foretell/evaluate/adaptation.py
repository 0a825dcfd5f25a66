"""Adaptation at test time: dynamic evaluation, a neural cache around it, or both, with settings found on validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from foretell.config import Config
from foretell.data.batches.batches import Text
from foretell.data.batches.streams import StreamsConfig, Windows
from foretell.data.tokenizers.tokenizer import Specials
from foretell.evaluate.cache import CacheConfig, CachedPass, CacheScorer, NeuralCache, tune_cache
from foretell.evaluate.dynamic import STATISTICS_ROWS, DynamicConfig, DynamicScorer, root_mean_squares, tune_dynamic
from foretell.evaluate.scoring import NeuralScorer, total
from foretell.types import IGNORED, Batch

Say = Callable[[str], None]


class AdaptationConfig(Config):
    """How a model adapts to the text it is measured on."""

    dynamic: DynamicConfig | None = None
    """dynamic evaluation: the weights go on learning"""
    cache: CacheConfig | None = None
    """a neural cache: words that came lately come again"""


@dataclass(frozen=True)
class Adaptation:
    """What is wrapped around a neural scorer; all settings are known."""

    settings: AdaptationConfig
    squares: list[Tensor] | None
    """root mean squares of the gradients in training"""
    found: dict[str, dict[str, Any]]
    """what was tuned, and on how much text"""

    def scorer(self, neural: NeuralScorer) -> NeuralScorer | CacheScorer:
        """The model with its adaptation, the cache outside."""
        dynamic, cache = self.settings.dynamic, self.settings.cache
        inner = neural
        if dynamic is not None:
            inner = DynamicScorer(neural.backbone, neural.head, dynamic, self.squares)
        if cache is None:
            return inner
        assert cache.window is not None and cache.sharpness is not None and cache.weight is not None
        return CacheScorer(inner, NeuralCache(cache.window, cache.sharpness), cache.weight)

    @property
    def record(self) -> dict[str, dict[str, Any]]:
        """All settings, and what was found how."""
        plain = self.settings.model_dump(exclude_none=True, exclude={"dynamic": {"tuning"}, "cache": {"tuning"}})
        return {name: part | self.found[name] for name, part in plain.items()}

    def __str__(self) -> str:
        dynamic, cache = self.settings.dynamic, self.settings.cache
        parts = []
        if dynamic is not None:
            parts.append(
                f"dynamic evaluation in segments of {dynamic.segment} ({dynamic.rule}, "
                f"learning rate {dynamic.learning_rate:.3g}, decay {dynamic.decay:.3g})"
            )
        if cache is not None:
            parts.append(f"cache of {cache.window} tokens (sharpness {cache.sharpness:.3g}, weight {cache.weight:.3g})")
        return ", ".join(parts)


def segment_of(settings: AdaptationConfig) -> int:
    """Windows of the text should be a multiple of this."""
    return 1 if settings.dynamic is None else settings.dynamic.segment


def adapt(
    settings: AdaptationConfig,
    neural: NeuralScorer,
    train: Callable[[], Text],
    valid: Callable[[], Windows],
    specials: Specials,
    device: torch.device,
    say: Say,
) -> Adaptation:
    """The adaptation with what is absent found on the beginning of the validation split, in the order of use.

    Texts are opened where they are needed only.
    """
    squares: list[Tensor] | None = None
    found: dict[str, dict[str, Any]] = {}
    dynamic, cache = settings.dynamic, settings.cache
    if dynamic is not None:
        seen = 0
        if dynamic.rule == "rms":
            batches = StreamsConfig(batch=STATISTICS_ROWS, length=dynamic.segment).build(train(), specials, seed=0)
            some = beginning(batches, dynamic.statistics)
            squares, seen = root_mean_squares(neural.backbone, neural.head, some, device)
            say(f"dynamic evaluation: gradients of {seen:,} tokens of the training split")
        dynamic, facts = _tuned_dynamic(dynamic, neural, squares, valid, device, say)
        found["dynamic"] = facts | {"statistics_tokens": seen}
    if cache is not None:
        inner = Adaptation(AdaptationConfig(dynamic=dynamic), squares, {}).scorer(neural)
        assert isinstance(inner, NeuralScorer)
        cache, found["cache"] = _tuned_cache(cache, inner, valid, device, say)
    return Adaptation(AdaptationConfig(dynamic=dynamic, cache=cache), squares, found)


def _tuned_dynamic(
    config: DynamicConfig,
    neural: NeuralScorer,
    squares: list[Tensor] | None,
    valid: Callable[[], Windows],
    device: torch.device,
    say: Say,
) -> tuple[DynamicConfig, dict[str, Any]]:
    absent = absent_of(config, "learning_rate", "decay")
    if not absent:
        return config, facts_of(absent, [], None)
    batches = beginning(valid(), config.tuning)
    losses: dict[DynamicConfig, float] = {}

    def loss(trial: DynamicConfig) -> float:
        if trial not in losses:
            scorer = DynamicScorer(neural.backbone, neural.head, trial, squares)
            losses[trial] = total(scorer, batches, device).loss
            say(
                f"dynamic evaluation: learning rate {trial.learning_rate:.3g}, decay {trial.decay:.3g}: "
                f"{losses[trial]:.4f} nats per token of validation"
            )
        return losses[trial]

    best = tune_dynamic(config, loss)
    return best, facts_of(absent, batches, loss(best))


def _tuned_cache(
    config: CacheConfig, inner: NeuralScorer, valid: Callable[[], Windows], device: torch.device, say: Say
) -> tuple[CacheConfig, dict[str, Any]]:
    absent = absent_of(config, "window", "sharpness", "weight")
    if not absent:
        return config, facts_of(absent, [], None)
    batches = beginning(valid(), config.tuning)
    heard = CachedPass.record(inner, batches, device)

    def tell(trial: CacheConfig, loss: float) -> None:
        say(
            f"cache: {trial.window} tokens, sharpness {trial.sharpness:.3g}, weight {trial.weight:.3g}: "
            f"{loss:.4f} nats per token of validation"
        )

    best, loss = tune_cache(config, heard, tell)
    return best, facts_of(absent, batches, loss)


def absent_of(config: Config, *names: str) -> list[str]:
    """Those of the settings that nobody gave."""
    return [name for name in names if getattr(config, name) is None]


def facts_of(absent: list[str], batches: Sequence[Batch], loss: float | None) -> dict[str, Any]:
    """How settings were found."""
    tokens = sum(int((batch.targets != IGNORED).sum()) for batch in batches)
    return {"tuned": absent, "tuned_on": "valid" if absent else None, "tuning_tokens": tokens, "tuning_loss": loss}


def beginning(windows: Windows, tokens: int) -> list[Batch]:
    """The first windows with so many targets in all, or all windows."""
    batches: list[Batch] = []
    for k in range(len(windows)):
        if tokens <= 0:
            break
        batches.append(windows[k])
        tokens -= int((batches[-1].targets != IGNORED).sum())
    return batches
