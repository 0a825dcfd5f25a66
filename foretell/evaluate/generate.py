"""Text from a scorer, token by token. The state is the cache: the cost of a token does not grow with the text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from foretell.config import ConfigError
from foretell.data.encoding import Tokenizer
from foretell.evaluate.scoring import Scorer
from foretell.types import State


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn."""

    temperature: float = 1.0
    """below 1 bolder with the likely words, 0 always the likeliest"""
    top_k: int | None = None
    """only among the k likeliest"""
    top_p: float | None = None
    """only among the likeliest that make up this much probability (arXiv:1904.09751)"""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise ConfigError(f"temperature is {self.temperature}; it has to be 0 or more")
        if self.top_k is not None and self.top_k < 1:
            raise ConfigError(f"top-k is {self.top_k}; it has to be 1 or more")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ConfigError(f"top-p is {self.top_p}; it has to be above 0 and at most 1")

    def distribution(self, log_probs: Tensor) -> Tensor:
        """log_probs [B, V] -> probabilities [B, V] to draw from."""
        if self.temperature == 0:
            return torch.nn.functional.one_hot(log_probs.argmax(-1), log_probs.shape[-1]).float()
        log_probs = log_probs.float() / self.temperature
        if self.top_k is not None and self.top_k < log_probs.shape[-1]:
            least = log_probs.topk(self.top_k).values[:, -1:]
            log_probs = log_probs.masked_fill(log_probs < least, -torch.inf)
        probs = log_probs.softmax(-1)
        if self.top_p is not None and self.top_p < 1:
            ordered, order = probs.sort(descending=True)
            before = ordered.cumsum(-1) - ordered  # probability of everything likelier
            outside = torch.empty_like(before, dtype=torch.bool).scatter_(-1, order, before >= self.top_p)
            probs = probs.masked_fill(outside, 0)
            probs = probs / probs.sum(-1, keepdim=True)
        return probs


def generate(
    scorer: Scorer,
    prompt: Sequence[int],
    tokens: int,
    sampling: Sampling,
    *,
    device: torch.device,
    banned: Sequence[int] = (),
    state: State = None,
) -> Iterator[int]:
    """Up to `tokens` ids that follow the prompt, one at a time; `prompt` must not be empty, `banned` never come."""
    random = torch.Generator(device="cpu").manual_seed(sampling.seed)
    given = torch.tensor([list(prompt)], dtype=torch.int64, device=device)  # [1, T]
    for _ in range(tokens):
        log_probs, state = scorer.next(given, state)
        log_probs = log_probs.cpu()
        if banned:
            log_probs[:, list(banned)] = -torch.inf
        given = torch.multinomial(sampling.distribution(log_probs), 1, generator=random).to(device)
        yield int(given)


def write_on(
    scorer: Scorer, tokenizer: Tokenizer, prompt: str, tokens: int, sampling: Sampling, device: torch.device
) -> Iterator[str]:
    """Text that follows the prompt, piece by piece; what is not in the vocabulary never comes."""
    decoder = tokenizer.stream()
    ids = [tokenizer.boundary, *tokenizer.encode(prompt)]
    for token in ids[1:]:
        decoder.feed(token)  # what came before decides about spaces
    banned = [] if tokenizer.unknown is None else [tokenizer.unknown]
    for token in generate(scorer, ids, tokens, sampling, device=device, banned=banned):
        if piece := decoder.feed(token):
            yield piece
    if rest := decoder.finish():
        yield rest
