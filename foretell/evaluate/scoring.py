"""Scorers: models that give text a probability, and the one way to measure them.

B rows, T time steps, D width, V vocabulary, N tokens of a text.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from foretell.data.batches.streams import Windows
from foretell.data.store.store import Split
from foretell.errors import ConfigError
from foretell.kernels.cross_entropy import CHUNK
from foretell.models.backbone import Backbone
from foretell.nn.heads import Head
from foretell.types import IGNORED, Batch, Inputs, OnProgress, Opening, Scores, State, no_progress


class Scorer(Protocol):
    """Gives text a probability: n-gram and neural models, and the mixtures and adaptations that wrap them."""

    @property
    def independent(self) -> bool:
        """Whether rows of a batch do not affect each other, so that many texts can be scored at once."""

    def begin(self, rows: int, tokens: int) -> State:
        """A fresh state for rows that will read `tokens` tokens; None is one too."""

    def score(self, inputs: Inputs, targets: Tensor, state: State) -> tuple[Scores, State]:
        """Log-probabilities of targets [B, T] given inputs [B, T], and the new state."""

    def next(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Log-probabilities [B, V] of the token after tokens [B, T], and the new state."""


R = TypeVar("R")
MEASURABLE = 0.1
"""seconds of computing from which an expected time follows"""
ABOVE_ONE = 1e-3
"""how far rounding may take a log-probability above 0; ARPA files often have four digits"""


class CheckedScorer(Scorer):
    """A scorer whose log-probabilities are checked: one above 0 is a `ConfigError` that names the model."""

    def __init__(self, scorer: Scorer, name: str):
        self.scorer, self.name = scorer, name

    @property
    @override
    def independent(self) -> bool:
        return self.scorer.independent

    @override
    def begin(self, rows: int, tokens: int) -> State:
        return self.scorer.begin(rows, tokens)

    @override
    def score(self, inputs: Inputs, targets: Tensor, state: State) -> tuple[Scores, State]:
        scores, after = self.scorer.score(inputs, targets, state)
        self._check(scores.logp)
        return scores, after

    @override
    def next(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        logp, after = self.scorer.next(tokens, state)
        self._check(logp)
        return logp, after

    def _check(self, logp: Tensor) -> None:
        if logp.numel() and (highest := float(logp.max())) > ABOVE_ONE:
            raise ConfigError(
                f"{self.name} gives a token a probability above 1 (log p = {highest:.4g}), so the "
                "model is invalid; if it was imported from an ARPA file, check the sign of its back-off weights"
            )


class NeuralScorer(Scorer):
    """A backbone and a head as a scorer, in evaluation mode and without gradients."""

    independent = True

    def __init__(
        self,
        backbone: Backbone,
        head: Head,
        *,
        ranks: bool = True,
        chunk: int = CHUNK,
        opening: Opening | None = None,
    ):
        """`opening`: that of the tokenizer's special tokens, see `Specials`."""
        self.backbone, self.head, self.ranks, self.chunk, self.opening = backbone, head, ranks, chunk, opening

    @torch.no_grad()
    @override
    def score(self, inputs: Inputs, targets: Tensor, state: State) -> tuple[Scores, State]:
        hidden = self.backbone(inputs.opened(self.opening), state)
        vectors, flat = hidden.last.flatten(0, 1), targets.flatten()
        valid = flat != IGNORED
        where = valid.nonzero()[:, 0]
        logp = torch.zeros(flat.shape, dtype=torch.float64, device=flat.device)
        rank = torch.zeros_like(flat) if self.ranks else None
        rows = max(1, self.chunk // self.backbone.embedding.vocabulary)
        for part in where.split(rows):
            if rank is None:
                logp[part] = -self.head.nll(vectors[part], flat[part]).double()
                continue
            log_probs = self.head.log_probs(vectors[part])  # [n, V]
            own = log_probs.gather(1, flat[part, None])
            logp[part] = own[:, 0].double()
            rank[part] = (log_probs > own).sum(1)
        shape = targets.shape
        return Scores(logp.view(shape), None if rank is None else rank.view(shape), hidden.last), hidden.state

    @torch.no_grad()
    def distributions(self, inputs: Inputs, targets: Tensor, state: State) -> tuple[Tensor, State]:
        """Log-probabilities [B, T, V] of every token in the place of the targets [B, T], and the new state."""
        hidden = self.backbone(inputs.opened(self.opening), state)
        return self.head.log_probs(hidden.last), hidden.state

    @override
    def begin(self, rows: int, tokens: int) -> State:
        return self.backbone.initial_state(rows, tokens)

    @override
    def next(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        log_probs, _, state = self.read(tokens, state)
        return log_probs, state

    @torch.no_grad()
    def read(self, tokens: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        """Return log-probabilities as `next` [B, V], hidden vectors of all tokens [B, T, D], and the new state."""
        hidden = self.backbone(Inputs(tokens=tokens).opened(self.opening), state)
        return self.head.log_probs(hidden.last[:, -1:])[:, 0], hidden.last, hidden.state


@dataclass(frozen=True)
class Totals:
    """Sums over all tokens of a text."""

    nats: float
    tokens: int
    top1: int | None
    top5: int | None
    seconds: float

    @property
    def loss(self) -> float:
        """nats per token"""
        return self.nats / self.tokens


def reading(
    read: Callable[[Inputs, Tensor, State], tuple[R, State]],
    windows: Sequence[Batch],
    device: torch.device,
    on_progress: OnProgress = no_progress,
) -> Iterator[tuple[int, Tensor, R]]:
    """One pass over a text with the state carried on: each window's number, which of its places have a target [B, T],
    and what `read` returns for its inputs and targets."""
    state: State = None
    for k in range(len(windows)):
        on_progress(k / len(windows))
        batch = windows[k]
        state = None if batch.all_fresh else state
        valid = batch.targets != IGNORED
        batch = batch.to(device)
        found, state = read(batch.inputs, batch.targets, state)
        yield k, valid, found


def scored(
    scorer: Scorer, windows: Sequence[Batch], device: torch.device, on_progress: OnProgress = no_progress
) -> Iterator[tuple[int, Tensor, Scores]]:
    """`reading` by a scorer: the scores of each window."""
    return reading(scorer.score, windows, device, on_progress)


def total(
    scorer: Scorer, windows: Sequence[Batch], device: torch.device, on_progress: OnProgress = no_progress
) -> Totals:
    """One pass over a text; every token counts once, whatever the batch size."""
    begin = time.perf_counter()
    nats, tokens, top1, top5 = 0.0, 0, 0, 0
    ranked = True
    for _, valid, scores in scored(scorer, windows, device, on_progress):
        tokens += int(valid.sum())
        nats -= float(scores.logp.sum())
        if scores.rank is None:
            ranked = False
            continue
        rank = scores.rank.cpu()[valid]
        top1 += int((rank < 1).sum())
        top5 += int((rank < 5).sum())
    seconds = time.perf_counter() - begin
    return Totals(nats, tokens, top1 if ranked else None, top5 if ranked else None, seconds)


def expected_seconds(scorer: Scorer, windows: Windows, device: torch.device) -> float:
    """Expected time of a pass over the text, from as many rows as take a measurable time: a second at most, where the
    model allows it."""
    middle, rows = windows[len(windows) // 2], 1
    timed(scorer, middle, rows, device)  # the first call is slow
    seconds, tokens = timed(scorer, middle, rows, device)
    while seconds < MEASURABLE and rows < len(middle.targets):
        rows *= 2
        seconds, tokens = timed(scorer, middle, rows, device)
    for share in (0.2, 0.4, 0.6, 0.8):
        if seconds < 4 * MEASURABLE:
            further = timed(scorer, windows[int(share * len(windows))], rows, device)
            seconds, tokens = seconds + further[0], tokens + further[1]
    return seconds / max(tokens, 1) * len(windows.text.tokens)


def timed(scorer: Scorer, batch: Batch, rows: int, device: torch.device) -> tuple[float, int]:
    """The time of scoring the first rows of a batch from fresh states, and how many tokens they predict."""
    begin, part = time.perf_counter(), batch.rows(slice(0, rows)).to(device)
    scores, _ = scorer.score(part.inputs, part.targets, None)
    float(scores.logp.sum())  # waits for the device
    return time.perf_counter() - begin, int((part.targets != IGNORED).sum())


@dataclass(frozen=True)
class TokenScores:
    """Scores of each token, in the order of the text: 16 bytes of memory per token."""

    logp: NDArray[np.float64]
    """[N] natural logarithm of each token's probability"""
    rank: NDArray[np.int64] | None
    """[N] how many tokens are more probable; None where the scorer gives no ranks"""
    seconds: float

    @property
    def totals(self) -> Totals:
        """The sums."""
        top1, top5 = (None if self.rank is None else int((self.rank < n).sum()) for n in (1, 5))
        return Totals(-float(self.logp.sum()), len(self.logp), top1, top5, self.seconds)


def score_tokens(
    scorer: Scorer, windows: Windows, device: torch.device, on_progress: OnProgress = no_progress
) -> TokenScores:
    """One pass over a text: the scores of every token."""
    begin = time.perf_counter()
    logp = np.full(len(windows.text.tokens), np.nan)
    ranks: NDArray[np.int64] | None = np.zeros(len(logp), np.int64)
    for k, valid, scores in scored(scorer, windows, device, on_progress):
        at = windows.target_positions(k)[valid.numpy()]
        logp[at] = scores.logp.cpu().numpy()[valid.numpy()]
        if ranks is None or scores.rank is None:
            ranks = None
        else:
            ranks[at] = scores.rank.cpu().numpy()[valid.numpy()]
    return TokenScores(logp, ranks, time.perf_counter() - begin)


def check_loss(loss: float, name: str, *, zeros: bool = False) -> None:
    """Raise `ConfigError` where a loss is NaN or infinite.

    With `zeros`, as for a member of a mixture, a token may have probability 0.
    """
    if math.isnan(loss):
        raise ConfigError(
            f"{name} gives probabilities that are not numbers (NaN); check it with foretell doctor, and "
            "lower the learning rate of training or adaptation"
        )
    if math.isinf(loss) and not zeros:
        raise ConfigError(
            f"{name} gives some token of this text probability 0, so its loss is infinite; mix in a model that covers "
            "all tokens"
        )


def metrics(totals: Totals, text: Split, share: float = 1.0) -> dict[str, Any]:
    """The metrics of every text; `loss` is in nats per token.

    Where only a share of the tokens was scored, sizes and losses of the whole text are divided in proportion.
    """
    bits = totals.nats / math.log(2)
    return {
        "loss": totals.loss,
        "perplexity": perplexity(totals.loss),
        "bits_per_character": bits / (text.counts.characters * share),
        "bits_per_byte": bits / (text.counts.bytes * share),
        "lossy": text.lossy,
        "lost": text.lost,
        "unknown_rate": text.counts.unknown * share / totals.tokens,
        "top1": None if totals.top1 is None else totals.top1 / totals.tokens,
        "top5": None if totals.top5 is None else totals.top5 / totals.tokens,
        "tokens": totals.tokens,
        "seconds": totals.seconds,
        "tokens_per_second": totals.tokens / totals.seconds,
    }


def perplexity(loss: float) -> float:
    """exp(loss), or infinity where it would overflow."""
    return math.inf if loss >= 700 else math.exp(loss)
