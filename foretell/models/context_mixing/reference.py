"""Context mixing in plain Python and double precision, with dictionaries for tables: what `compiled` is tested against.

The probability of each bit of a byte, most significant first, is predicted like this:

1. Each context keeps, for every value it has had and every node of the tree of bits, a probability p, a count n and the
   last eight bits. p moves to each new bit by 1 / (n + 1.6).
2. Two adaptive maps correct p: by n, stretch(p) and the last two bits, and by n and the last eight bits, where
   stretch(p) = ln(p / (1 - p)).
3. A match model finds the last occurrence of the last bytes and predicts the byte after it, with the share of cases in
   which matches of that length were right.
4. All stretched predictions, and the log-odds by experts if there are any, are the inputs of several logistic mixers,
   whose weights are selected by different places in the text and follow the gradient of the coding cost; a last one
   mixes their outputs (Mahoney 2005, "Adaptive weighing of context models for lossless data compression").
5. Two final corrections map the result, interpolated between 33 bins, and are averaged with it.

Everything that predicted a bit learns from it, once the byte is known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

CLAMP, TINY = 12.0, 2.0**-16


def squash(x: float) -> float:
    """The logistic function."""
    return 1 / (1 + math.exp(-x))


def stretch(p: float) -> float:
    """Log-odds, in steps of 1/4096."""
    return log_odds(int(p * 4095.99))


def log_odds(step: int) -> float:
    """Log-odds of a probability in steps of 1/4096."""
    return math.log((step + 0.5) / (4095.5 - step))


def clamped(x: float, limit: float = CLAMP) -> float:
    """x within limits."""
    return min(max(x, -limit), limit)


def level(n: int) -> int:
    """Level of a count."""
    return n if n < 8 else min(15, 8 + int(math.log2(n / 8) * 1.6))


def bucket_of(length: int) -> int:
    """Bucket of the length of a match."""
    return length if length < 8 else min(15, 8 + int(math.log2(length / 8) * 2))


@dataclass
class Cell:
    """An adaptive probability; `seen` counts its bits."""

    p: float
    seen: int = 0

    def learn(self, bit: int) -> None:
        """Move towards a bit."""
        self.p += (bit - self.p) / (self.seen + 1.5)
        self.seen = min(self.seen + 1, 1000)


@dataclass
class Slot:
    """The statistics of a node in a context."""

    p: float = 0.5
    count: int = 0
    bits: int = 0


@dataclass
class Reference:
    """A model that learns from every byte it reads."""

    contexts: Sequence[tuple[int, int]]
    mixers: Sequence[int]
    lengths: Sequence[int]
    text: bytearray = field(default_factory=bytearray)
    tables: dict[Any, Any] = field(default_factory=dict)
    matches: list[list[int]] = field(default_factory=list)
    words: list[bytes] = field(default_factory=lambda: [b"", b"", b""])
    lines: list[int] = field(default_factory=lambda: [0, 0])
    letters: list[bool] = field(default_factory=lambda: [False] * 8)
    followers: dict[tuple[int, int], list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.matches = [[0, 0] for _ in self.lengths]

    def back(self, count: int) -> int:
        """The byte `count` positions back."""
        return self.text[-count] if count <= len(self.text) else 0

    def above(self) -> int:
        """The byte of the line before in the same column."""
        line, before = self.lines
        place = before + len(self.text) - line
        return self.text[place] if place < line else 0

    def expected(self, m: int) -> int:
        """The byte that a match model expects."""
        at, length = self.matches[m]
        return self.text[at] if length else 0

    def values(self) -> list[Any]:
        """The value of each context."""
        found: list[Any] = []
        for kind, argument in self.contexts:
            word = tuple(self.words[:argument]), self.back(1) if not self.words[0] else 0
            column = min(len(self.text) - self.lines[0], 255)
            found.append(
                [
                    bytes(self.text[len(self.text) - argument :]) if argument <= len(self.text) else bytes(self.text),
                    word,
                    (self.back(2), self.back(3)),
                    (self.above(), column, self.back(1)),
                    (self.words[0], self.above()),
                    tuple((self.expected(m), bucket_of(self.matches[m][1])) for m in range(len(self.lengths))),
                    (self.words[0], self.words[2], self.back(1) if not self.words[0] else 0),
                    (self.words[0], self.back(1), tuple(self.letters[-8:])),
                    (tuple(self.followers.get((self.back(1), self.back(2)), [0, 0])[-2:]), self.back(1)),
                ][kind]
            )
        return found

    def cell(self, key: Any, p: float = 0.5) -> Cell:
        """A cell of a map."""
        found: Cell = self.tables.setdefault(key, Cell(p))
        return found

    def score(self, token: int, advice: Sequence[Sequence[float]] = ()) -> float:
        """The log-probability of the next token, in nats; then learn from it. Byte b is b + 1; 0 ends a document.

        `advice` are the log-odds of a 1 for each of its bits, by each expert.
        """
        end = self.cell(("end", self.back(1), self.back(2)), 1 / 512)
        p_end = min(max(end.p, TINY), 1 - TINY)
        end.learn(int(token == 0))
        if token == 0:
            self.advance(0)
            self.words, self.lines = [b"", b"", b""], [len(self.text)] * 2
            return math.log(p_end)
        byte, values, total, node = token - 1, self.values(), math.log(1 - p_end), 1
        learning = []
        for depth in range(8):
            bit = byte >> (7 - depth) & 1
            p, learn = self.predict(values, node, depth, [odds[depth] for odds in advice])
            total += math.log(p if bit else 1 - p)
            learning.append((learn, bit))
            node = node * 2 + bit
        for learn, bit in learning:
            learn(bit)
        self.advance(byte)
        return total

    def predict(self, values: Sequence[Any], node: int, depth: int, advice: Sequence[float] = ()) -> tuple[float, Any]:
        """The probability of a 1 after `node`, and the function that learns the bit."""
        x, cells, highest = list[float](), list[Cell](), 0
        slots: list[Slot] = []
        for c, value in enumerate(values):
            slot = self.tables.setdefault(("slot", c, value, node), Slot())
            slots.append(slot)
            if slot.count == 0:
                x += [0.0] * 4
                continue
            highest = c + 1 if self.contexts[c][0] == 0 else highest
            base = log_odds(int(slot.p * 65536) >> 4)
            place = min(max(int(base * 2 + 16), 0), 31)
            by_count = self.cell(("a", c, level(slot.count), place, slot.bits & 3), squash((place - 15.5) / 2))
            by_history = self.cell(("b", c, min(slot.count, 7), slot.bits))
            cells += [by_count, by_history]
            x += [base / 2 if slot.count < 3 else base, stretch(by_count.p), 2 * by_count.p - 1, stretch(by_history.p)]
        state, lengths = 0, 0
        for m, (_, length) in enumerate(self.matches):
            state, lengths = state * 3, lengths * 8
            byte = self.expected(m) + 256
            if not length or byte >> (8 - depth) != node:
                x += [0.0, 0.0]
                continue
            wanted = byte >> (7 - depth) & 1
            cell = self.cell(("match", m, bucket_of(length), wanted))
            cells.append(cell)
            x += [stretch(cell.p), 4 * (cell.p - 0.5)]
            state, lengths = state + 1 + wanted, lengths + min(bucket_of(length) // 2, 7)
        x.append(0.3)
        first = [0.12] * len(x) + [0.3 / len(advice) for _ in advice]
        x += advice
        last, before = self.back(1), self.back(2)
        longest = next((m for m in reversed(range(len(self.lengths))) if self.matches[m][1]), 0)
        rows = [
            (node, state),
            (highest, depth),
            (last, node),
            (before, node),
            (self.back(3), node),
            (lengths, state),
            (self.expected(longest), depth),
            (min(self.letters[::-1].index(False) if False in self.letters else len(self.letters), 15), node),
            (tuple(min(slot.count, 1) + (slot.count > 2) + (slot.count > 7) for slot in slots[2:7]), depth),
            (self.words[0], node),
        ]
        selected = [(kind, rows[kind]) for kind in self.mixers]
        weights = [self.tables.setdefault(("w", row), list(first)) for row in selected]
        outputs = [clamped(sum(w * i for w, i in zip(row, x, strict=True))) for row in weights]
        second = self.tables.setdefault(("second", node), [1 / len(outputs)] * len(outputs))
        mixed = clamped(sum(w * o for w, o in zip(second, outputs, strict=True)))
        p = squash(mixed)
        place_of = (clamped(mixed, 7.999) + 8) * 2
        low, part = int(place_of), place_of - int(place_of)
        even = [squash((i - 16) / 2) for i in range(33)]
        places = [(last, node), (last, before, node)]
        bins = [self.tables.setdefault(("bins", k, place), list(even)) for k, place in enumerate(places)]
        corrected = sum(row[low] * (1 - part) + row[low + 1] * part for row in bins)
        final = min(max(p / 2 + corrected / 4, TINY), 1 - TINY)

        def learn(bit: int) -> None:
            for row in bins:
                row[low] += (bit - row[low]) * 0.02 * (1 - part)
                row[low + 1] += (bit - row[low + 1]) * 0.02 * part
            rate = max(0.0015, 0.02 * (1 - len(self.text) / 300_000))
            for k, output in enumerate(outputs):
                second[k] += (bit - p) * 0.0005 * output
                step = (bit - squash(output)) * rate
                weights[k][:] = [w + step * i for w, i in zip(weights[k], x, strict=True)]
            for cell in cells:
                cell.learn(bit)
            for slot in slots:
                p_next = min(max(slot.p + (bit - slot.p) / (slot.count + 1.6), 0.0), 0.99998)
                slot.p = int(p_next * 65536) / 65536  # 16 bits
                slot.count, slot.bits = min(slot.count + 1, 250), (slot.bits << 1 | bit) & 255

        return final, learn

    def advance(self, byte: int) -> None:
        """Append a byte, and look for matches."""
        self.followers.setdefault((self.back(1), self.back(2)), [0, 0]).append(byte)
        self.text.append(byte)
        n = len(self.text)
        if byte == 10:
            self.lines = [n, self.lines[0]]
        lower = bytes([byte]).lower()
        self.letters.append(lower.isalpha() or byte >= 128)
        if self.letters[-1]:
            self.words[0] += lower
        elif self.words[0]:
            self.words = [b"", self.words[0], self.words[1]]
        for m, shortest in enumerate(self.lengths):
            at, length = self.matches[m]
            self.matches[m] = [at + 1, min(length + 1, 400)] if length and self.text[at] == byte else [0, 0]
            if n < shortest:
                continue
            key = ("head", m, bytes(self.text[-shortest:]))
            if not self.matches[m][1] and key in self.tables:
                found = self.tables[key]
                length = 0
                while length < min(found, 400) and self.text[found - 1 - length] == self.text[n - 1 - length]:
                    length += 1
                self.matches[m] = [found, length]
            self.tables[key] = n
