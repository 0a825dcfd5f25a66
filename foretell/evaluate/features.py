"""Texts as vectors, of any layer of any model: many side by side, in constant memory, in the order they came.

B rows, T steps, D width of a layer, L chosen layers, P ways to pool, W = P x L x D (L = 1 for a mix) width of a vector.

Texts are taken in windows, and within a window rows of like length are read together, as many as a budget of tokens
allows. So almost nothing is padded, and a text's vector is what it would be if it were read alone, to rounding.
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

Ints = NDArray[np.int64]
Vectors = NDArray[np.float32]
PoolingName = Literal["mean", "last", "first", "max", "concat", "cell"]
Told = Callable[[int], None]
"""is told how many texts have been read so far, or nearly"""
PARTS: dict[str, tuple[str, ...]] = {"concat": ("last", "max", "mean")}
"""what a pooling is put together from, where it is not one by itself; concat: arXiv:1801.06146, section 3.3"""
STEPS = 128
"""tokens that a recurrent model reads at once; it reads many long texts side by side rather than one as a whole"""
CHARACTERS = 1 << 22
"""of text in a window at most, or one text"""


class FeaturesConfig(Config):
    """Which vectors of a text, and how they are computed."""

    pooling: PoolingName = "mean"
    """which of the vectors of a text's tokens, those around it included: their mean or maximum, the first, the last;
    concat: last, max and mean side by side; cell: the memory cells behind the last token (lstm, mlstm, qrnn)"""
    layers: tuple[Annotated[int, Field(ge=-1025, le=1025)], ...] | Literal["all"] = (-1,)
    """from 1, next to the word vectors, or from the end; several are put side by side"""
    mix: tuple[Real, ...] | None = None
    """a weight for each layer, which are then added up instead (Peters et al. 2018, arXiv:1802.05365)"""
    prepare: PreparationName | None = None
    """reviews: as in arXiv:1704.01444, without HTML entities, on one line between blanks, behind a newline that takes
    the place of the boundary; absent: as the run's own text was"""
    tokens: Size = 4096
    """computed side by side; changes nothing but speed and memory"""
    window: Size = 4096
    """texts of which like ones are found; changes nothing but speed and memory"""

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


def untold(_: int) -> None:
    """For nobody who wants to know."""


def after(told: Told, before: int) -> Told:
    """The same, where so many texts have been read before."""
    return lambda read: told(before + read)


class Extractor:
    """A model that makes vectors of texts."""

    def __init__(self, backbone: Backbone, tokenizer: Tokenizer, settings: FeaturesConfig, device: torch.device):
        self.backbone, self.tokenizer, self.settings, self.device = backbone, tokenizer, settings, device
        self.prepare = settings.prepare or "none"
        self.causal = "causal" in backbone.reads
        self.parts = PARTS.get(settings.pooling, (settings.pooling,))
        outputs = self._outputs_of_nothing()
        layers = len(outputs)
        wanted = range(1, layers + 1) if settings.layers == "all" else settings.layers
        if odd := [layer for layer in wanted if not 1 <= abs(layer) <= layers]:
            raise ConfigError(
                f"there is no layer {odd[0]}: this model has {layers}; name 1 to {layers}, or -1 for the last"
            )
        self.layers = tuple(layer - 1 if layer > 0 else layers + layer for layer in wanted)
        self.widths = tuple(outputs[layer].shape[-1] for layer in self.layers)
        if settings.mix is not None and (len(settings.mix) != len(self.layers) or len(set(self.widths)) > 1):
            raise ConfigError(
                f"a mix of {len(settings.mix)} weights does not fit layers of width "
                f"{', '.join(map(str, self.widths))}; give one for each, of layers as wide as each other"
            )

    @torch.no_grad()
    def _outputs_of_nothing(self) -> Sequence[Tensor]:
        """The layers' outputs, or memory cells, for one token."""
        token = torch.full((1, 1), self.tokenizer.boundary, device=self.device)
        hidden: Hidden = self.backbone(Inputs(tokens=token), None)
        if self.settings.pooling != "cell":
            return hidden.layers
        cells = self.backbone.cells(hidden.state)
        if not cells:
            raise ConfigError(
                'pooling = "cell" is of the memory cells that lstm, mlstm and qrnn have, and this model has none; '
                'take "last"'
            )
        return cells

    @cached_property
    def width(self) -> int:
        """W of the vectors."""
        return len(self.parts) * (sum(self.widths) if self.settings.mix is None else self.widths[0])

    def blocks(self, texts: Iterable[str], told: Told = untold) -> Iterator[tuple[list[str], Vectors]]:
        """The texts, some at a time, with their vectors [texts, W]."""
        before = 0
        for window in windows(texts, self.settings.window):
            yield window, self.vectors(window, after(told, before))
            before += len(window)

    def all(self, texts: Iterable[str], told: Told = untold) -> Vectors:
        """[texts, W]"""
        blocks = (block for _, block in self.blocks(texts, told))
        return np.concatenate([np.zeros((0, self.width), np.float32), *blocks])

    def rows(self, texts: Sequence[str]) -> Rows:
        """What the model reads of some texts: each behind a boundary, or between the tokens that rows begin and end
        with; a model that sees both sides reads a long one in as many rows as it takes."""
        lines = Lines.encode([prepare_text(text, self.prepare) for text in texts], self.tokenizer)
        specials = self.tokenizer.specials
        if self.causal:
            boundary = specials.boundary if self.prepare == "none" else None
            return Rows.of(lines, boundary, None, None, specials.boundary)
        return Rows.of(lines, specials.begin, specials.separator, self.backbone.context, specials.boundary)

    @torch.inference_mode()
    def vectors(self, texts: Sequence[str], told: Told = untold) -> Vectors:
        """[texts, W]"""
        rows = self.rows(texts)
        totals = Totals(rows, self.parts, sum(self.widths))
        read, every = 0, max(int(rows.lengths.sum()), 1)
        for batch in batches(rows.lengths, self.settings.tokens, self.steps):
            lengths = rows.lengths[batch]
            totals.add(batch, self._read(rows.tokens_of(batch), torch.from_numpy(lengths)))
            read += int(lengths.sum())
            told(len(texts) * read // every)
        return self._mixed(totals.vectors()).flatten(1).numpy()

    def _mixed(self, vectors: Tensor) -> Tensor:
        """[..., L x D] -> the weighted sum of layers [..., D], where one is wanted."""
        if self.settings.mix is None:
            return vectors
        weights = torch.tensor(self.settings.mix)
        return torch.einsum("...ld,l->...d", vectors.unflatten(-1, (len(weights), -1)), weights)

    @property
    def steps(self) -> int | None:
        """How many tokens of each row are read at once; None: all."""
        if not self.causal:
            return None
        return STEPS if self.backbone.context is None else self.backbone.context

    def _read(self, tokens: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """tokens [B, T] with the longest rows first, lengths [B] -> for each part [B, L x D]; of `mean` the sum."""
        longest = tokens.shape[1]
        state = None
        found = {part: torch.empty(len(tokens), sum(self.widths), device=self.device) for part in self.parts}
        for begin, end in pairwise(cuts(longest, self.steps or longest)):
            going = int((lengths > begin).sum())  # rows that have ended are left behind
            here = (lengths[:going] - begin).clamp(max=end - begin)
            inputs = self._inputs(tokens[:going, begin:end], here, alone=longest == end - begin)
            hidden = self.backbone(inputs, select_rows(state, slice(going)))
            state = hidden.state if end < longest or "cell" in self.parts else None
            layers = self.backbone.cells(state) if "cell" in self.parts else hidden.layers
            x = torch.cat([layers[layer] for layer in self.layers], -1).float()  # [going, t, L x D]
            for part, into in found.items():
                take(part, x, here.to(self.device), begin == 0, into[:going])
        return {part: vectors.cpu() for part, vectors in found.items()}

    def _inputs(self, tokens: Tensor, lengths: Tensor, *, alone: bool) -> Inputs:
        """A window of rows; places are told to a model that would otherwise keep what it needs to go on."""
        ragged = bool((lengths < tokens.shape[1]).any())
        places = None
        if alone and self.causal and "positions" in self.backbone.reads:
            places = torch.arange(tokens.shape[1], device=self.device).expand(len(tokens), -1)
        return Inputs(
            tokens=tokens.to(self.device), lengths=lengths.to(self.device) if ragged else None, positions=places
        )

    @torch.inference_mode()
    def trace(self, text: str) -> tuple[list[str], Vectors]:
        """A text's tokens as text, and the vectors (or memory cells) behind each: [T, L x D], or the mix [T, D]."""
        rows = self.rows([text])
        values = []
        for row, length in enumerate(rows.lengths.tolist()):
            tokens, state = rows.tokens_of(np.array([row])), None
            steps = 1 if "cell" in self.parts else self.steps or length  # cells are told at the end of a window only
            for begin, end in pairwise(cuts(length, steps)):
                hidden = self.backbone(Inputs(tokens=tokens[:, begin:end].to(self.device)), state)
                state = hidden.state
                cells = [cell[:, None] for cell in self.backbone.cells(state)]
                layers = cells if "cell" in self.parts else hidden.layers
                values.append(torch.cat([layers[layer] for layer in self.layers], -1)[0].float().cpu())
        spelled = [piece for row in rows.split() for piece in self._spelled(row)]
        return spelled, self._mixed(torch.cat(values)).numpy()

    def _spelled(self, row: tuple[list[int], Ids, list[int]]) -> Iterator[str]:
        """A row token by token; what does not belong to the text is nothing."""
        before, ids, behind = row
        stream = self.tokenizer.stream()
        yield from [""] * len(before)
        for token in ids.tolist():
            yield stream.feed(token)
        yield from [""] * len(behind)


def take(part: str, x: Tensor, lengths: Tensor, first: bool, into: Tensor) -> None:
    """Pool a window x [B, t, D] of rows, of which `lengths` are real, into what was found before [B, D]."""
    if part == "cell":
        into.copy_(x)  # x is [B, D]: a row that ends keeps its state
    elif part == "first":
        if first:
            into.copy_(x[:, 0])
    elif part == "last":
        into.copy_(x[torch.arange(len(x), device=x.device), lengths - 1])
    elif part == "max":
        real = real_tokens(x.shape[1], lengths)[..., None]
        most = x.masked_fill(~real, -torch.inf).amax(1)
        into.copy_(most if first else torch.maximum(into, most))
    else:  # what lies behind the end of a row is zero
        into.copy_(x.sum(1) if first else into + x.sum(1))


class Totals:
    """What becomes of the rows of a window: the parts of each text."""

    def __init__(self, rows: Rows, parts: Sequence[str], width: int):
        self.rows = rows
        self.found = {part: torch.zeros(len(rows.text), width) for part in parts}

    def add(self, batch: Ints, read: dict[str, Tensor]) -> None:
        """The parts [B, D] of some rows."""
        for part, values in read.items():
            self.found[part][torch.from_numpy(batch)] = values

    def vectors(self) -> Tensor:
        """[texts, P, D]"""
        rows = self.rows
        firsts = np.flatnonzero(np.diff(rows.text, prepend=-1))
        lasts = np.append(firsts[1:], len(rows.text)) - 1
        several = len(firsts) < len(rows.text)
        number = torch.from_numpy(rows.text)[:, None]
        tokens = torch.from_numpy(np.add.reduceat(rows.lengths, firsts) if len(firsts) else rows.lengths)
        made = []
        for part, values in self.found.items():
            if part == "mean":
                sums = values.new_zeros(len(firsts), values.shape[1]).index_add(0, number[:, 0], values)
                made.append(sums / tokens[:, None])
            elif part == "max" and several:
                into = values.new_full((len(firsts), values.shape[1]), -torch.inf)
                made.append(into.scatter_reduce(0, number.expand_as(values), values, "amax"))
            else:
                made.append(values[torch.from_numpy(firsts if part == "first" else lasts)])
        return torch.stack(made, 1)


@dataclass(frozen=True)
class Rows:
    """What a model reads of some texts: each as one row or several, in order. R rows."""

    tokens: Ids
    """of all texts, one after the other"""
    text: Ints
    """[R] which text a row is of"""
    start: Ints
    """[R] where in `tokens` it begins"""
    end: Ints
    """[R] one past its last token there"""
    before: int | None
    """what stands before each"""
    behind: int | None
    """and behind"""
    empty: int
    """what stands for a text of which nothing else is to be read"""

    @classmethod
    def of(cls, lines: Lines, before: int | None, behind: int | None, context: int | None, empty: int) -> Rows:
        """Rows that fit a context, or whole texts."""
        start, end = lines.lines[:-1], lines.lines[1:]
        room = (context or int((end - start).max(initial=0)) + 2) - (before is not None) - (behind is not None)
        parts = np.maximum(-(-(end - start) // room), 1)
        text = np.repeat(np.arange(len(start)), parts)
        number = np.arange(len(text)) - np.repeat(np.cumsum(parts) - parts, parts)
        begin = start[text] + number * room
        return cls(lines.tokens, text, begin, np.minimum(begin + room, end[text]), before, behind, empty)

    @cached_property
    def lengths(self) -> Ints:
        """[R] tokens of each row, those around included."""
        found: Ints = np.maximum(self.end - self.start + (self.before is not None) + (self.behind is not None), 1)
        return found

    def tokens_of(self, rows: Ints) -> Tensor:
        """Some rows [B, T], padded on the right."""
        start, end, lengths = self.start[rows, None], self.end[rows, None], self.lengths[rows, None]
        opening = int(self.before is not None)
        t = np.arange(int(lengths.max()))
        at = start + t - opening
        inside = (t >= opening) & (at < end)
        found = np.zeros(inside.shape, np.int64) + (self.empty if self.behind is None else self.behind)
        found[inside] = self.tokens[at[inside]]
        if self.before is not None:
            found[:, 0] = self.before
        return torch.from_numpy(np.where(t < lengths, found, 0))

    def split(self) -> Iterator[tuple[list[int], Ids, list[int]]]:
        """Each row as what stands before it, its tokens, and what stands behind."""
        before, behind = ([] if token is None else [token] for token in (self.before, self.behind))
        for start, end in zip(self.start.tolist(), self.end.tolist(), strict=True):
            nothing = [self.empty] if start == end and not before and not behind else []
            yield before + nothing, self.tokens[start:end], behind


def batches(lengths: Ints, budget: int, steps: int | None) -> Iterator[Ints]:
    """Rows in batches of at most `budget` tokens, the longest first; of long ones only `steps` tokens count."""
    order = np.argsort(-lengths, kind="stable")
    longest = np.minimum(lengths, steps or lengths.max(initial=1))[order].tolist()
    begin = 0
    while begin < len(order):
        end = begin + max(1, budget // longest[begin])
        yield order[begin:end]
        begin = end


def windows(texts: Iterable[str], most: int) -> Iterator[list[str]]:
    """Texts in lists of so many, or fewer where they are long."""
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
