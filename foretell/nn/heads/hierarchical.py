"""Hierarchical softmax: a token is reached by decisions, so a loss costs their number, not the vocabulary size.

Either a binary Huffman tree (Morin and Bengio 2005; Mikolov et al. 2013, arXiv:1310.4546, section 2.1) or two levels of
classes by frequency (Goodman 2001, arXiv:cs/0108006). D width, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from typing_extensions import override

from foretell.config import Config, Positive, Size
from foretell.errors import ConfigError
from foretell.kernels.cross_entropy import CHUNK, linear_cross_entropy
from foretell.kernels.path_cross_entropy import path_cross_entropy
from foretell.nn.embedding import Embedding
from foretell.nn.frequency_bands import Bands
from foretell.nn.heads.head import Head, softmax_dtype, uniform
from foretell.nn.vocabulary import Counts, shares


def huffman(weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """Parents [2V - 2] of the binary tree with the least sum of weight x depth over its leaves.

    Leaves are 0..V-1, inner nodes V..2V-2 in the order of creation; the last is the root, which has no parent. Uses
    two queues: leaves by rising weight, and inner nodes, whose weights rise in any case (van Leeuwen 1976).
    """
    leaves = np.argsort(weights, kind="stable").tolist()
    values, parents = weights.tolist(), [0] * (2 * len(weights) - 2)
    leaf, inner = 0, len(weights)
    for made in range(len(weights), 2 * len(weights) - 1):
        total = 0.0
        for _ in range(2):
            if inner >= made or (leaf < len(leaves) and values[leaves[leaf]] <= values[inner]):
                lightest, leaf = leaves[leaf], leaf + 1
            else:
                lightest, inner = inner, inner + 1
            parents[lightest] = made
            total += values[lightest]
        values.append(total)
    return np.array(parents, np.int64)


class HuffmanHead(Head):
    """A decision at each inner node on the path from the root to a token: left with sigmoid(w h + b), or right."""

    def __init__(self, width: int, vocabulary: int, counts: Counts | None, init_range: float):
        super().__init__()
        if vocabulary < 2:
            raise ConfigError(f"head.kind = 'hierarchical' needs two tokens or more, not {vocabulary}")
        self.vocabulary = vocabulary
        self.weight = uniform(vocabulary - 1, width, bound=init_range)
        self.bias = nn.Parameter(torch.zeros(vocabulary - 1))
        parents = huffman(shares(counts, vocabulary))
        self.levels = by_depth(parents)
        """nodes of each depth below the root's"""
        signs = np.ones(2 * vocabulary - 2)
        last = np.unique(parents, return_index=True)[1]  # the child with the lower number is on the left
        signs[last] = -1
        starts, nodes, steps = paths(parents, self.levels, vocabulary)
        for name, array in {
            "parents": parents - vocabulary,  # as rows of `weight`
            "signs": signs.astype(np.int8),
            "starts": starts,
            "nodes": nodes - vocabulary,
            "steps": steps,
        }.items():
            self.register_buffer(name, torch.as_tensor(array), persistent=False)

    parents: Tensor
    """[2V - 2] row of `weight` that decides on each node"""
    signs: Tensor
    """[2V - 2] int8: +1 if that decision has to be left"""
    starts: Tensor
    """[V + 1] start of each token's path in `nodes` and `steps`"""
    nodes: Tensor
    """[sum of depths] rows of `weight` on the path"""
    steps: Tensor
    """[sum of depths] node that each decision leads to"""

    @override
    def nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        begin, lengths = self.starts[targets], self.starts[targets + 1] - self.starts[targets]  # [N]
        rows = torch.repeat_interleave(lengths)  # [P]
        within = torch.arange(len(rows), device=rows.device) - (lengths.cumsum(0) - lengths)[rows]
        pairs = begin[rows] + within
        signs = self.signs[self.steps[pairs]].to(self.weight.dtype)
        return path_cross_entropy(hidden, self.weight, self.bias, rows, self.nodes[pairs], signs)

    @override
    def log_probs(self, hidden: Tensor) -> Tensor:
        """From the root to the leaves, depth by depth."""
        scores = F.linear(hidden, self.weight, self.bias)  # [..., V - 1]
        scores = scores.to(softmax_dtype(scores))
        logp = scores.new_zeros(*scores.shape[:-1], 2 * self.vocabulary - 1)  # log-probability of each node
        for level in self.levels:
            nodes = torch.as_tensor(level, device=scores.device)
            above = self.parents[nodes]
            taken = F.logsigmoid(scores[..., above] * self.signs[nodes].to(scores.dtype))
            logp = logp.index_copy(-1, nodes, logp[..., above + self.vocabulary] + taken)
        return logp[..., : self.vocabulary]

    @override
    def token_rows(self) -> dict[str, Sequence[int]]:
        """Raises: the decisions belong to the tree of one vocabulary."""
        raise no_other_vocabulary()


def by_depth(parents: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Nodes at depth 1, 2, and so on."""
    depth = np.zeros(len(parents) + 1, np.int64)
    for node in range(len(parents) - 1, -1, -1):  # a parent has the higher number
        depth[node] = depth[parents[node]] + 1
    order = np.argsort(depth[:-1], kind="stable")
    return np.split(order, np.flatnonzero(np.diff(depth[:-1][order])) + 1)


def paths(
    parents: NDArray[np.int64], levels: list[NDArray[np.int64]], leaves: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Concatenated paths of all leaves: their starts [V + 1], deciding nodes and next nodes [sum of depths]."""
    depth = np.zeros(len(parents) + 1, np.int64)
    for number, level in enumerate(levels, 1):
        depth[level] = number
    starts = np.concatenate([[0], np.cumsum(depth[:leaves])])
    nodes, steps = np.zeros(starts[-1], np.int64), np.zeros(starts[-1], np.int64)
    at = np.arange(leaves)  # current node of each path, on the way up
    active = np.arange(leaves)
    for up in range(len(levels)):
        active = active[depth[active] > up]
        steps[starts[active] + up] = at[active]
        at[active] = parents[at[active]]
        nodes[starts[active] + up] = at[active]
    return starts, nodes, steps


class ClassesHead(Head):
    """p(token) = p(class) p(token | class); classes are ranges of ranks with equal sums of sqrt(frequency).

    About sqrt(V) classes (Goodman 2001). Tokens are in the order of ranks.
    """

    def __init__(self, width: int, bands: Bands, init_range: float, chunk: int):
        super().__init__()
        self.bands, self.chunk = bands, chunk
        self.weight, self.bias = (
            uniform(bands.bounds[-1], width, bound=init_range),
            nn.Parameter(torch.zeros(bands.bounds[-1])),
        )
        self.classes = nn.Linear(width, len(bands))

    @override
    def nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        ranks = self.bands.ranks(targets)
        classes = torch.bucketize(ranks.contiguous(), self.bands.inner, right=True)
        nll = linear_cross_entropy(hidden, self.classes.weight, self.classes.bias, classes, self.chunk)
        weights, biases = self.weight.split(self.bands.sizes), self.bias.split(self.bands.sizes)
        members = self.bands.divide(ranks)
        losses = [nll.new_zeros(0)]
        for i, indices in enumerate(members):
            if len(indices):
                local = ranks[indices] - self.bands.bounds[i]
                losses.append(linear_cross_entropy(hidden[indices], weights[i], biases[i], local, self.chunk))
        return nll.index_add(0, torch.cat(members), torch.cat(losses))

    @override
    def log_probs(self, hidden: Tensor) -> Tensor:
        classes, scores = self.classes(hidden), F.linear(hidden, self.weight, self.bias)
        classes = classes.log_softmax(-1, dtype=softmax_dtype(classes))  # [..., C]
        parts = [part.log_softmax(-1, dtype=softmax_dtype(part)) for part in scores.split(self.bands.sizes, -1)]
        within = [part + classes[..., i, None] for i, part in enumerate(parts)]
        return self.bands.by_token(torch.cat(within, -1))

    @override
    def token_rows(self) -> dict[str, Sequence[int]]:
        """Raises: the classes are those of one vocabulary."""
        raise no_other_vocabulary()


def class_cutoffs(by_rank: NDArray[np.float64], number: int) -> tuple[int, ...]:
    """Cutoffs of `number` non-empty classes with about equal sums of the roots of falling shares [V]."""
    reached = np.sqrt(by_rank).cumsum()
    cuts = np.searchsorted(reached, reached[-1] * np.arange(1, number) / number) + 1
    cuts = np.maximum.accumulate(np.maximum(cuts, np.arange(1, number)) - np.arange(number - 1)) + np.arange(number - 1)
    return tuple(int(cut) for cut in np.minimum(cuts, len(by_rank) - np.arange(number - 1, 0, -1)))


def no_other_vocabulary() -> ConfigError:
    """The error for starting a hierarchical head from one with another vocabulary."""
    return ConfigError(
        'init: head.kind = "hierarchical" has a tree or classes made for its vocabulary, so it cannot continue with '
        'another; keep the old one with data.tokenizer = { kind = "file", path = "RUN" }'
    )


class HierarchicalHeadConfig(Config):
    """Hierarchical softmax: decisions in a Huffman tree, or two levels of classes; faster but less accurate."""

    kind: Literal["hierarchical"] = "hierarchical"
    tree: Literal["huffman", "classes"] = "huffman"
    """binary decisions, fewer for frequent tokens (arXiv:1310.4546), or classes by frequency and tokens within them"""
    classes: Size | None = None
    """number of classes; absent: the square root of the vocabulary size"""
    init_range: Positive | None = None
    """weights start uniform in +- this; absent: 1 / sqrt(width)"""
    chunk: Size = CHUNK
    """number of scores of classes computed at once in training"""

    def build(self, width: int, vocabulary: int, embedding: Embedding | None, counts: Counts | None = None) -> Head:
        """Build a head on hidden vectors of `width`; `counts` [vocabulary] are token frequencies."""
        init_range = self.init_range or width**-0.5
        if self.tree == "huffman":
            return HuffmanHead(width, vocabulary, counts, init_range)
        number = min(vocabulary, self.classes or math.ceil(math.sqrt(vocabulary)))
        by_rank = np.sort(shares(counts, vocabulary))[::-1]
        return ClassesHead(width, Bands(vocabulary, counts, class_cutoffs(by_rank, number)), init_range, self.chunk)
