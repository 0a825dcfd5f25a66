"""Adaptive softmax: frequent tokens directly, rare ones through their cluster.

Grave et al. 2017 (arXiv:1609.04309). One softmax covers the tokens of the first band and an entry per later band, or
*tail*. p(token in a tail) = p(tail) p(token | tail), with a softmax over that tail computed only for targets in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from foretell.config import Positive, Size
from foretell.errors import ConfigError
from foretell.kernels.cross_entropy import CHUNK, linear_cross_entropy
from foretell.nn.embedding import AdaptiveEmbedding, Embedding
from foretell.nn.frequency_bands import Bands, BandTables, SharedTable, make_bands
from foretell.nn.heads.full import SoftmaxConfig
from foretell.nn.heads.head import BiasStart, Head, shared_weight, softmax_dtype
from foretell.nn.vocabulary import Counts


class AdaptiveHead(Head):
    """Softmax over the first band and the tails, then over the tokens of a tail.

    `words` has the vectors of each band's tokens: the head's own tables, or a table or the bands of an embedding.
    `tails` [tails, D] are the vectors of the tails, initially zero. Biases are in the order of ranks.
    """

    def __init__(
        self, words: BandTables | SharedTable, width: int, *, bias: bool, bias_start: BiasStart, chunk: int = CHUNK
    ):
        super().__init__()
        self.words, self.bands, self.chunk = words, words.bands, chunk
        self.tails = nn.Parameter(torch.zeros(len(self.bands) - 1, width))
        self.bias = self.tail_bias = None
        if bias:
            size = len(self.bands.shares) + len(self.tails)
            start = unigram(self.bands) if bias_start == "unigram" else np.zeros(size)
            both = torch.as_tensor(start.astype(np.float32))
            self.bias = nn.Parameter(both[: len(self.bands.shares)].clone())
            self.tail_bias = nn.Parameter(both[len(self.bands.shares) :].clone())

    def biases(self) -> tuple[Tensor | None, ...]:
        """Bias of each band; that of the first is followed by the tails'."""
        if self.bias is None or self.tail_bias is None:
            return (None,) * len(self.bands)
        first, *others = self.bias.split(self.bands.sizes)
        return (torch.cat([first, self.tail_bias]), *others)

    @override
    def nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        ranks, bounds = self.bands.ranks(targets), self.bands.bounds
        rows, biases = self.words.rows(), self.biases()
        members = self.bands.divide(ranks) if len(self.tails) else ()
        entry = ranks.clone()  # [N] rank of a frequent token, or index of a tail after these
        for tail, indices in enumerate(members[1:]):
            entry[indices] = bounds[1] + tail
        first = torch.cat([rows[0], self.tails])
        nll = linear_cross_entropy(self.words.project(hidden, 0), first, biases[0], entry, self.chunk)
        for band, indices in enumerate(members[1:], 1):
            narrow = self.words.project(hidden[indices], band)  # [n, d]
            local = ranks[indices] - bounds[band]
            tail_nll = linear_cross_entropy(narrow, rows[band], biases[band], local, self.chunk)
            nll = nll.index_add(0, indices, tail_nll)
        return nll

    @override
    def log_probs(self, hidden: Tensor) -> Tensor:
        scores, biases = self.words.scores(hidden), self.biases()
        scores[0] = torch.cat([scores[0], self.words.project(hidden, 0) @ self.tails.t()], -1)
        parts = [
            (score if bias is None else score + bias).log_softmax(-1, dtype=softmax_dtype(score))
            for score, bias in zip(scores, biases, strict=True)
        ]
        size = self.bands.sizes[0]
        first, tails = parts[0][..., :size], parts[0][..., size:]
        within = [part + tails[..., tail, None] for tail, part in enumerate(parts[1:])]
        return self.bands.by_token(torch.cat([first, *within], -1))

    @override
    def token_rows(self) -> dict[str, Sequence[int]]:
        return {} if self.bias is None else {"bias": self.bands.tokens.tolist()}


def unigram(bands: Bands) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Biases [V + tails] that give each token its share in the training split when all scores are zero."""
    of_bands = bands.probabilities()
    within = np.log(bands.shares) - np.log(np.repeat(of_bands, bands.sizes))
    within[: bands.sizes[0]] = np.log(bands.shares[: bands.sizes[0]])
    return np.concatenate([within, np.log(of_bands[1:])])


class AdaptiveHeadConfig(SoftmaxConfig):
    """Adaptive softmax: tails of rare tokens with narrower vectors (arXiv:1609.04309)."""

    kind: Literal["adaptive"] = "adaptive"
    cutoffs: Annotated[tuple[Size, ...], Field(max_length=64)] | None = None
    """ranks at which each tail starts; absent: chosen for the least work given the frequencies in the training split,
    or those of a shared adaptive embedding"""
    divide: Size = 4
    """factor by which vectors get narrower from band to band; not for a shared table"""
    tied: bool = False
    """use the embedding's weights: a table as wide as the model's output, or an adaptive embedding and its bands"""
    init_range: Positive | None = None
    """vectors of the first band start uniform in +- this; absent: 1 / sqrt(width)"""

    def build(
        self, width: int, vocabulary: int, embedding: Embedding | None, counts: Counts | None = None
    ) -> AdaptiveHead:
        """Build a head on hidden vectors of `width`; `counts` [vocabulary] are token frequencies."""
        words = self._words(width, vocabulary, embedding, counts)
        return AdaptiveHead(words, width, bias=self.bias, bias_start=self.bias_start, chunk=self.chunk)

    def _words(
        self, width: int, vocabulary: int, embedding: Embedding | None, counts: Counts | None
    ) -> BandTables | SharedTable:
        if not self.tied:
            bands = make_bands(vocabulary, counts, self.cutoffs, width, self.divide)
            own = BandTables(bands, width, self.divide, project_first=False)
            bound = self.init_range or width**-0.5
            nn.init.uniform_(own.tables[0], -bound, bound)
            return own
        if not isinstance(embedding, AdaptiveEmbedding):
            weight = shared_weight(embedding, width, "model.output", "the model's output")
            return SharedTable(make_bands(vocabulary, counts, self.cutoffs, width, 1), weight)
        if embedding.width != width:
            raise ConfigError(
                f"head.tied = true needs an embedding as wide as the model's output, {width}, but it is "
                f"{embedding.width}; set model.output to the embedding's width, or head.tied = false"
            )
        theirs = embedding.words.bands.bounds[1:-1]
        if self.cutoffs is not None and self.cutoffs != theirs:
            raise ConfigError(
                f"head.cutoffs = {list(self.cutoffs)} are not those of the embedding it shares, {list(theirs)}; "
                "leave them out, or set head.tied = false"
            )
        return embedding.words
