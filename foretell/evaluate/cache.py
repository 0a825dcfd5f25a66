"""The neural cache: words that came lately come again where the model is in a similar state.

Grave, Joulin and Usunier 2017, "Improving Neural Language Models with a Continuous Cache" (arXiv:1612.04426). The last
W pairs of a hidden vector h_i and the word w_(i+1) that followed it are remembered:

    p(w) = (1 - weight) p_model(w) + weight sum of softmax_i(sharpness h_t . h_i) over the i with w_(i+1) = w

h is the undropped output of the last layer. Before there is any pair the model has the whole weight.
B rows, T steps, D width, W window, L = W + T.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foretell.config import Config, NonNegative, Rate, Size
from foretell.evaluate.hill_climb import climb
from foretell.evaluate.mixture import fit_weights, mixed_logp
from foretell.evaluate.scoring import NeuralScorer
from foretell.types import IGNORED, Batch, Inputs, Scores, State

WINDOWS = (100, 500, 2000)
"""windows to try"""
SHARPNESSES = (0.05, 0.1, 0.2, 0.4, 0.8)
"""sharpnesses to try first; published: 1 (Penn Treebank), 0.662 (WikiText-2)"""

Memory = tuple[Tensor, Tensor, Tensor]
"""vectors [B, W, D] and the tokens they were made at [B, W], the latest last; how many of them are real [B]"""


class CacheConfig(Config):
    """The neural cache; what is absent is found on the validation split."""

    window: Size | None = None
    """how many of the last words it remembers"""
    sharpness: NonNegative | None = None
    """how much likeness counts (theta); 0: all words in the window alike"""
    weight: Rate | None = None
    """its share of the probability (lambda)"""
    tuning: Size = 20_000
    """tokens of the validation split on which what is absent is found"""


@dataclass(frozen=True)
class NeuralCache:
    """A memory of W pairs, and what it says; knows no model."""

    window: int
    sharpness: float

    def recall(
        self, vectors: Tensor, inputs: Inputs, targets: Tensor, memory: Memory | None
    ) -> tuple[Tensor, Tensor, Memory]:
        """Vectors [B, T, D] behind inputs and targets [B, T] -> the cache's log-probability of each target (-inf: not
        in it), whether there were any pairs, both [B, T], and the memory with the window in it."""
        keys, words, real = self.joined(vectors, inputs, memory)
        likeness, seen = self.compared(keys, real, vectors.shape[1])  # [B, T, L - 1]
        hits = words[:, None, 1:] == targets[:, :, None]
        among = likeness.logsumexp(-1)
        logp = likeness.masked_fill(~hits, -math.inf).logsumexp(-1) - among.masked_fill(~seen, 0)
        return logp.double(), seen, self.kept(keys, words, real, inputs)

    def spread(self, vectors: Tensor, tokens: Tensor, memory: Memory | None, vocabulary: int) -> tuple[Tensor, ...]:
        """The same for every word after the last token: probabilities [B, V], whether there were pairs [B], memory."""
        inputs = Inputs(tokens=tokens)
        keys, words, real = self.joined(vectors, inputs, memory)
        likeness, seen = self.compared(keys, real, 1)  # [B, 1, L - 1]
        shares = likeness[:, 0].softmax(-1).masked_fill(~seen, 0)
        spread = shares.new_zeros(len(tokens), vocabulary).scatter_add_(1, words[:, 1:], shares)
        return spread, seen[:, 0], *self.kept(keys, words, real, inputs)

    def joined(self, vectors: Tensor, inputs: Inputs, memory: Memory | None) -> Memory:
        """Vectors [B, L, D] and tokens [B, L] of the memory with those of a window behind; how many came before [B]."""
        rows, width = len(vectors), vectors.shape[-1]
        if memory is None:
            before = vectors.new_zeros(rows, self.window, width)
            memory = before, inputs.tokens.new_zeros(rows, self.window), inputs.tokens.new_zeros(rows)
        old, said, real = memory
        if inputs.fresh is not None:
            real = real.masked_fill(inputs.fresh, 0)
        return torch.cat([old, vectors], 1), torch.cat([said, inputs.tokens], 1), real

    def compared(self, keys: Tensor, real: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """Of the last `steps` vectors each to the W before it: sharpness * h_t . h_i [B, steps, L - 1], -inf outside
        the band; and whether there is anything in it [B, steps]. Column i stands for the word after vector i."""
        length = keys.shape[1]
        queries = keys[:, length - steps :].to(torch.promote_types(keys.dtype, torch.float32))
        likeness = self.sharpness * queries @ keys[:, : length - 1].to(queries.dtype).transpose(1, 2)
        place = torch.arange(length, device=keys.device)
        now, then = place[length - steps :, None], place[: length - 1]
        band = (then < now) & (then >= now - self.window)  # [steps, L - 1]
        inside = band & (then >= self.window - real[:, None])[:, None]  # [B, steps, L - 1]
        return likeness.masked_fill(~inside, -math.inf), inside.any(-1)

    def kept(self, keys: Tensor, words: Tensor, real: Tensor, inputs: Inputs) -> Memory:
        """The last W of each row, padding left out."""
        steps = inputs.tokens.shape[1]
        if inputs.lengths is None:
            keys, words = keys[:, steps:].clone(), words[:, steps:].clone()  # or the whole window would stay in memory
            return keys, words, (real + steps).clamp(max=self.window)
        place = inputs.lengths[:, None] + torch.arange(self.window, device=keys.device)  # [B, W]
        rows = torch.arange(len(keys), device=keys.device)[:, None]
        return keys[rows, place], words[rows, place], (real + inputs.lengths).clamp(max=self.window)


class CacheScorer:
    """A neural scorer (or dynamic evaluation) and a cache of its hidden vectors; it tells no ranks.

    The state is (the scorer's, the memory).
    """

    def __init__(self, scorer: NeuralScorer, cache: NeuralCache, weight: float) -> None:
        self.scorer, self.cache = scorer, cache
        self.independent = scorer.independent
        self.log_rest = math.log1p(-weight)
        self.log_weight = math.log(weight) if weight > 0 else -math.inf

    @torch.no_grad()
    def score(self, inputs: Inputs, targets: Tensor, state: State) -> tuple[Scores, State]:
        """See `Scorer.score`."""
        inner, memory = (None, None) if state is None else state
        scores, inner = self.scorer.score(inputs, targets, inner)
        assert scores.vectors is not None
        recalled, seen, memory = self.cache.recall(scores.vectors, inputs, targets, memory)
        logp = self._mixed(scores.logp, recalled, seen).masked_fill(targets == IGNORED, 0)
        return Scores(logp, vectors=scores.vectors), (inner, memory)

    def begin(self, rows: int, tokens: int) -> State:
        """See `Scorer.begin`."""
        return self.scorer.begin(rows, tokens), None

    @torch.no_grad()
    def next(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """See `Scorer.next`."""
        inner, memory = (None, None) if state is None else state
        log_probs, vectors, inner = self.scorer.read(tokens, inner)
        spread, seen, *after = self.cache.spread(vectors, tokens, memory, log_probs.shape[-1])
        mixed = self._mixed(log_probs, spread.log().to(log_probs.dtype), seen[:, None])
        return mixed, (inner, tuple(after))

    def _mixed(self, model: Tensor, cache: Tensor, seen: Tensor) -> Tensor:
        """Log-probabilities of both in one; where nothing was seen, those of the model."""
        mixed = torch.logaddexp(model + self.log_rest, cache + self.log_weight)
        return torch.where(seen, mixed, model)


# --- tuning ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CachedPass:
    """A window as the model read it: all that a cache of any settings has to know."""

    inputs: Inputs
    targets: Tensor
    logp: Tensor
    vectors: Tensor

    @classmethod
    def record(cls, scorer: NeuralScorer, batches: Iterable[Batch], device: torch.device) -> list[CachedPass]:
        """One pass of the model."""
        heard: list[CachedPass] = []
        state: State = None
        for batch in batches:
            state = None if batch.all_fresh else state
            batch = batch.to(device)
            scores, state = scorer.score(batch.inputs, batch.targets, state)
            assert scores.vectors is not None
            heard.append(cls(batch.inputs, batch.targets, scores.logp, scores.vectors))
        return heard


@torch.no_grad()
def recalled(cache: NeuralCache, heard: Sequence[CachedPass]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """[2, N] log-probabilities of all targets by the model and by the cache, and [N] whether there were pairs."""
    columns = []
    memory: Memory | None = None
    for window in heard:
        logp, seen, memory = cache.recall(window.vectors, window.inputs, window.targets, memory)
        valid = window.targets != IGNORED
        columns.append(torch.stack([part[valid].double().cpu() for part in (window.logp, logp, seen)]))
    model, cached, seen = torch.cat(columns, 1).numpy()
    return np.stack([model, cached]), seen > 0


def fitted(cache: NeuralCache, heard: Sequence[CachedPass], weight: float | None) -> tuple[float, float]:
    """The loss in nats per token with the weight given, or the best one, and that weight."""
    logp, seen = recalled(cache, heard)
    if weight is None:
        weight = fit_weights(logp[:, seen]).weights[1] if seen.any() else 0.0
    mixed = mixed_logp(logp, (1 - weight, weight))
    return -float(np.where(seen, mixed, logp[0]).mean()), weight


def tune_cache(
    config: CacheConfig, heard: Sequence[CachedPass], tell: Callable[[CacheConfig, float], None] = lambda *_: None
) -> tuple[CacheConfig, float]:
    """The settings with those that are absent filled in, and their loss; the model itself is not run again.

    The window from a short list, the sharpness by `climb`, the weight by expectation maximisation.
    """
    tried: dict[CacheConfig, float] = {}

    def loss(window: int, sharpness: float) -> float:
        found, weight = fitted(NeuralCache(window, sharpness), heard, config.weight)
        found = math.inf if math.isnan(found) else found
        trial = config.model_copy(update={"window": window, "sharpness": sharpness, "weight": weight})
        tried[trial] = found
        tell(trial, found)
        return found

    for window in WINDOWS if config.window is None else (config.window,):
        if config.sharpness is None:
            climb(lambda sharpness, window=window: loss(window, sharpness), SHARPNESSES)  # type: ignore[misc]
        else:
            loss(window, config.sharpness)
    best = min(tried, key=tried.__getitem__)
    return best, tried[best]
