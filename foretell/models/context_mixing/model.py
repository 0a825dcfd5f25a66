"""Context mixing as a language model over bytes."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from foretell.errors import ConfigError
from foretell.models.context_mixing import contexts, selectors
from foretell.models.context_mixing.contexts import ContextChoice
from foretell.models.context_mixing.scorer import VOCABULARY, ContextMixingScorer
from foretell.models.context_mixing.selectors import MixerChoice
from foretell.models.context_mixing.tables import (
    MATCHES,
    MISFIT,
    NO_ADVICE,
    Tables,
    bits_for,
    copied,
    empty,
    packed,
    unpacked,
    with_room,
)
from foretell.models.counted import CountedConfig, CountedModel
from foretell.models.learning_scorer import LearningScorer, Reader
from foretell.types import OnProgress, no_progress

if TYPE_CHECKING:
    from foretell.models.context_mixing.coding import BitCoder

BLOCK = 2**14
"""tokens that are read at once: less than a second"""
RECENT, UNTIMED = 8, 0.05
"""blocks that a speed is measured over, and the part of a time limit before anything is left out"""
SPEED = 50_000
"""tokens a second that a time limit is expected to leave room for: larger tables take longer to find memory for"""
SAVING = 4e-9
"""seconds of a limit that saving takes, a byte of the tables"""
LEARNED_AT_LEAST = 300_000
"""tokens at the end that are learned from, rather than count more"""
MatchLength = Annotated[int, Field(ge=2, le=64)]


class ContextMixingConfig(CountedConfig):
    """Context mixing: the bits of each byte, predicted by many contexts at once, whose predictions are weighed by how
    well each did in such a place (as in PAQ8, Mahoney 2005, and lpaq). Needs `data.tokenizer.kind = "byte"`."""

    kind: Literal["context-mixing"] = "context-mixing"
    learns_as_it_reads: ClassVar[bool] = True
    contexts: Annotated[tuple[ContextChoice, ...], Field(min_length=1, max_length=32)] = contexts.ALL
    """what predictions are made from"""
    mixers: Annotated[tuple[MixerChoice, ...], Field(min_length=1, max_length=16)] = selectors.ALL
    """how their weights are chosen"""
    matches: Annotated[tuple[MatchLength, ...], Field(min_length=1, max_length=MATCHES)] = (4, 8, 20)
    """shortest lengths, in bytes, of repeated passages that are looked for"""
    table_bits: Annotated[int, Field(ge=8, le=24)] | None = None
    """log2 of the places of a context's table, 64 bytes each; absent: by the size of the text, at most 22"""

    @override
    def fit(
        self,
        tokens: NDArray[np.unsignedinteger],
        starts: NDArray[np.int64],
        boundary: int,
        vocabulary: int,
        on_progress: OnProgress = no_progress,
        seconds: float = math.inf,
    ) -> ContextMixing:
        if vocabulary != VOCABULARY:
            raise ConfigError('model.kind = "context-mixing" predicts bytes; set data.tokenizer.kind = "byte"')
        likely = min(len(tokens), int(min(seconds, len(tokens)) * SPEED))
        model = ContextMixing(self.empty(self.table_bits or bits_for(likely)))
        for learn in (model.learn, model.count):
            learn(tokens[:0])  # compiles before the clock starts
        read, place, pace = 0, 0, Pace(seconds - min(SAVING * model.tables.slots.nbytes, seconds / 3))
        while place < len(tokens) and pace.left > 0:
            on_progress(place / len(tokens))
            place += pace.excess(len(tokens) - place)  # the start of the text matters least
            part, counts = tokens[place : place + BLOCK], pace.counts(len(tokens) - place)
            (model.count if counts else model.learn)(part)
            read, place = read + len(part), place + len(part)
            pace.note(len(part), counts=counts)
        model.read = read
        return model

    def empty(self, table_bits: int) -> Tables:
        """The tables before any text."""
        mixers = [(mixer.code, mixer.rows) for mixer in self.mixers]
        return empty([context.code for context in self.contexts], mixers, self.matches, table_bits)

    @override
    def load(self, tensors: Mapping[str, Tensor], boundary: int, vocabulary: int) -> ContextMixing:
        if vocabulary != VOCABULARY:  # compiled code trusts the numbers of tokens
            raise ConfigError(MISFIT)
        return ContextMixing(unpacked({name: part.numpy() for name, part in tensors.items()}, self.empty(8)))


class Pace:
    """How to read a text within a time limit.

    The end of the text is learned from in full. The text before it is only counted, which is faster, and where even
    that takes too long, its start is left out.
    """

    def __init__(self, seconds: float):
        self.seconds, self.begin = seconds, time.perf_counter()
        self.now = self.begin
        self.recent = {counts: deque[tuple[int, float]](maxlen=RECENT) for counts in (False, True)}
        """tokens and seconds of the last blocks, those learned from and those counted"""
        self.found_memory = False

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.seconds - (self.now - self.begin)

    def note(self, tokens: int, *, counts: bool) -> None:
        """A block was read. The first has no speed: it is many times as slow, while the system finds memory."""
        before, self.now = self.now, time.perf_counter()
        if self.found_memory:
            self.recent[counts].append((tokens, max(self.now - before, 1e-9)))
        self.found_memory = True

    def speed(self, *, counts: bool) -> float:
        """Tokens a second in the last blocks; 0 before any."""
        blocks = self.recent[counts]
        return sum(tokens for tokens, _ in blocks) / sum(seconds for _, seconds in blocks) if blocks else 0.0

    def counts(self, rest: int) -> bool:
        """Whether the next block is only counted, as there is no time to learn from `rest` tokens. Each way is tried
        first."""
        if self.seconds == math.inf or not self.recent[True]:
            return self.seconds < math.inf
        speed = self.speed(counts=False)
        return 0 < speed < self.speed(counts=True) and rest > max(speed * self.left, LEARNED_AT_LEAST)

    def excess(self, rest: int) -> int:
        """Tokens to leave out of the `rest`.

        At first fewer than the time asks for, as a part that is left out stays unread.
        """
        learning, counting = self.speed(counts=False), self.speed(counts=True)
        if not learning or not counting or self.left > (1 - UNTIMED) * self.seconds:
            return 0
        left = max(self.left, 0) * (1 + 0.5 * self.left / self.seconds)
        last = min(rest, LEARNED_AT_LEAST, int(learning * left))
        return max(rest - last - int(counting * (left - last / learning)), 0)


class ContextMixing(CountedModel, Reader):
    """The tables of a model, which `compiled` reads and writes."""

    def __init__(self, tables: Tables):
        from foretell.kernels.compiling import check_compiles  # imports numba

        check_compiles("context mixing")
        self.tables = tables
        self.read: int | None = None
        """tokens of the training text that were read"""

    @override
    def report(self) -> Mapping[str, Any]:
        return {} if self.read is None else {"tokens": self.read}

    @property
    @override
    def parameters(self) -> int:
        """Number of probabilities and weights in use."""
        t = self.tables
        used = 15 * int(np.count_nonzero(t.slots[..., 0]))
        return used + sum(part.size for part in (t.by_count, t.by_history, t.by_match, t.mixers, t.final, t.refined))

    @property
    @override
    def as_context_mixing(self) -> ContextMixing:
        return self

    @override
    def tensors(self) -> dict[str, Tensor]:
        return {name: torch.from_numpy(part) for name, part in packed(self.tables).items()}

    @override
    def scorer(self, *, ranks: bool = True) -> ContextMixingScorer:
        return ContextMixingScorer(self)

    @override
    def learner(self) -> LearningScorer:
        return LearningScorer(lambda: self.copy().beside(1))

    @override
    def coder(self, *, learn: bool) -> BitCoder:
        from foretell.models.context_mixing.coding import BitCoder

        return BitCoder(self, learn=learn)

    @override
    def learn(self, tokens: NDArray[np.integer], advice: NDArray[np.float32] | None = None) -> NDArray[np.float64]:
        """Score tokens and learn from each after it was scored; returns their log-probabilities [N] in nats."""
        from foretell.models.context_mixing import compiled

        self.tables = with_room(self.tables, len(tokens) + 1)
        logp = np.zeros(len(tokens))
        compiled.read(self.tables, tokens.astype(np.uint16), logp, NO_ADVICE if advice is None else advice)
        return logp

    def count(self, tokens: NDArray[np.integer]) -> None:
        """Learn what follows each context, and nothing about how much that is worth; see `compiled.count`."""
        from foretell.models.context_mixing import compiled

        self.tables = with_room(self.tables, len(tokens) + 1)
        compiled.count(self.tables, tokens.astype(np.uint16))

    def scores_after(
        self, context: NDArray[np.int64], tokens: NDArray[np.int64], targets: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Log-probability [T] of each target after the context and the tokens up to it; below 0: no token."""
        from foretell.models.context_mixing import compiled

        model, logp = self.beside(len(context) + len(tokens) + 1), np.zeros(len(targets))
        model.follow(context)
        compiled.score(model.tables, tokens, targets, logp)
        return logp

    def distribution_after(self, context: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log-probabilities [257] of the token after a context."""
        model = self.beside(len(context) + 1)
        model.follow(context)
        return model.distribution()

    @override
    def follow(self, tokens: NDArray[np.int64]) -> None:
        """Read tokens as context only; numbers below 0 are none."""
        from foretell.models.context_mixing import compiled

        self.tables = with_room(self.tables, len(tokens) + 1)
        compiled.score(self.tables, tokens, np.full(len(tokens), -1), np.zeros(len(tokens)))

    @override
    def logp_of(self, token: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log-probability [1] of the next token [1]."""
        from foretell.models.context_mixing import compiled

        logp = np.zeros(1)
        compiled.score(self.tables, np.full(1, -1), token, logp)
        return logp

    @override
    def distribution(self) -> NDArray[np.float64]:
        """Log-probabilities [257] of the next token."""
        from foretell.models.context_mixing import compiled

        logp = np.zeros(VOCABULARY)
        compiled.distribution(self.tables, logp)
        return logp

    def copy(self) -> ContextMixing:
        """An independent copy."""
        return ContextMixing(copied(self.tables))

    def beside(self, room: int) -> ContextMixing:
        """The model at the start of another text: it shares all tables, but not the position."""
        self.tables = t = with_room(self.tables, room)
        position = t.position.copy()
        position[1:3] = position[0]
        return ContextMixing(
            t._replace(position=position, words=np.zeros_like(t.words), matches=np.zeros_like(t.matches))
        )
