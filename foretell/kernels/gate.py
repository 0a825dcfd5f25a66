"""A network with one hidden layer that gives the weights of a mixture, and learns from each token; compiled by numba.

Its parameters and what it remembers are one row of numbers, as a state is. M members, F = 5 M + 3 features, H hidden
units, C classes of the token before.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foretell.kernels.compiling import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
HIDDEN, CLASSES = 16, 1024
FAST, MIDDLE, SLOW = 0.3, 0.05, 0.005
"""speeds of moving averages of losses"""
WORST = 12.0
"""nats: losses beyond that count like it"""

jit: Any = compiled(__file__)


class Network(NamedTuple):
    """Views of a row."""

    hidden: Floats
    """[F, H]"""
    output: Floats
    """[H, M]"""
    direct: Floats
    """[F, M] weights of features on outputs"""
    bias: Floats
    """[M]"""
    previous: Floats
    """[C, M] by the class of the token before: its id modulo C"""
    averages: Floats
    """[3, M] of losses in nats, fast, middle and slow"""
    last: Floats
    """[M] losses of the token before"""
    streak: Floats
    """[M] tokens in a row that had more than probability 1/2"""
    place: Floats
    """[2] tokens since the word began, class of the token before"""


@jit
def size_of(members: int) -> int:
    """Numbers of a row."""
    features = 5 * members + 3
    return features * (HIDDEN + members) + (HIDDEN + CLASSES + 6) * members + 2


@jit
def network_of(row: Floats, members: int) -> Network:
    """The parts of a row."""
    features = 5 * members + 3
    a = features * HIDDEN
    b = a + HIDDEN * members
    c = b + features * members
    d = c + members
    e = d + CLASSES * members
    f = e + 3 * members
    return Network(
        row[:a].reshape(features, HIDDEN),
        row[a:b].reshape(HIDDEN, members),
        row[b:c].reshape(features, members),
        row[c:d],
        row[d:e].reshape(CLASSES, members),
        row[e:f].reshape(3, members),
        row[f : f + members],
        row[f + members : f + 2 * members],
        row[f + 2 * members : f + 2 * members + 2],
    )


@jit
def forward(net: Network, inputs: Floats, hidden: Floats, weights: Floats) -> None:
    """Fill in features [F], hidden units [H] and weights [M]."""
    members = len(weights)
    mean_last = net.last.mean()
    for speed in range(3):
        mean = net.averages[speed].mean()
        for m in range(members):
            inputs[speed * members + m] = net.averages[speed, m] - mean
    for m in range(members):
        inputs[3 * members + m] = 0.3 * (net.last[m] - mean_last)
        inputs[4 * members + m] = 0.4 * math.log1p(net.streak[m])
    inputs[5 * members] = 1
    inputs[5 * members + 1] = 0.3 * net.averages[0].mean()
    inputs[5 * members + 2] = 0.5 * math.log1p(net.place[0])
    for h in range(HIDDEN):
        total = 0.0
        for f in range(len(inputs)):
            total += inputs[f] * net.hidden[f, h]
        hidden[h] = math.tanh(total)
    highest = -np.inf
    for m in range(members):
        total = net.bias[m] + net.previous[int(net.place[1]), m]
        for f in range(len(inputs)):
            total += inputs[f] * net.direct[f, m]
        for h in range(HIDDEN):
            total += hidden[h] * net.output[h, m]
        weights[m] = total
        highest = max(highest, total)
    for m in range(members):
        weights[m] = math.exp(weights[m] - highest)
    weights /= weights.sum()


@jit
def learn(
    net: Network,
    inputs: Floats,
    hidden: Floats,
    weights: Floats,
    token: int,
    logp: Floats,
    begins_word: NDArray[np.bool_],
    rate: float,
) -> float:
    """A step along the gradient of log p of a token after `forward`, which it then remembers; returns log p.

    `logp` [M] are the members' log-probabilities of the token.
    """
    highest = logp.max()
    if highest == -np.inf:
        return highest
    likelihood = weights * np.exp(logp - highest)
    total = likelihood.sum()
    if total > 0:
        slopes = rate * (likelihood / total - weights)
        for h in range(HIDDEN):
            back = 0.0
            for m in range(len(weights)):
                back += slopes[m] * net.output[h, m]
                net.output[h, m] += slopes[m] * hidden[h]
            back *= 1 - hidden[h] * hidden[h]
            for f in range(len(inputs)):
                net.hidden[f, h] += back * inputs[f]
        for m in range(len(weights)):
            for f in range(len(inputs)):
                net.direct[f, m] += slopes[m] * inputs[f]
            net.bias[m] += slopes[m]
            net.previous[int(net.place[1]), m] += slopes[m]
    for m in range(len(weights)):
        loss = min(-logp[m], WORST)
        net.averages[0, m] += FAST * (loss - net.averages[0, m])
        net.averages[1, m] += MIDDLE * (loss - net.averages[1, m])
        net.averages[2, m] += SLOW * (loss - net.averages[2, m])
        net.last[m] = loss
        net.streak[m] = net.streak[m] + 1 if loss < math.log(2) else 0
    net.place[0] = 0 if begins_word[token] else net.place[0] + 1
    net.place[1] = token % CLASSES
    return highest + math.log(total) if total > 0 else -np.inf


@jit
def read(
    row: Floats, tokens: Ints, logp: Floats, begins_word: NDArray[np.bool_], rate: float, mixed: Floats, used: Floats
) -> None:
    """Log-probabilities [N] of a text [N] from those of the members [N, M], and the weights used [N, M]; the row learns
    from each token after it was scored."""
    members = logp.shape[1]
    net, inputs, hidden = network_of(row, members), np.zeros(5 * members + 3), np.zeros(HIDDEN)
    for n in range(len(tokens)):
        forward(net, inputs, hidden, used[n])
        mixed[n] = learn(net, inputs, hidden, used[n], tokens[n], logp[n], begins_word, rate)
