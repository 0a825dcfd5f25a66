"""Test-time adaptation: dynamic evaluation, a neural cache, or both, tuned on the validation split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from foretell.config import Config
from foretell.data.batches.batches import Text
from foretell.data.batches.streams import StreamsConfig, Windows
from foretell.data.tokenizers.specials import Specials
from foretell.evaluate.cache import CacheConfig, CachedPass, CacheScorer, NeuralCache, tune_cache
from foretell.evaluate.dynamic import STATISTICS_ROWS, DynamicConfig, DynamicScorer, root_mean_squares, tune_dynamic
from foretell.evaluate.scoring import NeuralScorer, total
from foretell.results import Figures
from foretell.types import IGNORED, Batch

Say = Callable[[str], None]


class AdaptationConfig(Config):
    """How a model adapts to the text it is evaluated on."""

    dynamic: DynamicConfig | None = None
    """dynamic evaluation: the weights keep learning"""
    cache: CacheConfig | None = None
    """neural cache: recent words become more probable"""


@dataclass(frozen=True)
class Adaptation:
    """A tuned adaptation, which wraps a neural scorer."""

    settings: AdaptationConfig
    squares: list[Tensor] | None
    """root mean squares of the gradients on the training split"""
    tuning: dict[str, dict[str, Any]]
    """which settings were tuned, on how much text"""

    def scorer(self, neural: NeuralScorer) -> NeuralScorer | CacheScorer:
        """The adapted model, with the cache around dynamic evaluation."""
        dynamic, cache = self.settings.dynamic, self.settings.cache
        inner = neural
        if dynamic is not None:
            inner = DynamicScorer(neural.backbone, neural.head, dynamic, self.squares, opening=neural.opening)
        if cache is None:
            return inner
        assert cache.window is not None and cache.sharpness is not None and cache.weight is not None
        return CacheScorer(inner, NeuralCache(cache.window, cache.sharpness), cache.weight)

    @property
    def record(self) -> dict[str, dict[str, Any]]:
        """All settings, and how they were tuned."""
        settings = self.settings.model_dump(exclude_none=True, exclude={"dynamic": {"tuning"}, "cache": {"tuning"}})
        return {name: part | self.tuning[name] for name, part in settings.items()}

    @property
    def in_order(self) -> bool:
        """Whether weights learn, so that rows of a batch would learn from each other."""
        return self.settings.dynamic is not None

    @property
    def reads_on(self) -> bool:
        """Whether the scorer learns in `next` too, so that it cannot take an earlier state again."""
        return False

    @property
    def segment(self) -> int:
        """Tokens that the length of windows should be a multiple of."""
        return 1 if self.settings.dynamic is None else self.settings.dynamic.segment

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


class Counting(Adaptation):
    """The adaptation of a counted model that keeps counting: it learns from each token after it was scored."""

    def __init__(self) -> None:
        super().__init__(AdaptationConfig(), None, {})

    @property
    @override
    def in_order(self) -> bool:
        return True

    @property
    @override
    def reads_on(self) -> bool:
        return True

    @override
    def __str__(self) -> str:
        return "learning from each token after scoring it"


ADAPTIVE = (
    "loss",
    "perplexity",
    "bits_per_character",
    "bits_per_byte",
    "seconds",
    "tokens_per_second",
    "context",
    "adaptation",
    "mixture",
    "weights_learned_by",
    "regret",
    "fitted_here",
    "audit",
)
"""keys of the second pass of a measurement, in which the model learned from what it had read"""


def with_adaptive(static: Mapping[str, Any], adapted: Mapping[str, Any]) -> Figures:
    """A result with that of the adapting model as its part `adaptive`."""
    return Figures({**static, "adaptive": {key: adapted[key] for key in ADAPTIVE if adapted.get(key) is not None}})


def adapt(
    settings: AdaptationConfig,
    neural: NeuralScorer,
    train: Callable[[], Text],
    valid: Callable[[], Windows],
    specials: Specials,
    device: torch.device,
    say: Say,
) -> Adaptation:
    """The adaptation, with settings left unset tuned on the start of the validation split, dynamic evaluation first.

    `train` and `valid` are called only if needed.
    """
    squares: list[Tensor] | None = None
    tuning: dict[str, dict[str, Any]] = {}
    dynamic, cache = settings.dynamic, settings.cache
    if dynamic is not None:
        seen = 0
        if dynamic.rule == "rms":
            batches = StreamsConfig(batch=STATISTICS_ROWS, length=dynamic.segment).build(train(), specials, seed=0)
            first = first_batches(batches, dynamic.statistics)
            squares, seen = root_mean_squares(neural.backbone, neural.head, first, device)
            say(f"dynamic evaluation: gradients of {seen:,} tokens of the training split")
        dynamic, facts = _tuned_dynamic(dynamic, neural, squares, valid, device, say)
        tuning["dynamic"] = facts | {"statistics_tokens": seen}
    if cache is not None:
        inner = Adaptation(AdaptationConfig(dynamic=dynamic), squares, {}).scorer(neural)
        assert isinstance(inner, NeuralScorer)
        cache, tuning["cache"] = _tuned_cache(cache, inner, valid, device, say)
    return Adaptation(AdaptationConfig(dynamic=dynamic, cache=cache), squares, tuning)


def _tuned_dynamic(
    config: DynamicConfig,
    neural: NeuralScorer,
    squares: list[Tensor] | None,
    valid: Callable[[], Windows],
    device: torch.device,
    say: Say,
) -> tuple[DynamicConfig, dict[str, Any]]:
    unset = unset_of(config, "learning_rate", "decay")
    if not unset:
        return config, tuning_record(unset, [], None)
    batches = first_batches(valid(), config.tuning)
    losses: dict[DynamicConfig, float] = {}

    def loss(trial: DynamicConfig) -> float:
        if trial not in losses:
            scorer = DynamicScorer(neural.backbone, neural.head, trial, squares, opening=neural.opening)
            losses[trial] = total(scorer, batches, device).loss
            say(
                f"dynamic evaluation: learning rate {trial.learning_rate:.3g}, decay {trial.decay:.3g}: "
                f"{losses[trial]:.4f} nats per token of validation"
            )
        return losses[trial]

    best = tune_dynamic(config, loss)
    return best, tuning_record(unset, batches, loss(best))


def _tuned_cache(
    config: CacheConfig, inner: NeuralScorer, valid: Callable[[], Windows], device: torch.device, say: Say
) -> tuple[CacheConfig, dict[str, Any]]:
    unset = unset_of(config, "window", "sharpness", "weight")
    if not unset:
        return config, tuning_record(unset, [], None)
    batches = first_batches(valid(), config.tuning)
    windows = CachedPass.record(inner, batches, device)

    def report(trial: CacheConfig, loss: float) -> None:
        say(
            f"cache: {trial.window} tokens, sharpness {trial.sharpness:.3g}, weight {trial.weight:.3g}: "
            f"{loss:.4f} nats per token of validation"
        )

    best, loss = tune_cache(config, windows, report)
    return best, tuning_record(unset, batches, loss)


def unset_of(config: Config, *names: str) -> list[str]:
    """Settings left unset."""
    return [name for name in names if getattr(config, name) is None]


def tuning_record(tuned: list[str], batches: Sequence[Batch], loss: float | None) -> dict[str, Any]:
    """Which settings were tuned, on how much text, and the loss reached."""
    tokens = sum(int((batch.targets != IGNORED).sum()) for batch in batches)
    return {"tuned": tuned, "tuned_on": "valid" if tuned else None, "tuning_tokens": tokens, "tuning_loss": loss}


def first_batches(windows: Windows, tokens: int) -> list[Batch]:
    """The first windows, up to `tokens` targets in all."""
    batches: list[Batch] = []
    for k in range(len(windows)):
        if tokens <= 0:
            break
        batches.append(windows[k])
        tokens -= int((batches[-1].targets != IGNORED).sum())
    return batches
