"""The history of a text and what contexts follow from it: words, lines, columns, matches; compiled by numba."""

from __future__ import annotations

import numpy as np
from numba import uint64

from foretell.models.context_mixing.hashing import byte_at, inlined, mixed
from foretell.models.context_mixing.tables import LONGEST, Tables

FIRST_BYTE, BOUNDARY = 1, 0
"""byte b is token b + 1, as in the byte tokenizer"""


@inlined
def is_letter(byte: int) -> bool:
    """Whether a byte is a letter, or part of a character beyond ASCII."""
    return 97 <= byte <= 122 or 65 <= byte <= 90 or byte >= 128


@inlined
def advance(t: Tables, token: int, learn: bool) -> None:
    """Append a token to the history, a boundary as byte 0; without learning later matches do not find it."""
    n, byte = t.position[0], max(token - FIRST_BYTE, 0)
    if learn:
        t.position[3] += 1
        last, before = byte_at(t, 1), byte_at(t, 2)
        t.followers[last, before] = (t.followers[last, before] << np.uint16(8)) | np.uint16(byte)
    t.history[n] = byte
    n += 1
    t.position[0] = n
    if token == BOUNDARY:
        t.position[1] = t.position[2] = n
        t.words[:] = uint64(0)
    if byte == 10:
        t.position[2], t.position[1] = t.position[1], n
    letter = is_letter(byte)
    t.position[4] = (t.position[4] << 1) & 255 | int(letter)
    t.position[5] = t.position[5] + 1 if letter else 0
    if letter:
        t.words[0] = mixed(t.words[0], byte + 32 if byte <= 90 else byte)
    elif t.words[0] != 0:
        t.words[2], t.words[1], t.words[0] = t.words[1], t.words[0], uint64(0)
    for m in range(len(t.matches)):
        find_match(t, m, learn)


@inlined
def find_match(t: Tables, m: int, learn: bool) -> None:
    """Follow a match by one byte, or look for a new one."""
    n, shortest = t.position[0], t.lengths[m]
    if t.matches[m, 1] > 0 and t.history[t.matches[m, 0]] == t.history[n - 1]:
        t.matches[m, 0] += 1
        t.matches[m, 1] = min(t.matches[m, 1] + 1, LONGEST)
    else:
        t.matches[m, 1] = 0
    if n < shortest:
        return
    h = uint64(m + 1)
    for back in range(1, shortest + 1):
        h = mixed(h, int(t.history[n - back]))
    place = np.int64(h & uint64(t.heads.shape[1] - 1))
    if t.matches[m, 1] == 0:
        before, length = t.heads[m, place], 0
        while length < min(before, LONGEST) and t.history[before - 1 - length] == t.history[n - 1 - length]:
            length += 1
        if length >= shortest:
            t.matches[m, 0], t.matches[m, 1] = before, length
    if learn:
        t.heads[m, place] = n
