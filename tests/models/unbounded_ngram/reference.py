"""n-grams of unbounded order from their definition: sets of contexts, in Python's own floats."""

import math

from foretell.models.unbounded_ngram.counting import LONGEST
from foretell.models.unbounded_ngram.predicting import ALONE, BOTH, CELLS, KEEP, Weights, cell_of

START = -1
"""what is before a text"""
Pairs = list[tuple[tuple[int, ...], int | None]]
"""contexts, last token first, and what follows"""


def pairs_of(text: list[int], *, ended: bool) -> Pairs:
    """All contexts of a text; `ended`: the whole text is one too, which nothing follows."""
    found: Pairs = [((*text[:i][::-1], START), text[i]) for i in range(len(text))]
    return [*found, ((*text[::-1], START), None)] if ended else found


class Context:
    """A context that is read, among those of a text: how often it occurs, and its Kneser-Ney counts."""

    def __init__(self, pairs: Pairs, ending: tuple[int, ...], excluded: int):
        here = [(context, token) for context, token in pairs if context[: len(ending)] == ending]
        self.occurrences = len(here)
        followers = {token for _, token in here if token is not None and token != excluded}
        self.types = len(followers)
        branches = {context[len(ending)] for context, _ in here if len(context) > len(ending)}
        self.is_node = len(branches) > 1
        self.counts = {token: 1 for token in followers}
        if self.is_node:
            longer = {(context[len(ending)], token) for context, token in here if token in followers}
            self.counts = {token: sum(other == token for _, other in longer) for token in followers}
        self.total = sum(self.counts.values())
        self.set = frozenset(context for context, _ in here)


def levels(pairs: Pairs, context: list[int], excluded: int) -> dict[int, Context]:
    """The endings of a context that occur: by length, each set of occurrences once, with its longest ending."""
    found: dict[int, Context] = {}
    for length in range(len(context) + 1):
        one = Context(pairs, tuple(context[len(context) - length :][::-1]), excluded)
        if not one.set:
            break
        found = {other: old for other, old in found.items() if old.set != one.set}
        found[length] = one
    return found


def at_length(found: dict[int, Context], length: int) -> Context | None:
    """The occurrences of an ending of this length."""
    return next((one for longest, one in sorted(found.items()) if longest >= length), None)


def distribution(
    trained: Pairs, read: Pairs | None, context: list[int], weights: Weights, vocabulary: int
) -> list[float]:
    """p(w) of each token after a context; `read`: pairs of the text read, for a model that also counts it."""
    mine = levels(trained, context, vocabulary)
    its = levels(read, context, vocabulary) if read is not None else {}
    values = weights.values.reshape(-1)
    p = [1 / vocabulary] * vocabulary
    for length in sorted({*mine, *its}):
        if length > LONGEST:
            break
        two = at_length(mine, length), at_length(its, length)
        exact = [one is not None and at.get(length) is one for one, at in zip(two, (mine, its), strict=True)]
        counts, occurrences, types = [], [], []
        for column, one in enumerate(two):
            if one is None or not one.types:
                counts.append({})
                occurrences.append(0)
                types.append(0)
                continue
            counts.append(one.counts if exact[column] and one.is_node else {token: 1 for token in one.counts})
            occurrences.append(one.occurrences if column == 0 else sum(counts[1].values()))
            types.append(one.types)
        if not any(types):
            continue
        table = BOTH if all(types) else ALONE
        discounts = [
            values[(table + column) * CELLS + cell_of(length, occurrences[column], types[column])] for column in (0, 1)
        ]
        keep = values[KEEP * CELLS + cell_of(length, sum(occurrences), max(types))]
        total = sum(sum(count.values()) for count in counts)
        freed = sum(discount * number for discount, number in zip(discounts, types, strict=True))
        p = [
            keep
            * (sum(max(count.get(w, 0) - d, 0) for count, d in zip(counts, discounts, strict=True)) + freed * q)
            / total
            + (1 - keep) * q
            for w, q in enumerate(p)
        ]
    assert math.isclose(sum(p), 1, rel_tol=1e-9)
    return p
