"""Log-probabilities of lines or other short texts, in batches, each as if scored alone. N tokens."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from foretell.data.batches.streams import LinesConfig
from foretell.data.text_files import Mended, mended, split_pieces
from foretell.data.tokenizers.tokenizer import Ids, Lengths, Losses, Tokenizer, lines_of
from foretell.evaluate.scoring import Scorer, score_tokens
from foretell.results import Result
from foretell.types import Inputs, State

BATCHES = LinesConfig(batch=64, length=128)


@dataclass(frozen=True)
class Scored(Result):
    """A text with its log-probability."""

    text: str
    logp: float
    """natural logarithm of its probability; the end of the text counts if the text has it, as a newline"""
    tokens: tuple[str, ...]
    token_logp: tuple[float, ...]
    unknown: int
    """number of unknown tokens; their spelling is not part of `logp`"""
    lossy: bool
    """whether the tokens lose part of the text: unknown tokens, text that decodes differently, or invalid Unicode"""
    bytes: int
    """length of the text as stored: in UTF-8, except where it was invalid"""

    @property
    def bits(self) -> float:
        """-log2 of its probability"""
        return -self.logp / math.log(2)

    @property
    def bits_per_byte(self) -> float | None:
        """None for an empty text"""
        return self.bits / self.bytes if self.text else None

    @property
    def bits_per_character(self) -> float | None:
        """None for an empty text"""
        return self.bits / len(self.text) if self.text else None

    @property
    def perplexity(self) -> float | None:
        """Per token; None without tokens."""
        if not self.tokens:
            return None
        loss = -self.logp / len(self.tokens)
        return math.exp(loss) if loss < 700 else math.inf


@dataclass(frozen=True)
class Lines:
    """Texts as one sequence of tokens, which batches are made from."""

    texts: Sequence[Mended]
    pieces: Sequence[Sequence[str]]
    """[texts] each as lines, long ones cut"""
    lengths: Sequence[Lengths]
    """[texts] the number of tokens of each piece"""
    tokens: Ids
    """[N]"""
    lines: NDArray[np.int64]
    """[texts + 1] the start of each text, and the end"""
    closed: Sequence[bool]
    """[texts] whether the last token of a text is the boundary after it"""

    @property
    def documents(self) -> NDArray[np.int64]:
        """Each text is a document too."""
        return self.lines

    @classmethod
    def encode(cls, texts: Sequence[str], tokenizer: Tokenizer, ends: Sequence[bool] = ()) -> Lines:
        """The texts as tokens; those that end a document (`ends`) get a boundary, as in a token store.

        Texts may hold invalid UTF-8 as `surrogateescape` decodes it.
        """
        clean = [mended(text) for text in texts]
        pieces = [split_pieces(text.text) for text in clean]
        ids, lengths = tokenizer.encode_pieces([piece for part in pieces for piece in part])
        parts = np.split(lengths, np.cumsum([len(part) for part in pieces])[:-1]) if pieces else []
        lines = np.concatenate([[0], np.cumsum([part.sum() for part in parts])]).astype(np.int64)
        # where the boundary ends every line, a newline has put it there
        closed = [
            end and not (tokenizer.ends_lines and text.endswith("\n"))
            for text, end in zip(texts, ends or [False] * len(texts), strict=True)
        ]
        if any(closed):
            ids = np.insert(ids, lines[1:][closed], tokenizer.boundary)
            lines = lines + np.concatenate([[0], np.cumsum(closed)])
        return cls(clean, pieces, parts, ids, lines, closed)

    def with_scores(self, logp: NDArray[np.float64], tokenizer: Tokenizer) -> list[Scored]:
        """Each text with its log-probabilities, out of those of all tokens [N]."""
        name = lru_cache(maxsize=None)(tokenizer.token)
        scored = []
        for index, (begin, end) in enumerate(pairwise(self.lines.tolist())):
            text, ids, own = self.texts[index], self.tokens[begin:end], tuple(logp[begin:end].tolist())
            names = tuple(name(token) for token in ids.tolist())
            lost = self.losses(index, ids, tokenizer)
            lossy = bool(any(lost) or text.replaced)
            scored.append(Scored(text.text, math.fsum(own), names, own, lost.unknown, lossy, text.bytes))
        return scored

    def losses(self, index: int, ids: Ids, tokenizer: Tokenizer) -> Losses:
        """Losses of tokenization in a text."""
        pieces, lengths = self.pieces[index], self.lengths[index]
        if self.closed[index] and not tokenizer.ends_lines:
            ids = ids[:-1]
        elif self.closed[index] and pieces:  # the tokens have a newline that the text does not
            lengths = np.concatenate([lengths[:-1], lengths[-1:] + 1])
        ends_line = np.array([piece.endswith("\n") for piece in pieces], dtype=np.bool_)
        lines, lengths = lines_of(pieces, lengths, ends_line)
        return tokenizer.losses(lines, ids, lengths)


def score_texts(scorer: Scorer, tokenizer: Tokenizer, texts: Sequence[str], device: torch.device) -> list[Scored]:
    """Score each text from a fresh state, in batches of similar length if the scorer's rows are independent."""
    lines = Lines.encode(texts, tokenizer)
    if len(lines.tokens) == 0:
        return lines.with_scores(np.zeros(0), tokenizer)
    kind = BATCHES if scorer.independent else BATCHES.model_copy(update={"batch": 1})
    windows = kind.build(lines, tokenizer.specials, seed=0)
    return lines.with_scores(score_tokens(scorer, windows, device).logp, tokenizer)


class Reader:
    """Scores texts in sequence, each given all texts before it."""

    def __init__(self, scorer: Scorer, tokenizer: Tokenizer, device: torch.device, window: int = 256):
        self.scorer, self.tokenizer, self.device, self.window = scorer, tokenizer, device, window
        self.state: State = None
        self.before = tokenizer.boundary

    def score(self, texts: Sequence[str], ends: Sequence[bool] = ()) -> list[Scored]:
        """Score the next texts; `ends` says which of them end a document."""
        lines = Lines.encode(texts, self.tokenizer, ends)
        parts = [self._read(part) for part in self._parts(lines.tokens)]
        return lines.with_scores(np.concatenate([np.zeros(0), *parts]), self.tokenizer)

    def _parts(self, tokens: Ids) -> Iterator[Ids]:
        yield from (tokens[begin : begin + self.window] for begin in range(0, len(tokens), self.window))

    def _read(self, tokens: Ids) -> NDArray[np.float64]:
        targets = torch.from_numpy(tokens.astype(np.int64))[None].to(self.device)  # [1, T]
        inputs = targets.roll(1, dims=1)
        inputs[0, 0] = self.before
        scores, self.state = self.scorer.score(Inputs(tokens=inputs), targets, self.state)
        self.before = int(tokens[-1])
        logp: NDArray[np.float64] = scores.logp[0].double().cpu().numpy()
        return logp
