"""The methods of every loaded language model: scoring, generation, search."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from foretell.data.tokenizers.tokenizer import Tokenizer
from foretell.evaluate.beam import Beam, Written, search_on
from foretell.evaluate.generate import Sampling, write_on, write_texts
from foretell.evaluate.lines import Scored, score_texts
from foretell.evaluate.scoring import Scorer


class LanguageModel(ABC):
    """A tokenizer and a scorer of its tokens; abstract."""

    tokenizer: Tokenizer
    device: torch.device

    @abstractmethod
    def scorer(self, *, ranks: bool) -> Scorer:
        """The model as a scorer; a `ConfigError` where it gives text no probability."""

    def score(self, texts: Sequence[str]) -> list[Scored]:
        """The log-probability of each text, from a fresh state, in batches."""
        return score_texts(self.scorer(ranks=False), self.tokenizer, texts, self.device)

    def stream(self, prompt: str = "", tokens: int = 200, **sampling: Any) -> Iterator[str]:
        """Generate text after the prompt, piece by piece; see `Sampling` for temperature, top_k, top_p, seed."""
        return write_on(self.scorer(ranks=False), self.tokenizer, prompt, tokens, Sampling(**sampling), self.device)

    def generate(self, prompt: str = "", tokens: int = 200, **sampling: Any) -> str:
        """Generate text after the prompt; see `stream`."""
        return "".join(self.stream(prompt, tokens, **sampling))

    def texts(self, count: int, prompt: str = "", tokens: int = 200, **sampling: Any) -> list[str]:
        """Generate `count` texts after the prompt, in one batch; see `stream`."""
        return write_texts(
            self.scorer(ranks=False), self.tokenizer, prompt, tokens, Sampling(**sampling), self.device, count
        )

    def search(self, prompt: str = "", tokens: int = 200, **beam: Any) -> list[Written]:
        """Beam search for the most probable texts after the prompt, up to a boundary; see `Beam`."""
        return search_on(self.scorer(ranks=False), self.tokenizer, prompt, tokens, Beam(**beam), self.device)
