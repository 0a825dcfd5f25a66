"""A model over tokens as a model over bytes, so that runs with different tokenizers can be mixed.

The probability of some bytes is that of all token sequences that begin with them: of all ways to cut them into tokens,
the last of which may reach beyond (Vieira et al. 2024, "From language models over tokens to language models over
characters", arXiv:2412.03719). `Cut` is one of these ways. Cuts that have less than `KEPT` of the probability of the
text so far are dropped. What remains is normalised, so it is a distribution whatever was dropped.

V vocabulary of the model, R of its tokens in the order of their bytes, T time steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from foretell.data.tokenizers.tokenizer import Tokenizer
from foretell.errors import ConfigError
from foretell.evaluate.completion import Spelled
from foretell.evaluate.scoring import Scorer
from foretell.types import IGNORED, Inputs, Scores, State, join_rows, select_rows

Floats = NDArray[np.float64]
KEPT = 1e-4
"""smallest share of a cut"""
MOST = 16
"""cuts at most"""
FLOOR = 1e-6
"""share of the uniform distribution: no byte is impossible, though the ways to write it may have been dropped"""
BOUNDARY, FIRST_BYTE, BYTES = 0, 1, 257
"""byte b is token b + 1, as in the byte tokenizer"""


class Cut(NamedTuple):
    """A way to cut the bytes so far into tokens, the last of which is not complete."""

    mass: float
    """probability of its complete tokens, in units that all cuts share"""
    p: Floats
    """[R] of the last token"""
    end: float
    """probability that the document ends after the complete tokens"""
    low: int
    high: int
    """the range of tokens that begin with the bytes after the complete ones"""
    depth: int
    """number of these bytes"""
    begins: bool
    """whether the last complete token is the boundary"""
    state: State
    """of the model after the complete tokens, one row"""

    @property
    def share(self) -> float:
        """Probability of the complete tokens and the bytes after them."""
        return self.mass * float(self.p[self.low : self.high].sum())


class Sorted:
    """The tokens of a vocabulary in the order of their bytes; those that spell nothing are left out."""

    def __init__(self, spelled: Sequence[bytes]):
        self.order = np.array(sorted((t for t, text in enumerate(spelled) if text), key=spelled.__getitem__), np.int64)
        """[R] tokens"""
        texts = [spelled[token] for token in self.order]
        self.bytes = np.full((len(texts), 1 + max(map(len, texts))), -1, np.int16)
        """[R, L + 1] of each token, then -1"""
        for row, text in zip(self.bytes, texts, strict=True):
            row[: len(text)] = np.frombuffer(text, np.uint8)

    def narrowed(self, low: int, high: int, depth: int, byte: int) -> tuple[int, int]:
        """The part of a range of tokens whose next byte is this one."""
        first, last = np.searchsorted(self.bytes[low:high, depth], [byte, byte + 1])
        return low + int(first), low + int(last)

    def complete(self, low: int, high: int, depth: int) -> int:
        """Number of tokens at the start of a range that have no more bytes."""
        return int(np.searchsorted(self.bytes[low:high, depth], 0))

    def longest(self, text: bytes) -> list[int]:
        """Places of tokens that spell a text, each the longest that fits; those of a text that none fits are []."""
        found = []
        while text:
            low, high, best = 0, len(self.order), -1
            for depth, byte in enumerate(text):
                low, high = self.narrowed(low, high, depth, byte)
                if low == high:
                    break
                best = low if self.complete(low, high, depth + 1) else best
            if best < 0:
                return []
            found.append(best)
            text = text[int((self.bytes[best] >= 0).sum()) :]
        return found


class ByteScorer(Scorer):
    """A scorer of tokens as a scorer of bytes: 257 tokens, those of the byte tokenizer. One text at a time.

    The state is a tuple of cuts, as tensors. Raises `ConfigError` where tokens do not restore every text.
    """

    independent = False

    def __init__(self, scorer: Scorer, tokenizer: Tokenizer, *, kept: float = KEPT, most: int = MOST):
        self.scorer, self.boundary, self.kept, self.most = scorer, tokenizer.boundary, kept, most
        if tokenizer.unknown is not None:
            raise ConfigError(f"{tokenizer.kind} tokens with one for all that is unknown do not spell every text")
        spelled = Spelled(tokenizer)
        self.sorted = [Sorted(spelled.after(before)[0]) for before in (-1, tokenizer.boundary)]

    @override
    def begin(self, rows: int, tokens: int) -> State:
        return None

    @override
    def score(self, inputs: Inputs, targets: Tensor, state: State) -> tuple[Scores, State]:
        logp, cuts = torch.zeros(targets.shape, dtype=torch.float64), list[Cut]()
        for t, cuts in self._read(inputs, targets, state):
            logp[0, t] = self._distribution(cuts)[targets[0, t]]
        return Scores(logp.to(targets.device)), as_state(cuts)

    def distributions(self, inputs: Inputs, targets: Tensor, state: State) -> tuple[Tensor, State]:
        """Log-probabilities [1, T, 257] of every token in the place of the targets [1, T]; zeros where a target is
        ignored."""
        logp, cuts = torch.zeros((*targets.shape, BYTES), dtype=torch.float64), list[Cut]()
        for t, cuts in self._read(inputs, targets, state):
            logp[0, t] = torch.from_numpy(self._distribution(cuts))
        return logp.to(targets.device), as_state(cuts)

    @override
    def next(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        cuts = self._cuts(tokens, state)
        for token in tokens[0].tolist():
            cuts = self._after(cuts, token, tokens.device)
        return torch.from_numpy(self._distribution(cuts)[None]).to(tokens.device), as_state(cuts)

    def _read(self, inputs: Inputs, targets: Tensor, state: State) -> Iterator[tuple[int, list[Cut]]]:
        """For each target: its time step, and the cuts before it."""
        fresh = inputs.fresh is not None and bool(inputs.fresh.all())
        cuts = self._cuts(inputs.tokens, None if fresh else state)
        for t, token in enumerate(inputs.tokens[0].tolist()):
            if targets[0, t] != IGNORED:
                cuts = self._after(cuts, token, targets.device)
                yield t, cuts

    def _cuts(self, tokens: Tensor, state: State) -> list[Cut]:
        if len(tokens) != 1:
            raise ConfigError("bytes of a model over tokens are read one text at a time; set columns to 1")
        return of_state(state)

    def _distribution(self, cuts: Sequence[Cut]) -> Floats:
        """Log-probabilities [257] of the next byte."""
        mass = np.zeros(BYTES)
        for cut in cuts:
            column = self.sorted[cut.begins].bytes[cut.low : cut.high, cut.depth]
            mass += cut.mass * np.bincount(column + FIRST_BYTE, cut.p[cut.low : cut.high], BYTES)
            mass[BOUNDARY] += 0 if cut.depth else cut.mass * cut.end
        total = mass.sum()
        found: Floats = (
            np.log((1 - FLOOR) * mass / total + FLOOR / BYTES) if total > 0 else np.full(BYTES, -np.log(BYTES))
        )
        return found

    def _after(self, cuts: Sequence[Cut], token: int, device: torch.device) -> list[Cut]:
        """The cuts after one more byte, or the end of a document."""
        if token == BOUNDARY or not cuts:
            between = [cut for cut in cuts if not cut.depth]
            last = max(between, key=lambda cut: cut.mass, default=None)
            if last is not None and last.begins:
                return [last]
            state = None if last is None else last.state
            return self._extended([(1.0, self.boundary, state)], device)
        byte, longer = token - FIRST_BYTE, []
        complete: list[tuple[float, int, State]] = []
        for cut in cuts:
            tokens = self.sorted[cut.begins]
            low, high = tokens.narrowed(cut.low, cut.high, cut.depth, byte)
            ends = low + tokens.complete(low, high, cut.depth + 1)
            complete += [(cut.mass * float(cut.p[at]), int(tokens.order[at]), cut.state) for at in range(low, ends)]
            longer.append(cut._replace(low=ends, high=high, depth=cut.depth + 1))
        shares = [cut.share for cut in longer] + [mass for mass, _, _ in complete]
        total = sum(shares)
        if total == 0:
            return self._again(cuts, byte, device)
        least = max(self.kept * total, sorted(shares)[-self.most :][0])
        kept = [share > 0 and share >= least for share in shares]
        longer = [cut._replace(mass=cut.mass / total) for cut, keep in zip(longer, kept, strict=False) if keep]
        complete = [one for one, keep in zip(complete, kept[len(cuts) :], strict=True) if keep]
        return longer + self._extended([(mass / total, token, state) for mass, token, state in complete], device)

    def _extended(self, complete: Sequence[tuple[float, int, State]], device: torch.device) -> list[Cut]:
        """The cuts with one more complete token."""
        if not complete:
            return []
        tokens = torch.tensor([[token] for _, token, _ in complete], device=device)
        states = [state for _, _, state in complete]
        logp, after = self.scorer.next(tokens, None if states[0] is None else join_rows(states))
        p = logp.double().exp().cpu().numpy()
        rows = zip(complete, p, strict=True)
        return [
            self._cut(mass, token, row, select_rows(after, slice(k, k + 1)))
            for k, ((mass, token, _), row) in enumerate(rows)
        ]

    def _cut(self, mass: float, token: int, p: Floats, state: State) -> Cut:
        """A cut that ends with this token."""
        begins = token == self.boundary
        order = self.sorted[begins].order
        return Cut(mass, p[order], float(p[self.boundary]), 0, len(order), 0, begins, state)

    def _again(self, cuts: Sequence[Cut], byte: int, device: torch.device) -> list[Cut]:
        """The bytes of the likeliest cut and one more, cut into the longest tokens: all other ways were dropped."""
        likeliest = max(cuts, key=lambda cut: cut.mass)
        tokens = self.sorted[likeliest.begins]
        begun = tokens.bytes[likeliest.low, : likeliest.depth].astype(np.uint8).tobytes() if likeliest.depth else b""
        found, state = list[Cut](), likeliest.state
        for at in tokens.longest(begun + bytes([byte])):
            found = self._extended([(1.0, int(tokens.order[at]), state)], device)
            state = found[0].state
        return found or self._extended([(1.0, self.boundary, None)], device)


def as_state(cuts: Sequence[Cut]) -> State:
    """Cuts as tensors of one row: numbers, places, probabilities, and the state of the model."""
    return tuple(
        (
            torch.tensor([[cut.mass, cut.end]], dtype=torch.float64),
            torch.tensor([[cut.low, cut.high, cut.depth, int(cut.begins)]]),
            torch.from_numpy(cut.p[None]),
            cut.state,
        )
        for cut in cuts
    )


def of_state(state: State) -> list[Cut]:
    """The cuts of a state; none before any token."""
    found = []
    for mass, place, p, inner in cast(tuple[tuple[Tensor, Tensor, Tensor, State], ...], state or ()):
        low, high, depth, begins = place[0].tolist()
        found.append(Cut(float(mass[0, 0]), p[0].numpy(), float(mass[0, 1]), low, high, depth, bool(begins), inner))
    return found
