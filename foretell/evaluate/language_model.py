"""The methods of every loaded language model: scoring, generation, search."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

import torch

from foretell.coding.tokens import StepwiseCoder, TokenCoder
from foretell.data.tokenizers.tokenizer import Tokenizer
from foretell.evaluate import compression
from foretell.evaluate.beam import Beam, Written, search_on
from foretell.evaluate.generate import Sampling, write_on, write_texts
from foretell.evaluate.lines import Scored, score_texts
from foretell.evaluate.scoring import Scorer
from foretell.results import Described
from foretell.types import OnProgress


class LanguageModel(Described):
    """A tokenizer and a scorer of its tokens; abstract."""

    tokenizer: Tokenizer
    device: torch.device

    shares: tuple[float, ...] = ()
    """the weights of a mixture, in the order of its members; empty for a single model"""

    @property
    @abstractmethod
    def name(self) -> str:
        """The folders of the runs it consists of."""

    @property
    @abstractmethod
    def digest(self) -> bytes:
        """8 bytes that change with anything its probabilities follow from, except `shares`."""

    @property
    @abstractmethod
    def learns_as_it_reads(self) -> bool:
        """Whether it can learn from each token it has read, without settings."""

    @property
    def starts_at_lines(self) -> bool:
        """Whether it reads each line from a fresh state."""
        return False

    @abstractmethod
    def scorer(self, *, ranks: bool) -> Scorer:
        """The model as a scorer; a `ConfigError` where it gives text no probability."""

    @property
    def static(self) -> LanguageModel:
        """The model for many texts side by side, each from its start: a mixture that learns has fixed weights there."""
        return self

    @abstractmethod
    def learning(self) -> LanguageModel:
        """The model that learns from each token it has read; see `learns_as_it_reads`."""

    @abstractmethod
    def progress(self, name: str) -> AbstractContextManager[OnProgress]:
        """Shows a pass over texts while the block runs."""

    def weighted(self, weights: Sequence[float]) -> LanguageModel:
        """A mixture with other weights."""
        raise NotImplementedError

    def coder(self, *, adaptive: bool) -> TokenCoder:
        """Codes tokens by the model; `adaptive`: it learns from each it has coded."""
        model = self.learning() if adaptive else self
        ends = compression.line_ends(self.tokenizer) if self.starts_at_lines else None
        return StepwiseCoder(model.scorer(ranks=False), self.tokenizer.boundary, self.device, ends)

    def compress(self, content: bytes, *, static: bool = False, name: str = "content") -> bytes:
        """Any bytes, compressed by arithmetic coding: as many bits as `evaluate` measures, and about 50 bytes.

        A model that learns as it reads does so here, unless `static`. Only the same model on the same kind of machine
        can decompress it. Raises `ConfigError` with the `name` of the content where the tokens of the model do not
        restore it exactly; those of bytes restore any.
        """
        with self.progress("compressing with") as on_progress:
            return compression.compress(self, content, name, static=static, on_progress=on_progress)

    def decompress(self, compressed: bytes, *, name: str = "content") -> bytes:
        """Restore the content that `compress` was given; a mixture takes the weights that the file names.

        Raises `ConfigError` for a file that is damaged, or was compressed with another model or on another kind of
        machine.
        """
        with self.progress("decompressing with") as on_progress:
            return compression.decompress(self, compressed, name, on_progress=on_progress)

    def score(self, texts: Sequence[str]) -> list[Scored]:
        """The log-probability of each text, from a fresh state, in batches."""
        return score_texts(self.static.scorer(ranks=False), self.tokenizer, texts, self.device)

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
        return write_texts(
            self.static.scorer(ranks=False), self.tokenizer, prompt, tokens, sampling, self.device, count
        )

    def search(
        self, prompt: str = "", tokens: int = 200, *, width: int = 5, best: int = 1, length_penalty: float = 0.0
    ) -> list[Written]:
        """Beam search for the `best` most probable texts after the prompt, up to a boundary.

        `width` continuations are kept at each step; `length_penalty` is the exponent of ((5 + length) / 6) in the score
        (arXiv:1609.08144), and higher values favour longer texts.
        """
        beam = Beam(width=width, best=best, length_penalty=length_penalty)
        return search_on(self.static.scorer(ranks=False), self.tokenizer, prompt, tokens, beam, self.device)
