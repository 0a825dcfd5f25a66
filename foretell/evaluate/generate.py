"""Sampling text from a scorer, token by token.

The state carries all that was read, so a token of a recurrent model or one with a cache costs the same at any length.
B rows, T time steps, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from foretell.data.tokenizers.tokenizer import Tokenizer
from foretell.errors import ConfigError
from foretell.evaluate.scoring import Scorer
from foretell.types import State


@dataclass(frozen=True)
class Sampling:
    """How the next token is sampled."""

    temperature: float = 1.0
    """below 1 favours likely tokens; 0: always the likeliest"""
    top_k: int | None = None
    """sample among the k likeliest tokens"""
    top_p: float | None = None
    """sample among the likeliest tokens that together have this probability (arXiv:1904.09751)"""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.temperature != 0 and not 1e-3 <= self.temperature <= 1e3:
            raise ConfigError(f"temperature is {self.temperature}; it must be 0, or from 0.001 to 1000")
        if self.top_k is not None and self.top_k < 1:
            raise ConfigError(f"top-k is {self.top_k}; it must be 1 or more")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ConfigError(f"top-p is {self.top_p}; it must be above 0 and at most 1")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed is {self.seed}; it must be 0 or more, and less than 2**63")

    def distribution(self, log_probs: Tensor) -> Tensor:
        """log_probs [B, V] -> probabilities [B, V] to sample from."""
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

    def draw(self, log_probs: Tensor, random: torch.Generator) -> Tensor:
        """log_probs [B, V] -> one token per row [B]."""
        if self.temperature == 0:
            return log_probs.argmax(-1)
        return torch.multinomial(self.distribution(log_probs), 1, generator=random)[:, 0]


def generate(
    scorer: Scorer,
    prompts: Tensor,
    tokens: int,
    sampling: Sampling,
    *,
    banned: Sequence[int] = (),
    state: State = None,
) -> Iterator[list[int]]:
    """Yield the next token of each of B texts, `tokens` times; `prompts` [B, T > 0], `banned` tokens are excluded."""
    random = torch.Generator(device="cpu").manual_seed(sampling.seed)
    inputs = prompts
    if state is None:
        with torch.inference_mode():
            state = scorer.begin(len(prompts), prompts.shape[1] + tokens - 1)  # the last is not read
    for _ in range(tokens):
        with torch.inference_mode():
            log_probs, state = scorer.next(inputs, state)
            log_probs = log_probs.cpu()
            if banned:
                log_probs[:, list(banned)] = -torch.inf
            drawn = sampling.draw(log_probs, random)  # [B]
            inputs = drawn[:, None].to(prompts.device)
        yield drawn.tolist()


def write(
    scorer: Scorer,
    tokenizer: Tokenizer,
    prompt: str,
    tokens: int,
    sampling: Sampling,
    device: torch.device,
    count: int = 1,
) -> Iterator[list[int]]:
    """Generate `count` rows after a text; the unknown token is excluded."""
    prompts = torch.tensor([[tokenizer.boundary, *tokenizer.encode(prompt)]] * count, device=device)
    banned = [] if tokenizer.unknown is None else [tokenizer.unknown]
    return generate(scorer, prompts, tokens, sampling, banned=banned)


def decoded(tokenizer: Tokenizer, prompt: str, tokens: Iterable[int]) -> Iterator[str]:
    """Decode tokens that follow a text, piece by piece."""
    decoder = tokenizer.stream()
    for token in tokenizer.encode(prompt):
        decoder.feed(token)  # spaces depend on the text before
    for token in tokens:
        if piece := decoder.feed(token):
            yield piece
    if rest := decoder.finish():
        yield rest


def write_on(
    scorer: Scorer, tokenizer: Tokenizer, prompt: str, tokens: int, sampling: Sampling, device: torch.device
) -> Iterator[str]:
    """Generate text after the prompt, piece by piece."""
    written = write(scorer, tokenizer, prompt, tokens, sampling, device)
    return decoded(tokenizer, prompt, (row[0] for row in written))


def write_texts(
    scorer: Scorer,
    tokenizer: Tokenizer,
    prompt: str,
    tokens: int,
    sampling: Sampling,
    device: torch.device,
    count: int,
) -> list[str]:
    """Generate `count` texts after the prompt, in one batch."""
    columns = zip(*write(scorer, tokenizer, prompt, tokens, sampling, device, count), strict=True)
    return ["".join(decoded(tokenizer, prompt, column)) for column in columns]
