"""Text features: vectors from any layers of any model, in constant memory and in the order of the texts.

Texts are read in windows; within a window, rows of similar length share a batch, up to a budget of tokens. So there is
almost no padding, and the vector of a text is the same as if it were read alone, up to rounding.

B rows of a batch, R rows of all texts, T time steps, D width of a layer, L chosen layers, P poolings,
W = P x L x D (L = 1 for a mix) width of a vector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from foretell.config import Config, Real, Size
from foretell.data.text.reviews import PreparationName, prepare_text
from foretell.data.tokenizers.tokenizer import Ids, Tokenizer
from foretell.errors import ConfigError
from foretell.evaluate.lines import Lines
from foretell.models.backbone import Backbone
from foretell.nn.ragged import real_tokens
from foretell.types import Hidden, Inputs, select_rows
from foretell.units import counted

Ints = NDArray[np.int64]
Vectors = NDArray[np.float32]
PoolingName = Literal["mean", "last", "first", "max", "concat", "cell"]
OnTexts = Callable[[int], None]
"""called with the number of texts read so far, approximately"""
PARTS: dict[str, tuple[str, ...]] = {"concat": ("last", "max", "mean")}
"""parts of composite poolings; concat: arXiv:1801.06146, section 3.3"""
STEPS = 128
"""tokens per window of a recurrent model, so that many long texts fit in a batch"""
CHARACTERS = 1 << 22
"""most characters in a window, unless it is a single text"""


class FeaturesConfig(Config):
    """Which vectors represent a text, and how they are computed."""

    pooling: PoolingName = "mean"
    """over the vectors of a text's tokens, special ones included: mean, maximum, first or last; concat: last, max and
    mean, concatenated; cell: the memory cells after the last token (lstm, mlstm, qrnn)"""
    layers: tuple[Annotated[int, Field(ge=-1025, le=1025)], ...] | Literal["all"] = (-1,)
    """counted from 1, next to the embedding, or from the end; several are concatenated"""
    mix: tuple[Real, ...] | None = None
    """a weight per layer, to sum layers instead (Peters et al. 2018, arXiv:1802.05365)"""
    prepare: PreparationName | None = None
    """reviews: as in arXiv:1704.01444, without HTML entities, on one line between blanks, after a newline in place
    of the boundary; absent: as the run's training text"""
    tokens: Size = 4096
    """tokens in a batch; affects speed and memory only"""
    window: Size = 4096
    """texts sorted by length together; affects speed and memory only"""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.layers == ():
            raise ValueError('layers names none; write "all", or numbers such as [-1]')
        if self.layers != "all" and 0 in self.layers:
            raise ValueError("layers has a layer 0; they count from 1, or from the end: -1 is the last")
        if self.mix is not None and self.pooling in ("max", "concat"):
            raise ValueError(
                f'pooling = "{self.pooling}" takes a maximum, and that of a mix is not the mix of maxima; take "mean"'
            )
        return self


def ignore_texts(_: int) -> None:
    """Ignores progress."""


def offset(on_texts: OnTexts, before: int) -> OnTexts:
    """Like `on_texts`, but counted from `before`."""
    return lambda done: on_texts(before + done)


class Extractor:
    """A model as a feature extractor."""

    def __init__(self, backbone: Backbone, tokenizer: Tokenizer, settings: FeaturesConfig, device: torch.device):
        self.backbone, self.tokenizer, self.settings, self.device = backbone, tokenizer, settings, device
        self.prepare = settings.prepare or "none"
        self.causal = "causal" in backbone.reads
        self.parts = PARTS.get(settings.pooling, (settings.pooling,))
        outputs = self._outputs_of_one_token()
        layers = len(outputs)
        chosen = range(1, layers + 1) if settings.layers == "all" else settings.layers
        if missing := [layer for layer in chosen if not 1 <= abs(layer) <= layers]:
            raise ConfigError(
                f"there is no layer {missing[0]}: this model has {layers}; name 1 to {layers}, or -1 for the last"
            )
        self.layers = tuple(layer - 1 if layer > 0 else layers + layer for layer in chosen)
        self.widths = tuple(outputs[layer].shape[-1] for layer in self.layers)
        if settings.mix is not None and (len(settings.mix) != len(self.layers) or len(set(self.widths)) > 1):
            raise ConfigError(
                f"a mix of {counted(len(settings.mix), 'weight')} does not fit layers of width "
                f"{', '.join(map(str, self.widths))}; give one weight per layer, for layers of equal width"
            )

    @torch.no_grad()
    def _outputs_of_one_token(self) -> Sequence[Tensor]:
        """The layers' outputs, or memory cells, for one token."""
        token = torch.full((1, 1), self.tokenizer.boundary, device=self.device)
        hidden: Hidden = self.backbone(Inputs(tokens=token), None)
        if self.settings.pooling != "cell":
            return hidden.layers
        cells = self.backbone.cells(hidden.state)
        if not cells:
            raise ConfigError(
                'pooling = "cell" needs the memory cells of lstm, mlstm or qrnn, and this model has none; take "last"'
            )
        return cells

    @cached_property
    def width(self) -> int:
        """W."""
        return len(self.parts) * (sum(self.widths) if self.settings.mix is None else self.widths[0])

    def blocks(self, texts: Iterable[str], on_texts: OnTexts = ignore_texts) -> Iterator[tuple[list[str], Vectors]]:
        """Yield texts, a window at a time, with their vectors [texts, W]."""
        before = 0
        for window in windows(texts, self.settings.window):
            yield window, self.vectors(window, offset(on_texts, before))
            before += len(window)

    def all(self, texts: Iterable[str], on_texts: OnTexts = ignore_texts) -> Vectors:
        """[texts, W]"""
        blocks = (block for _, block in self.blocks(texts, on_texts))
        return np.concatenate([np.zeros((0, self.width), np.float32), *blocks])

    def rows(self, texts: Sequence[str]) -> Rows:
        """The rows of texts: after a boundary for a causal model, else between the special tokens of a row, with a long
        text in as many rows as it takes."""
        lines = Lines.encode([prepare_text(text, self.prepare) for text in texts], self.tokenizer)
        specials = self.tokenizer.specials
        if self.causal:
            start = specials.boundary if specials.start is None else specials.start
            return Rows.of(lines, start if self.prepare == "none" else None, None, None, specials.boundary)
        return Rows.of(lines, specials.begin, specials.separator, self.backbone.context, specials.boundary)

    @torch.inference_mode()
    def vectors(self, texts: Sequence[str], on_texts: OnTexts = ignore_texts) -> Vectors:
        """[texts, W]"""
        rows = self.rows(texts)
        totals = Totals(rows, self.parts, sum(self.widths))
        done, total = 0, max(int(rows.lengths.sum()), 1)
        for batch in batches(rows.lengths, self.settings.tokens, self.steps):
            lengths = rows.lengths[batch]
            totals.add(batch, self._read(rows.tokens_of(batch), torch.from_numpy(lengths)))
            done += int(lengths.sum())
            on_texts(len(texts) * done // total)
        return self._mixed(totals.vectors()).flatten(1).numpy()

    def _mixed(self, vectors: Tensor) -> Tensor:
        """[..., L x D] -> [..., D] where a mix is set: the weighted sum of layers."""
        if self.settings.mix is None:
            return vectors
        weights = torch.tensor(self.settings.mix)
        return torch.einsum("...ld,l->...d", vectors.unflatten(-1, (len(weights), -1)), weights)

    @property
    def steps(self) -> int | None:
        """Tokens of each row per window; None: all."""
        if not self.causal:
            return None
        return STEPS if self.backbone.context is None else self.backbone.context

    def _read(self, tokens: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """tokens [B, T] with the longest rows first, lengths [B] -> each part [B, L x D]; the sum for `mean`."""
        longest = tokens.shape[1]
        state = None
        pooled = {part: torch.empty(len(tokens), sum(self.widths), device=self.device) for part in self.parts}
        for begin, end in pairwise(cuts(longest, self.steps or longest)):
            going = int((lengths > begin).sum())  # rows that have ended are left out
            here = (lengths[:going] - begin).clamp(max=end - begin)
            inputs = self._inputs(tokens[:going, begin:end], here, alone=longest == end - begin)
            hidden = self.backbone(inputs, select_rows(state, slice(going)))
            state = hidden.state if end < longest or "cell" in self.parts else None
            layers = self.backbone.cells(state) if "cell" in self.parts else hidden.layers
            x = torch.cat([layers[layer] for layer in self.layers], -1).float()  # [going, t, L x D]
            for part, into in pooled.items():
                accumulate(part, x, here.to(self.device), begin == 0, into[:going])
        return {part: vectors.cpu() for part, vectors in pooled.items()}

    def _inputs(self, tokens: Tensor, lengths: Tensor, *, alone: bool) -> Inputs:
        """A window of rows; explicit positions stop a causal Transformer from building a key/value cache."""
        ragged = bool((lengths < tokens.shape[1]).any())
        positions = None
        if alone and self.causal and "positions" in self.backbone.reads:
            positions = torch.arange(tokens.shape[1], device=self.device).expand(len(tokens), -1)
        return Inputs(
            tokens=tokens.to(self.device), lengths=lengths.to(self.device) if ragged else None, positions=positions
        )

    @torch.inference_mode()
    def trace(self, text: str) -> tuple[list[str], Vectors]:
        """The decoded tokens of a text, and the vectors (or memory cells) after each [T, L x D], or the mix [T, D]."""
        rows = self.rows([text])
        values = []
        for row, length in enumerate(rows.lengths.tolist()):
            tokens, state = rows.tokens_of(np.array([row])), None
            steps = 1 if "cell" in self.parts else self.steps or length  # cells are known only at the end of a window
            for begin, end in pairwise(cuts(length, steps)):
                hidden = self.backbone(Inputs(tokens=tokens[:, begin:end].to(self.device)), state)
                state = hidden.state
                cells = [cell[:, None] for cell in self.backbone.cells(state)]
                layers = cells if "cell" in self.parts else hidden.layers
                values.append(torch.cat([layers[layer] for layer in self.layers], -1)[0].float().cpu())
        pieces = [piece for row in rows.split() for piece in self._decoded(row)]
        return pieces, self._mixed(torch.cat(values)).numpy()

    def _decoded(self, row: tuple[list[int], Ids, list[int]]) -> Iterator[str]:
        """A row, decoded token by token; special tokens are empty."""
        before, ids, after = row
        stream = self.tokenizer.stream()
        yield from [""] * len(before)
        for token in ids.tolist():
            yield stream.feed(token)
        yield from [""] * len(after)


def accumulate(part: str, x: Tensor, lengths: Tensor, first: bool, into: Tensor) -> None:
    """Pool a window x [B, t, D] of rows, of which `lengths` are real, into the vectors so far [B, D]."""
    if part == "cell":
        into.copy_(x)  # x is [B, D]: a row that ends keeps its state
    elif part == "first":
        if first:
            into.copy_(x[:, 0])
    elif part == "last":
        into.copy_(x[torch.arange(len(x), device=x.device), lengths - 1])
    elif part == "max":
        real = real_tokens(x.shape[1], lengths)[..., None]
        maximum = x.masked_fill(~real, -torch.inf).amax(1)
        into.copy_(maximum if first else torch.maximum(into, maximum))
    else:  # vectors after the end of a row are zero
        into.copy_(x.sum(1) if first else into + x.sum(1))


class Totals:
    """Collects the parts of each text from its rows."""

    def __init__(self, rows: Rows, parts: Sequence[str], width: int):
        self.rows = rows
        self.pooled = {part: torch.zeros(len(rows.text), width) for part in parts}

    def add(self, batch: Ints, pooled: dict[str, Tensor]) -> None:
        """Add the parts [B, D] of a batch of rows."""
        for part, values in pooled.items():
            self.pooled[part][torch.from_numpy(batch)] = values

    def vectors(self) -> Tensor:
        """[texts, P, D]"""
        rows = self.rows
        firsts = np.flatnonzero(np.diff(rows.text, prepend=-1))
        lasts = np.append(firsts[1:], len(rows.text)) - 1
        several = len(firsts) < len(rows.text)
        number = torch.from_numpy(rows.text)[:, None]
        tokens = torch.from_numpy(np.add.reduceat(rows.lengths, firsts) if len(firsts) else rows.lengths)
        vectors = []
        for part, values in self.pooled.items():
            if part == "mean":
                sums = values.new_zeros(len(firsts), values.shape[1]).index_add(0, number[:, 0], values)
                vectors.append(sums / tokens[:, None])
            elif part == "max" and several:
                into = values.new_full((len(firsts), values.shape[1]), -torch.inf)
                vectors.append(into.scatter_reduce(0, number.expand_as(values), values, "amax"))
            else:
                vectors.append(values[torch.from_numpy(firsts if part == "first" else lasts)])
        return torch.stack(vectors, 1)


@dataclass(frozen=True)
class Rows:
    """The rows of texts, each text as one row or several, in order."""

    tokens: Ids
    """of all texts, concatenated"""
    text: Ints
    """[R] the text of each row"""
    start: Ints
    """[R] index of its first token in `tokens`"""
    end: Ints
    """[R] one past its last token"""
    before: int | None
    """token before each row"""
    after: int | None
    """token after each row"""
    empty: int
    """token of an empty row"""

    @classmethod
    def of(cls, lines: Lines, before: int | None, after: int | None, context: int | None, empty: int) -> Rows:
        """Rows that fit a context, or whole texts."""
        start, end = lines.lines[:-1], lines.lines[1:]
        room = (context or int((end - start).max(initial=0)) + 2) - (before is not None) - (after is not None)
        parts = np.maximum(-(-(end - start) // room), 1)
        text = np.repeat(np.arange(len(start)), parts)
        number = np.arange(len(text)) - np.repeat(np.cumsum(parts) - parts, parts)
        begin = start[text] + number * room
        return cls(lines.tokens, text, begin, np.minimum(begin + room, end[text]), before, after, empty)

    @cached_property
    def lengths(self) -> Ints:
        """[R] tokens of each row, special ones included."""
        lengths: Ints = np.maximum(self.end - self.start + (self.before is not None) + (self.after is not None), 1)
        return lengths

    def tokens_of(self, rows: Ints) -> Tensor:
        """The tokens of a batch of rows [B, T], padded on the right."""
        start, end, lengths = self.start[rows, None], self.end[rows, None], self.lengths[rows, None]
        opening = int(self.before is not None)
        t = np.arange(int(lengths.max()))
        index = start + t - opening
        inside = (t >= opening) & (index < end)
        tokens = np.zeros(inside.shape, np.int64) + (self.empty if self.after is None else self.after)
        tokens[inside] = self.tokens[index[inside]]
        if self.before is not None:
            tokens[:, 0] = self.before
        return torch.from_numpy(np.where(t < lengths, tokens, 0))

    def split(self) -> Iterator[tuple[list[int], Ids, list[int]]]:
        """Each row as the tokens before it, its own, and those after it."""
        before, after = ([] if token is None else [token] for token in (self.before, self.after))
        for start, end in zip(self.start.tolist(), self.end.tolist(), strict=True):
            filler = [self.empty] if start == end and not before and not after else []
            yield before + filler, self.tokens[start:end], after


def batches(lengths: Ints, budget: int, steps: int | None) -> Iterator[Ints]:
    """Batches of rows of at most `budget` tokens, the longest first; a row counts for at most `steps` tokens."""
    order = np.argsort(-lengths, kind="stable")
    longest = np.minimum(lengths, steps or lengths.max(initial=1))[order].tolist()
    begin = 0
    while begin < len(order):
        end = begin + max(1, budget // longest[begin])
        yield order[begin:end]
        begin = end


def windows(texts: Iterable[str], most: int) -> Iterator[list[str]]:
    """Lists of at most `most` texts, fewer where they are long."""
    window: list[str] = []
    size = 0
    for text in texts:
        window.append(text)
        size += len(text)
        if len(window) == most or size >= CHARACTERS:
            yield window
            window, size = [], 0
    if window:
        yield window


def cuts(length: int, steps: int) -> Iterator[int]:
    """0, steps, 2 x steps, ..., length"""
    yield from range(0, length, steps)
    yield length
