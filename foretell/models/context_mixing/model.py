"""Context mixing as a language model over bytes."""

from __future__ import annotations

import math
import sys
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
        model.learn(tokens[:0])  # compiles before the clock starts
        read, place = 0, 0
        clock = Clock(seconds)
        while place < len(tokens) and clock.left > 0:
            on_progress(place / len(tokens))
            part = tokens[place : place + BLOCK]
            model.learn(part)
            read, place = read + len(part), place + len(part)
            place = max(place, len(tokens) - clock.room_for(len(part)))  # the start of the text matters least
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


class Clock:
    """The size of text that can be read within a time limit, from the speed of the last blocks."""

    def __init__(self, seconds: float):
        self.seconds = seconds
        self.moments = deque([time.perf_counter()], maxlen=RECENT + 1)
        self.begin, self.tokens = self.moments[0], deque[int](maxlen=RECENT)

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.seconds - (self.moments[-1] - self.begin)

    def room_for(self, read: int) -> int:
        """Tokens to plan for, once another block of `read` tokens was read.

        At first more than there will be time for, as a part that is skipped stays unread. The first block does not
        count: it is many times as slow, while the system finds memory for the tables.
        """
        first = not self.tokens
        self.moments.append(time.perf_counter())
        self.tokens.append(read)
        if first:
            self.moments.popleft()
        if first or self.seconds == math.inf or self.left > (1 - UNTIMED) * self.seconds:
            return sys.maxsize
        blocks = len(self.moments) - 1
        speed = sum([*self.tokens][-blocks:]) / max(self.moments[-1] - self.moments[0], 1e-9)
        return int(speed * max(self.left, 0) * (1 + 0.5 * self.left / self.seconds))


class ContextMixing(CountedModel, Reader):
    """The tables of a model, which `compiled` reads and writes."""

    def __init__(self, tables: Tables):
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
