"""A model over tokens as a model over bytes, so that runs with different tokenizers can be mixed.

The probability of some bytes is that of all token sequences that begin with them: of all ways to cut them into tokens,
the last of which may reach beyond (Vieira et al. 2024, "From language models over tokens to language models over
characters", arXiv:2412.03719). `Cut` is one of these ways. Cuts that have less than `KEPT` of the probability of the
text so far are dropped, and those beyond the likeliest `MOST`. What remains is normalised, so it is a distribution
whatever was dropped.

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
from foretell.types import IGNORED, Inputs, Scores, State, join_rows, map_state, select_rows

Floats = NDArray[np.float64]
KEPT = 1e-5
"""smallest share of a cut"""
MOST = 32
"""cuts at most: the likeliest, where more have that share"""
FLOOR = 1e-5
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
    """A scorer of tokens as a scorer of bytes: 257 tokens, those of the byte tokenizer.

    The state are the cuts of each row; see `as_state`. Raises `ConfigError` where tokens do not restore every text.
    """

    independent = True

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
        logp, after = torch.zeros(targets.shape, dtype=torch.float64), list[State]()
        for row, read in enumerate(self._rows(inputs, targets, state)):
            cuts = list[Cut]()
            for t, cuts in read:
                logp[row, t] = self._distribution(cuts)[targets[row, t]]
            after.append(as_state(cuts or self._begun(None, targets.device)))
        return Scores(logp.to(targets.device)), join_rows(after)

    def distributions(self, inputs: Inputs, targets: Tensor, state: State) -> tuple[Tensor, State]:
        """Log-probabilities [B, T, 257] of every token in the place of the targets [B, T]; zeros where a target is
        ignored."""
        logp, after = torch.zeros((*targets.shape, BYTES), dtype=torch.float64), list[State]()
        for row, read in enumerate(self._rows(inputs, targets, state)):
            cuts = list[Cut]()
            for t, cuts in read:
                logp[row, t] = torch.from_numpy(self._distribution(cuts))
            after.append(as_state(cuts or self._begun(None, targets.device)))
        return logp.to(targets.device), join_rows(after)

    @override
    def next(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        logp, after = [], list[State]()
        for row, ids in enumerate(tokens.tolist()):
            cuts = of_state(state, row)
            for token in ids:
                cuts = self._after(cuts, token, tokens.device)
            logp.append(torch.from_numpy(self._distribution(cuts)))
            after.append(as_state(cuts))
        return torch.stack(logp).to(tokens.device), join_rows(after)

    def _rows(self, inputs: Inputs, targets: Tensor, state: State) -> Iterator[Iterator[tuple[int, list[Cut]]]]:
        """The reading of each row."""
        for row in range(len(targets)):
            fresh = inputs.fresh is not None and bool(inputs.fresh[row])
            yield self._read(inputs.tokens[row], targets[row], of_state(None if fresh else state, row))

    def _read(self, tokens: Tensor, targets: Tensor, cuts: list[Cut]) -> Iterator[tuple[int, list[Cut]]]:
        """For each target of a row: its time step, and the cuts before it."""
        wanted = (targets != IGNORED).tolist()
        for t in range(len(wanted) - wanted[::-1].index(True) if True in wanted else 0):
            cuts = self._after(cuts, int(tokens[t]), tokens.device)
            if wanted[t]:
                yield t, cuts

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
        """The cuts after one more byte, or after the end of a document: there the likeliest one whose tokens are
        complete. Before any byte a document begins."""
        if token == BOUNDARY:
            last = max((cut for cut in cuts if not cut.depth), key=lambda cut: cut.mass, default=None)
            return self._begun(None if last is None else last.state, device)
        cuts = cuts or self._begun(None, device)
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
        return found or self._begun(None, device)

    def _begun(self, state: State, device: torch.device) -> list[Cut]:
        """The cuts at the start of a document, after the one that a state has read."""
        return self._extended([(1.0, self.boundary, state)], device)


def as_state(cuts: Sequence[Cut]) -> State:
    """Cuts as a state of one row: numbers [1, C, 6], probabilities [1, C, R], and the states of the model [1, C, ...].

    Rows with fewer cuts are padded with zeros, as `join_rows` does: such a cut has no mass.
    """
    numbers = [(cut.mass, cut.end, cut.low, cut.high, cut.depth, cut.begins) for cut in cuts]
    width = max(len(cut.p) for cut in cuts)
    p = torch.from_numpy(np.stack([np.pad(cut.p, (0, width - len(cut.p))) for cut in cuts]))
    inner = map_state(lambda part: part[None], join_rows([cut.state for cut in cuts]))
    return torch.tensor(numbers, dtype=torch.float64)[None], p[None], inner


def of_state(state: State, row: int) -> list[Cut]:
    """The cuts of a row; none before any token."""
    if state is None:
        return []
    numbers, p, inner = cast(tuple[Tensor, Tensor, State], state)
    states, found = map_state(lambda part: part[row], inner), list[Cut]()
    for k, (mass, end, low, high, depth, begins) in enumerate(numbers[row].tolist()):
        if mass > 0:
            place = int(low), int(high), int(depth), bool(begins)
            found.append(Cut(mass, p[row, k].numpy(), end, *place, select_rows(states, slice(k, k + 1))))
    return found
