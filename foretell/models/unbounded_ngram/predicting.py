"""Probabilities from the contexts of two texts: the training text, and the one being read.

Contexts of the text read so far, from the empty one to the longest that occurred, are *levels*. Level k interpolates
its Kneser-Ney counts c, of both texts together, with the level before:

    p_k(w) = keep (sum over texts of max(c(w) - D, 0) + D types p_{k-1}(w)) / total + (1 - keep) p_{k-1}(w)

p_0 is uniform. The discounts D and keep are learned, one for each *cell*: a range of lengths, of frequencies and of
numbers of types. Every p_k sums to one whatever they are, since c sums to the total.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foretell.kernels.suffix_index import LEVELS, Index, Path, Whole, at_least, read
from foretell.models.unbounded_ngram.counting import LONGEST, Counts, inlined, jit
from foretell.models.unbounded_ngram.growing import Tree, append, count_in, grow, has_room, walk

Floats = NDArray[np.float64]
TABLES, CELLS = 5, 16 * 16 * 10
ALONE, BOTH, KEEP = 0, 2, 4
"""tables of weights: discounts of each text where the other has no such context, where it has one, and of keep"""
MOST = 2 * LEVELS
HELD: Final = 1 << 30
"""length of a context that no other begins with"""
STEEPEST = 2.0
"""largest gradient of a weight"""
RATE = 0.1
"""learning rate of Adagrad"""


class Weights(NamedTuple):
    """Learned weights, [TABLES, CELLS] each."""

    logits: Floats
    values: Floats
    """discounts and keep: the logistic function of the logits"""
    squares: Floats
    """sums of squared gradients"""


class Levels(NamedTuple):
    """The levels of a place, with a column for each text; scratch."""

    node: Whole
    """[MOST, 2] level of the path; node of the tree; -1: the text has no such context"""
    whole: Whole
    """[MOST, 2] length of the context with the token, if all of it is a node; `HELD`: its followers count once"""
    total: Floats
    types: Floats
    cell: Whole
    keep_cell: Whole
    """[MOST]"""
    found: Floats
    """[MOST, 2] counts of the token looked up last"""
    below: Floats
    """[MOST] its probability a level below"""
    inner: Floats
    """[MOST] its probability before keep"""
    unseen: Floats
    """[MOST] factor from the level below to the last level, for a token that has no counts from here on"""
    nodes: Whole
    """[LEVELS] path of the tree"""
    lengths: Whole
    """[LEVELS] and its tokens"""
    number: Whole
    """[2] levels, nodes of the tree"""


class Model(NamedTuple):
    """All that a prediction needs except where it stands."""

    contexts: Index
    counts: Counts
    weights: Weights
    vocabulary: int


def first_weights() -> Weights:
    """Weights before learning."""
    logits = np.full((TABLES, CELLS), 0.5)
    logits[KEEP] = 4.0
    return weights_of(logits, np.ones((TABLES, CELLS)))


def weights_of(logits: Floats, squares: Floats) -> Weights:
    """The weights with these logits."""
    return Weights(logits, 1 / (1 + np.exp(-logits)), squares)


def no_levels() -> Levels:
    """Room for the levels of a place."""
    whole, floats = [np.zeros((MOST, 2), np.int64) for _ in range(3)], [np.zeros((MOST, 2)) for _ in range(3)]
    return Levels(
        node=whole[0],
        whole=whole[1],
        total=floats[0],
        types=floats[1],
        cell=whole[2],
        keep_cell=np.zeros(MOST, np.int64),
        found=floats[2],
        below=np.zeros(MOST),
        inner=np.zeros(MOST),
        unseen=np.zeros(MOST),
        nodes=np.zeros(LEVELS, np.int64),
        lengths=np.zeros(LEVELS, np.int64),
        number=np.zeros(2, np.int64),
    )


@inlined
def log2(n: int) -> int:
    """The logarithm of a number, rounded down."""
    found = 0
    while n > 1:
        n >>= 1
        found += 1
    return found


@inlined
def cell_of(length: int, occurrences: int, types: int) -> int:
    """The cell of a context."""
    by_length = length if length < 8 else min(15, 5 + log2(length))
    by_occurrences = occurrences if occurrences < 5 else min(15, 3 + log2(occurrences))
    by_types = types if types < 5 else min(9, 3 + log2(types))
    return (by_length * 16 + by_occurrences) * 10 + by_types


@inlined
def arrange(model: Model, path: Path, tree: Tree, grows: bool, levels: Levels) -> None:
    """Find the levels of a place: contexts that are nodes in one text or both. `grows`: the tree is that text."""
    n, k, j = 0, 0, 0
    depth = walk(tree, levels.nodes, levels.lengths) if grows else 0
    while k < path.depth[0] or j < depth:
        length = min(path.length[k] if k < path.depth[0] else HELD, levels.lengths[j] if j < depth else HELD)
        if length > LONGEST or n == MOST:
            break
        for text in range(2):
            levels.node[n, text], levels.total[n, text], levels.types[n, text] = -1, 0, 0
        here, there = 0, 0  # occurrences
        if k < path.depth[0]:
            here = _of_path(model, path, k, length, n, levels)
        if j < depth:
            node = levels.nodes[j]
            levels.node[n, 1], levels.whole[n, 1] = node, length
            levels.types[n, 1], levels.total[n, 1] = tree.types[node], tree.total[node]
            if length < tree.length[node]:
                levels.total[n, 1], levels.whole[n, 1] = tree.types[node], HELD
            there = int(levels.total[n, 1])
        if k < path.depth[0] and path.length[k] == length:
            k += 1
        if j < depth and levels.lengths[j] == length:
            j += 1
        if here == 0 and there == 0:
            continue
        table = BOTH if here > 0 and there > 0 else ALONE
        most = max(levels.types[n, 0], levels.types[n, 1])
        levels.cell[n, 0] = table * CELLS + cell_of(length, here, int(levels.types[n, 0]))
        levels.cell[n, 1] = (table + 1) * CELLS + cell_of(length, there, int(levels.types[n, 1]))
        levels.keep_cell[n] = KEEP * CELLS + cell_of(length, here + there, int(most))
        n += 1
    levels.number[0], levels.number[1] = n, depth


@inlined
def _of_path(model: Model, path: Path, k: int, length: int, n: int, levels: Levels) -> int:
    """Fill in a level of the training text; returns how often the context occurs, 0 where no token follows it."""
    counts, size = model.counts, path.end[k] - path.begin[k]
    types, total, whole = 1, 1, HELD
    if size > 1:
        at = path.begin[k] if k == 0 or path.begin[k] != path.begin[k - 1] else path.end[k] - 1
        types, total = int(counts.types[at]), int(counts.total[at])
        if length == counts.length[at] and length < LONGEST:
            whole = length + 1
        else:
            total = types
    elif _ends(model, path.begin[k]):
        types = 0
    if types == 0:
        return 0
    levels.node[n, 0], levels.whole[n, 0], levels.types[n, 0], levels.total[n, 0] = k, whole, types, total
    return size


@inlined
def _ends(model: Model, row: int) -> bool:
    """Whether no token follows the context of a row."""
    follows, first = model.contexts
    end = first[model.vocabulary + 1]
    at = at_least(follows, first[model.vocabulary], end, row)
    return at < end and follows[at - 1] == row


@inlined
def find_unseen(model: Model, levels: Levels) -> None:
    """The factors of tokens without counts, for the levels that were found."""
    values, factor = model.weights.values.reshape(-1), 1.0
    for i in range(levels.number[0] - 1, -1, -1):
        freed, keep = 0.0, values[levels.keep_cell[i]]
        for text in range(2):
            freed += values[levels.cell[i, text]] * levels.types[i, text]
        factor *= keep * freed / (levels.total[i, 0] + levels.total[i, 1]) + 1 - keep
        levels.unseen[i] = factor


@inlined
def probability(model: Model, path: Path, tree: Tree, levels: Levels, token: int, whole: bool) -> float:
    """The probability of a token at the place whose levels were found.

    A token without counts at a level has none at the levels above. There, unless the `whole` is wanted to learn from,
    the rest is a factor of `find_unseen`.
    """
    index, counts, values = model.contexts, model.counts, model.weights.values.reshape(-1)
    low, high = index.first[token], index.first[token + 1]  # of the contexts with the token, at level k of the path
    around_low, last_low, last_high = 0, 0, len(index.follows) + 1  # of intervals around it that differ
    k, p = 0, 1 / model.vocabulary
    for i in range(levels.number[0]):
        level, node = levels.node[i, 0], levels.node[i, 1]
        levels.found[i, 0] = levels.found[i, 1] = 0
        while k <= level:
            if k > 0 and low < high:
                low = at_least(index.follows, low, high, path.begin[k])
                high = at_least(index.follows, low, high, path.end[k])
            if low < high and (low != last_low or high != last_high):
                around_low, last_low, last_high = last_low, low, high
            k += 1
        if level >= 0 and low < high:
            at = high - 1 if around_low == low else low
            length = levels.whole[i, 0]
            alone = length == HELD or high - low == 1 or counts.length[at] != length
            levels.found[i, 0] = 1 if alone else counts.branches[at]
        if node >= 0:
            count = count_in(tree, node, token)
            levels.found[i, 1] = min(count, 1) if levels.whole[i, 1] == HELD else count
        if not whole and levels.found[i, 0] == 0 and levels.found[i, 1] == 0:
            return p * levels.unseen[i]
        mass, freed = 0.0, 0.0
        for text in range(2):
            discount = values[levels.cell[i, text]]
            mass += levels.found[i, text] - discount if levels.found[i, text] > 0 else 0.0
            freed += discount * levels.types[i, text]
        inner = (mass + freed * p) / (levels.total[i, 0] + levels.total[i, 1])
        levels.below[i], levels.inner[i] = p, inner
        keep = values[levels.keep_cell[i]]
        p = keep * inner + (1 - keep) * p
    return p


@inlined
def learn_weights(weights: Weights, levels: Levels, p: float, rate: float) -> None:
    """A step along the gradient of log p of the token looked up last."""
    values, gradient = weights.values.reshape(-1), 1 / p
    for i in range(levels.number[0] - 1, -1, -1):
        total, keep, freed = levels.total[i, 0] + levels.total[i, 1], values[levels.keep_cell[i]], 0.0
        for text in range(2):
            if levels.types[i, text] > 0:
                discount = values[levels.cell[i, text]]
                slope = (levels.types[i, text] * levels.below[i] - (levels.found[i, text] > 0)) / total
                freed += discount * levels.types[i, text] / total
                _step(weights, levels.cell[i, text], gradient * keep * slope, rate)
        _step(weights, levels.keep_cell[i], gradient * (levels.inner[i] - levels.below[i]), rate)
        gradient *= keep * freed + 1 - keep


@inlined
def _step(weights: Weights, cell: int, slope: float, rate: float) -> None:
    """A step of Adagrad; `slope` is that of the value."""
    logits, values, squares = weights.logits.reshape(-1), weights.values.reshape(-1), weights.squares.reshape(-1)
    step = min(max(slope * values[cell] * (1 - values[cell]), -STEEPEST), STEEPEST)
    squares[cell] += step * step
    logits[cell] += rate * step / math.sqrt(squares[cell])
    values[cell] = 1 / (1 + math.exp(-logits[cell]))


@inlined
def fill(model: Model, path: Path, tree: Tree, grows: bool, levels: Levels, logp: Floats) -> None:
    """Log-probabilities of all tokens [V]."""
    arrange(model, path, tree, grows, levels)
    find_unseen(model, levels)
    for token in range(model.vocabulary):
        logp[token] = math.log(probability(model, path, tree, levels, token, False))


@jit
def follow(model: Model, path: Path, tree: Tree, tokens: Whole, grows: bool) -> None:
    """Read tokens [T] as context only."""
    for token in tokens:
        read(model.contexts, path, token)
        if grows:
            append(tree, token)


@jit
def score(model: Model, path: Path, tree: Tree, levels: Levels, tokens: Whole, targets: Whole, logp: Floats) -> None:
    """Read tokens [T], and score the target after each; negative ones have no score."""
    for t in range(len(tokens)):
        read(model.contexts, path, tokens[t])
        if targets[t] >= 0:
            arrange(model, path, tree, False, levels)
            find_unseen(model, levels)
            logp[t] = math.log(probability(model, path, tree, levels, targets[t], False))


@inlined
def learn_token(model: Model, path: Path, tree: Tree, levels: Levels, token: int, grows: bool, rate: float) -> float:
    """The probability of the next token, before it is learned; -1, and nothing is learned, where the tree is full."""
    arrange(model, path, tree, grows, levels)
    if grows and not has_room(tree, levels.nodes[levels.number[1] - 1]):
        return -1.0
    p = probability(model, path, tree, levels, token, True)
    if rate > 0:
        learn_weights(model.weights, levels, p, rate)
    if grows:
        grow(tree, token, levels.nodes, levels.lengths, levels.number[1])
    read(model.contexts, path, token)
    return p


@jit
def learn(
    model: Model, path: Path, tree: Tree, levels: Levels, tokens: Whole, grows: bool, rate: float, logp: Floats
) -> int:
    """Score tokens [T], each before it is learned: by the tree, if it grows, and by the weights.

    Stops where the tree is full; returns how many it has read.
    """
    for t in range(len(tokens)):
        p = learn_token(model, path, tree, levels, tokens[t], grows, rate)
        if p < 0:
            return t
        logp[t] = math.log(p)
    return len(tokens)


@jit
def distributions(
    model: Model, path: Path, tree: Tree, levels: Levels, tokens: Whole, grows: bool, logp: Floats
) -> int:
    """Log-probabilities [T, V] of the token after each of the tokens [T], which are learned if the tree grows.

    Stops as `learn` does.
    """
    for t in range(len(tokens)):
        if not grows:
            read(model.contexts, path, tokens[t])
        elif learn_token(model, path, tree, levels, tokens[t], grows, RATE) < 0:
            return t
        fill(model, path, tree, grows, levels, logp[t])
    return len(tokens)


@jit
def logp_of(model: Model, path: Path, tree: Tree, grows: bool, levels: Levels, token: int) -> float:
    """The log-probability of a token."""
    arrange(model, path, tree, grows, levels)
    find_unseen(model, levels)
    return math.log(probability(model, path, tree, levels, token, False))


@jit
def distribution(model: Model, path: Path, tree: Tree, grows: bool, levels: Levels, logp: Floats) -> None:
    """Log-probabilities of all tokens [V]."""
    fill(model, path, tree, grows, levels, logp)
