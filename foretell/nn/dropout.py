"""Dropout in the variants that language models use.

Sources: Gal and Ghahramani 2016 (arXiv:1512.05287) for masks shared over time steps and for whole tokens of the
embedding; Merity, Keskar and Socher 2018 (AWD-LSTM, arXiv:1708.02182) for their combination.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor


def keep_mask(like: Tensor, shape: tuple[int, ...], rate: float) -> Tensor:
    """Draw a mask of zeros and 1 / (1 - rate), with expectation 1, of the dtype and device of `like`.

    Uses torch's generator. On a CPU that seeds a faster one with 16 bits per element, as weight dropout needs a random
    number per recurrent weight at every step; the rate is then rounded to a multiple of 2**-16 below 1.
    """
    if like.device.type != "cpu" or torch.compiler.is_compiling():
        return (torch.rand(shape, device=like.device) >= rate).to(like.dtype).mul_(1 / (1 - rate))
    size = math.prod(shape)
    seed = int(torch.randint(2**63 - 1, ()))
    bits = np.random.SFC64(seed).random_raw(-(-size // 4)).view(np.int16)[:size]
    least = min(round(rate * 2**16), 2**16 - 1) - 2**15
    keep = np.greater_equal(bits, np.int16(least)).view(np.int8)  # numpy is faster here
    return torch.from_numpy(keep).view(shape).to(like.dtype).mul_(1 / (1 - rate))


def dropout(inputs: Tensor, rate: float, training: bool, locked: bool) -> Tensor:
    """Dropout of inputs [B, T, D]; `locked`: one mask [B, 1, D] for all time steps of a row."""
    if not training or rate == 0:
        return inputs
    rows, steps, width = inputs.shape
    return inputs * keep_mask(inputs, (rows, 1 if locked else steps, width), rate)


def weight_drop(weight: Tensor, rate: float, training: bool, by_rows: bool = False) -> Tensor:
    """DropConnect on a weight [N, K]: one mask per call, so per window, for all rows and time steps of a batch.

    `by_rows` drops all K weights of an output together. The raw weight is unchanged and gets the gradient; in
    evaluation it is returned itself.
    """
    if not training or rate == 0:
        return weight
    shape = (len(weight), 1) if by_rows else tuple(weight.shape)
    return weight * keep_mask(weight, shape, rate)


def word_dropout(embedded: Tensor, tokens: Tensor, vocabulary: int, rate: float, training: bool) -> Tensor:
    """Embedding dropout: drop whole tokens for a window, in all their occurrences.

    embedded [B, T, D] are the embeddings of tokens [B, T]. Equal to dropping rows of the V x D table before the
    look-up, without touching V x D elements.
    """
    if not training or rate == 0:
        return embedded
    return embedded * keep_mask(embedded, (vocabulary, 1), rate)[tokens]


def table_dropout(vectors: Tensor, rows: Tensor, size: int, rate: float, training: bool) -> Tensor:
    """Dropout of elements of a table of `size` rows, of which `vectors` [..., D] are the `rows` [...]."""
    if not training or rate == 0:
        return vectors
    return vectors * keep_mask(vectors, (size, vectors.shape[-1]), rate)[rows]
