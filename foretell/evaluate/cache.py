"""The neural cache: recent words become more probable where the hidden state is similar.

Grave, Joulin and Usunier 2017, "Improving Neural Language Models with a Continuous Cache" (arXiv:1612.04426). The cache
holds the last W pairs of a hidden vector h_i and the word w_(i+1) after it:

    p(w) = (1 - weight) p_model(w) + weight sum of softmax_i(sharpness h_t . h_i) over the i with w_(i+1) = w

h is the output of the last layer without dropout. While the cache is empty the model has the whole weight.
B rows, T time steps, D width, V vocabulary, W window, L = W + T, N tokens of a text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from foretell.config import Config, NonNegative, Rate, Size
from foretell.evaluate.hill_climb import climb
from foretell.evaluate.mixture import fit_weights, mixed_logp
from foretell.evaluate.scoring import NeuralScorer, Scorer
from foretell.types import IGNORED, Batch, Inputs, Scores, State

WINDOWS = (100, 500, 2000)
"""windows to try"""
SHARPNESSES = (0.05, 0.1, 0.2, 0.4, 0.8)
"""where the search for the sharpness starts; published: 1 (Penn Treebank), 0.662 (WikiText-2)"""

Memory = tuple[Tensor, Tensor, Tensor]
"""vectors [B, W, D] and their tokens [B, W], the latest last; how many of them are filled [B]"""


class CacheConfig(Config):
    """The neural cache; settings left unset are tuned on the validation split."""

    window: Size | None = None
    """number of recent tokens in the cache"""
    sharpness: NonNegative | None = None
    """scale of the similarities (theta); 0: all tokens in the window count alike"""
    weight: Rate | None = None
    """weight of the cache in the mixture (lambda)"""
    tuning: Size = 20_000
    """tokens of the validation split to tune on"""


@dataclass(frozen=True)
class NeuralCache:
    """The distribution of the cache, independent of any model."""

    window: int
    sharpness: float

    def recall(
        self, vectors: Tensor, inputs: Inputs, targets: Tensor, memory: Memory | None
    ) -> tuple[Tensor, Tensor, Memory]:
        """Vectors [B, T, D] of inputs and targets [B, T] -> log-probability of each target, whether the cache had any
        pair, both [B, T], and the new memory. The log-probability is -inf for a target that is not in the cache."""
        keys, tokens, filled = self.append(vectors, inputs, memory)
        scores, seen = self.similarities(keys, filled, vectors.shape[1])  # [B, T, L - 1]
        hits = tokens[:, None, 1:] == targets[:, :, None]
        normalizer = scores.logsumexp(-1)
        logp = scores.masked_fill(~hits, -math.inf).logsumexp(-1) - normalizer.masked_fill(~seen, 0)
        return logp.double(), seen, self.truncate(keys, tokens, filled, inputs)

    def spread(self, vectors: Tensor, tokens: Tensor, memory: Memory | None, vocabulary: int) -> tuple[Tensor, ...]:
        """Probabilities [B, V] of the token after the last one, whether the cache had any pair [B], the new memory."""
        inputs = Inputs(tokens=tokens)
        keys, words, filled = self.append(vectors, inputs, memory)
        scores, seen = self.similarities(keys, filled, 1)  # [B, 1, L - 1]
        weights = scores[:, 0].softmax(-1).masked_fill(~seen, 0)
        spread = weights.new_zeros(len(tokens), vocabulary).scatter_add_(1, words[:, 1:], weights)
        return spread, seen[:, 0], *self.truncate(keys, words, filled, inputs)

    def append(self, vectors: Tensor, inputs: Inputs, memory: Memory | None) -> Memory:
        """Vectors [B, L, D] and tokens [B, L]: the memory, then a window; and how many pairs the memory has [B]."""
        rows, width = len(vectors), vectors.shape[-1]
        if memory is None:
            empty = vectors.new_zeros(rows, self.window, width)
            memory = empty, inputs.tokens.new_zeros(rows, self.window), inputs.tokens.new_zeros(rows)
        old_vectors, old_tokens, filled = memory
        if inputs.fresh is not None:
            filled = filled.masked_fill(inputs.fresh, 0)
        return torch.cat([old_vectors, vectors], 1), torch.cat([old_tokens, inputs.tokens], 1), filled

    def similarities(self, keys: Tensor, filled: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """sharpness * h_t . h_i [B, steps, L - 1] for the last `steps` vectors, and whether any i is valid [B, steps].

        The W vectors before h_t are valid, as far as they are filled; others have -inf. Column i is the token after
        vector i.
        """
        length = keys.shape[1]
        queries = keys[:, length - steps :].to(torch.promote_types(keys.dtype, torch.float32))
        scores = self.sharpness * queries @ keys[:, : length - 1].to(queries.dtype).transpose(1, 2)
        index = torch.arange(length, device=keys.device)
        now, then = index[length - steps :, None], index[: length - 1]
        band = (then < now) & (then >= now - self.window)  # [steps, L - 1]
        valid = band & (then >= self.window - filled[:, None])[:, None]  # [B, steps, L - 1]
        return scores.masked_fill(~valid, -math.inf), valid.any(-1)

    def truncate(self, keys: Tensor, tokens: Tensor, filled: Tensor, inputs: Inputs) -> Memory:
        """The last W pairs of each row, without padding."""
        steps = inputs.tokens.shape[1]
        if inputs.lengths is None:
            keys, tokens = keys[:, steps:].clone(), tokens[:, steps:].clone()  # clones let go of the whole window
            return keys, tokens, (filled + steps).clamp(max=self.window)
        columns = inputs.lengths[:, None] + torch.arange(self.window, device=keys.device)  # [B, W]
        rows = torch.arange(len(keys), device=keys.device)[:, None]
        return keys[rows, columns], tokens[rows, columns], (filled + inputs.lengths).clamp(max=self.window)


class CacheScorer(Scorer):
    """A neural scorer (or dynamic evaluation) with a cache of its hidden vectors; it gives no ranks.

    The state is (the scorer's, the memory).
    """

    def __init__(self, scorer: NeuralScorer, cache: NeuralCache, weight: float) -> None:
        self.scorer, self.cache = scorer, cache
        self.log_rest = math.log1p(-weight)
        self.log_weight = math.log(weight) if weight > 0 else -math.inf

    @property
    @override
    def independent(self) -> bool:
        return self.scorer.independent

    @torch.no_grad()
    @override
    def score(self, inputs: Inputs, targets: Tensor, state: State) -> tuple[Scores, State]:
        inner, memory = (None, None) if state is None else state
        scores, inner = self.scorer.score(inputs, targets, inner)
        assert scores.vectors is not None
        cached, seen, memory = self.cache.recall(scores.vectors, inputs, targets, memory)
        logp = self._mixed(scores.logp, cached, seen).masked_fill(targets == IGNORED, 0)
        return Scores(logp, vectors=scores.vectors), (inner, memory)

    @override
    def begin(self, rows: int, tokens: int) -> State:
        return self.scorer.begin(rows, tokens), None

    @torch.no_grad()
    @override
    def next(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        inner, memory = (None, None) if state is None else state
        log_probs, vectors, inner = self.scorer.read(tokens, inner)
        spread, seen, *after = self.cache.spread(vectors, tokens, memory, log_probs.shape[-1])
        mixed = self._mixed(log_probs, spread.log().to(log_probs.dtype), seen[:, None])
        return mixed, (inner, tuple(after))

    def _mixed(self, model: Tensor, cache: Tensor, seen: Tensor) -> Tensor:
        """Log-probabilities of the mixture; where the cache is empty, of the model."""
        mixed = torch.logaddexp(model + self.log_rest, cache + self.log_weight)
        return torch.where(seen, mixed, model)


# --- tuning ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CachedPass:
    """The outputs of the model for a window: all that a cache with any settings needs."""

    inputs: Inputs
    targets: Tensor
    logp: Tensor
    vectors: Tensor

    @classmethod
    def record(cls, scorer: NeuralScorer, batches: Iterable[Batch], device: torch.device) -> list[CachedPass]:
        """One pass of the model, window by window."""
        windows: list[CachedPass] = []
        state: State = None
        for batch in batches:
            state = None if batch.all_fresh else state
            batch = batch.to(device)
            scores, state = scorer.score(batch.inputs, batch.targets, state)
            assert scores.vectors is not None
            windows.append(cls(batch.inputs, batch.targets, scores.logp, scores.vectors))
        return windows


@torch.no_grad()
def recall_all(cache: NeuralCache, windows: Sequence[CachedPass]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Log-probabilities of all targets by model and cache [2, N], and whether the cache had any pair [N]."""
    columns = []
    memory: Memory | None = None
    for window in windows:
        logp, seen, memory = cache.recall(window.vectors, window.inputs, window.targets, memory)
        valid = window.targets != IGNORED
        columns.append(torch.stack([part[valid].double().cpu() for part in (window.logp, logp, seen)]))
    model, cached, seen = torch.cat(columns, 1).numpy()
    return np.stack([model, cached]), seen > 0


def loss_and_weight(cache: NeuralCache, windows: Sequence[CachedPass], weight: float | None) -> tuple[float, float]:
    """The loss in nats per token, and the weight: as given, or the best one."""
    logp, seen = recall_all(cache, windows)
    if weight is None:
        weight = fit_weights(logp[:, seen]).weights[1] if seen.any() else 0.0
    mixed = mixed_logp(logp, (1 - weight, weight))
    return -float(np.where(seen, mixed, logp[0]).mean()), weight


def tune_cache(
    config: CacheConfig,
    windows: Sequence[CachedPass],
    report: Callable[[CacheConfig, float], None] = lambda *_: None,
) -> tuple[CacheConfig, float]:
    """The settings with those left unset filled in, and their loss; the model is not run again.

    The window comes from a short list, the sharpness from `climb`, the weight from expectation maximisation.
    """
    tried: dict[CacheConfig, float] = {}

    def loss(window: int, sharpness: float) -> float:
        value, weight = loss_and_weight(NeuralCache(window, sharpness), windows, config.weight)
        value = math.inf if math.isnan(value) else value
        trial = config.model_copy(update={"window": window, "sharpness": sharpness, "weight": weight})
        tried[trial] = value
        report(trial, value)
        return value

    for window in WINDOWS if config.window is None else (config.window,):
        if config.sharpness is None:
            climb(lambda sharpness, window=window: loss(window, sharpness), SHARPNESSES)  # type: ignore[misc]
        else:
            loss(window, config.sharpness)
    best = min(tried, key=tried.__getitem__)
    return best, tried[best]
