"""Dropout as recurrent language models use it.

Sources: Gal and Ghahramani 2016 (arXiv:1512.05287) for masks shared over time and for whole words of the embedding;
Merity, Keskar and Socher 2018 (AWD-LSTM, arXiv:1708.02182) for how they are combined.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor


def keep_mask(like: Tensor, shape: tuple[int, ...], rate: float) -> Tensor:
    """A mask of zeros and 1 / (1 - rate) with expectation 1, of like's dtype and device.

    Drawn from torch's generator. On a CPU that only seeds a faster one, which makes sixteen bits an element: weight
    drop needs as many random numbers as there are recurrent weights, at every step. The rate in force is then the
    multiple of 2**-16 next to the one asked for.
    """
    if like.device.type != "cpu" or torch.compiler.is_compiling():
        return (torch.rand(shape, device=like.device) >= rate).to(like.dtype).mul_(1 / (1 - rate))
    size = math.prod(shape)
    seed = int(torch.randint(2**63 - 1, ()))
    bits = np.random.SFC64(seed).random_raw(-(-size // 4)).view(np.int16)[:size]
    keep = np.greater_equal(bits, np.int16(round(rate * 2**16) - 2**15)).view(np.int8)  # numpy is the faster one here
    return torch.from_numpy(keep).view(shape).to(like.dtype).mul_(1 / (1 - rate))


def dropout(inputs: Tensor, rate: float, training: bool, locked: bool) -> Tensor:
    """Dropout of inputs [B, T, D]; `locked`: one mask [B, 1, D] for all time steps of a row."""
    if not training or rate == 0:
        return inputs
    rows, steps, width = inputs.shape
    return inputs * keep_mask(inputs, (rows, 1 if locked else steps, width), rate)


def weight_drop(weight: Tensor, rate: float, training: bool, by_rows: bool = False) -> Tensor:
    """DropConnect on a weight [N, K]: drawn once a call, so once a window, for all rows and time steps of a batch.

    One by one, or `by_rows`: all K that reach an output together.

    The raw weight is not changed and gets the gradient; in evaluation it is returned as it is.
    """
    if not training or rate == 0:
        return weight
    shape = (len(weight), 1) if by_rows else tuple(weight.shape)
    return weight * keep_mask(weight, shape, rate)


def word_dropout(embedded: Tensor, tokens: Tensor, vocabulary: int, rate: float, training: bool) -> Tensor:
    """Embedding dropout: whole words vanish for a window, all their occurrences alike.

    embedded [B, T, D] are the embeddings of tokens [B, T]; equal to dropping rows of the V x D embedding matrix
    before the look-up, without touching V x D numbers.
    """
    if not training or rate == 0:
        return embedded
    return embedded * keep_mask(embedded, (vocabulary, 1), rate)[tokens]


def table_dropout(vectors: Tensor, rows: Tensor, size: int, rate: float, training: bool) -> Tensor:
    """Dropout of single numbers of a table of `size` rows: vectors [..., D] are its `rows` [...]."""
    if not training or rate == 0:
        return vectors
    return vectors * keep_mask(vectors, (size, vectors.shape[-1]), rate)[rows]
