"""The methods of every loaded language model: scoring, generation, search."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence

import torch

from foretell.data.tokenizers.tokenizer import Tokenizer
from foretell.evaluate.beam import Beam, Written, search_on
from foretell.evaluate.generate import Sampling, write_on, write_texts
from foretell.evaluate.lines import Scored, score_texts
from foretell.evaluate.scoring import Scorer
from foretell.results import Described


class LanguageModel(Described):
    """A tokenizer and a scorer of its tokens; abstract."""

    tokenizer: Tokenizer
    device: torch.device

    @abstractmethod
    def scorer(self, *, ranks: bool) -> Scorer:
        """The model as a scorer; a `ConfigError` where it gives text no probability."""

    def score(self, texts: Sequence[str]) -> list[Scored]:
        """The log-probability of each text, from a fresh state, in batches."""
        return score_texts(self.scorer(ranks=False), self.tokenizer, texts, self.device)

    def stream(
        self,
        prompt: str = "",
        tokens: int = 200,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> Iterator[str]:
        """Generate text after the prompt, piece by piece.

        `temperature` below 1 favours likely tokens, and at 0 takes the likeliest; `top_k` samples among the k likeliest
        tokens, `top_p` among the likeliest that together have this probability (arXiv:1904.09751).
        """
        sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
        return write_on(self.scorer(ranks=False), self.tokenizer, prompt, tokens, sampling, self.device)

    def generate(
        self,
        prompt: str = "",
        tokens: int = 200,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> str:
        """Generate text after the prompt; see `stream`."""
        return "".join(self.stream(prompt, tokens, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed))

    def texts(
        self,
        count: int,
        prompt: str = "",
        tokens: int = 200,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> list[str]:
        """Generate `count` texts after the prompt, in one batch; see `stream`."""
        sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
        return write_texts(self.scorer(ranks=False), self.tokenizer, prompt, tokens, sampling, self.device, count)

    def search(
        self, prompt: str = "", tokens: int = 200, *, width: int = 5, best: int = 1, length_penalty: float = 0.0
    ) -> list[Written]:
        """Beam search for the `best` most probable texts after the prompt, up to a boundary.

        `width` continuations are kept at each step; `length_penalty` is the exponent of ((5 + length) / 6) in the score
        (arXiv:1609.08144), and higher values favour longer texts.
        """
        beam = Beam(width=width, best=best, length_penalty=length_penalty)
        return search_on(self.scorer(ranks=False), self.tokenizer, prompt, tokens, beam, self.device)
