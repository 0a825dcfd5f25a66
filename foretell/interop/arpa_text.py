"""Parse the text of ARPA files: find and count sections, parse their lines.

    \\data\\
    ngram 1=5               how many lines each section has
    ngram 2=3

    \\1-grams:
    -0.5    word    -0.1    log10 p(last word | the words before), the words, log10 of their back-off weight if any
    ...
    \\end\\

What a file means is what it means to KenLM. Its form may be looser: any blanks between fields, at the ends of lines or
around titles, CRLF, and any text before `\\data\\` (the CMU toolkit explains the format there).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from foretell.data.compressed import compression, opened
from foretell.data.text_files import without_mark
from foretell.errors import ConfigError
from foretell.models.ngram import MAX_ORDER

BLOCK = 1 << 20  # bytes read at once; no line and no text before \data\ may be longer
LARGEST = 1e30  # of a logarithm
PACKED = 50  # times its size is the most that a packed file of n-grams unpacks to, beyond the first 64 blocks

PREAMBLE, COUNTS, REST = -2, 0, -1  # what is neither: a section is called by its order
TITLE = re.compile(rb"\n[ \t\r]*\\(data\\|end\\|[0-9]{1,9}-grams:)[ \t\r]*(?=\n)")
COUNT = re.compile(rb"ngram[ \t]+([0-9]{1,9})[ \t]*=[ \t]*([0-9]{1,18})")
NUMBER = re.compile(rb"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
FOREIGN = (b"iARPA", b"qARPA", b"blmt", b"Qblmt")  # IRSTLM's own formats
CONTROL = (b"\0", b"\x0b", b"\x0c")  # blanks to some programs, letters to others

MIX = np.uint64(0x9E3779B97F4A7C15)  # odd, so that different words keep different hashes

BLANK = np.zeros(256, dtype=bool)
BLANK[list(b" \t\r\n")] = True


@dataclass(frozen=True)
class Section:
    """The n-grams of one order, in the order of the file."""

    ngrams: NDArray[np.int32]
    """[M, order] the words, first to last"""
    logp: NDArray[np.float32]
    """[M] log10 of the probability of the last word"""
    backoff: NDArray[np.float32]
    """[M] log10 of the back-off weight, 0 where there is none"""
    lines: NDArray[np.int64]
    """[M] line numbers"""

    @property
    def order(self) -> int:
        """Words in each n-gram."""
        return int(self.ngrams.shape[1])

    def __len__(self) -> int:
        return len(self.ngrams)

    def only(self, kept: NDArray[np.bool_] | NDArray[np.int64]) -> Section:
        """A selection or permutation."""
        return Section(*(getattr(self, field.name)[kept] for field in fields(self)))

    def hashes(self) -> NDArray[np.uint64]:
        """[M] hashes of the words; those of single words differ."""
        keys = np.zeros(len(self), dtype=np.uint64)
        for column in self.ngrams.T:
            keys = keys * MIX + column.astype(np.uint64)
        return keys


def joined(sections: Sequence[Section]) -> Section:
    """Concatenate sections of one order."""
    names = [field.name for field in fields(Section)]
    return Section(*(np.concatenate([getattr(section, name) for section in sections]) for name in names))


class Words(dict[bytes, int]):
    """Numbers words in order of first use."""

    def __missing__(self, word: bytes) -> int:
        self[word] = len(self)
        return len(self) - 1


def blocks(path: Path) -> Iterator[tuple[int, bytes]]:
    """Whole lines, about a megabyte at a time, with the number of the first."""
    line, rest, total = 1, b"", 0
    most = PACKED * path.stat().st_size if compression(path) else None
    with opened(path) as stream:
        while chunk := stream.read(BLOCK):
            total += len(chunk)
            if most is not None and total > max(most, 64 * BLOCK):
                raise ConfigError(f"unpacks to more than {PACKED} times its size: it is not an ARPA file", file=path)
            block = rest + (chunk if total > len(chunk) else without_mark(chunk, path))
            end = block.rfind(b"\n") + 1
            rest = block[end:]
            if len(rest) > BLOCK or (end and not block[:end].strip() and end > BLOCK // 2):
                line += block.count(b"\n", 0, end) if len(rest) > BLOCK else 0
                what = "a line of more than a megabyte" if len(rest) > BLOCK else "half a megabyte of empty lines"
                raise ConfigError(f"{what}: it is not an ARPA file", file=path, line=line)
            if end:
                yield line, block[:end]
            line += block.count(b"\n", 0, end)
    if rest:
        yield line, rest + b"\n"


def runs(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Runs of lines of one section: its order, COUNTS or REST, the number of the first line, the lines.

    Each title is a run of its own, without lines.
    """
    now, before = PREAMBLE, 0
    for line, block in blocks(path):
        begin = 0
        if line == 1 and block[:100].split()[:1] and block[:100].split()[0] in FOREIGN:
            remedy = "write it as ARPA with compile-lm --text=yes"
            raise ConfigError("an IRSTLM format, not ARPA", file=path, line=1, remedy=remedy)
        for found in TITLE.finditer(b"\n" + block):
            if now == PREAMBLE and found[1] != b"data\\":
                continue  # the CMU toolkit shows what a file looks like
            at = line + block.count(b"\n", 0, found.start())
            if now != PREAMBLE and found.start() > begin:
                yield now, line + block.count(b"\n", 0, begin), block[begin : found.start()]
            if found[1] == b"data\\" and now != PREAMBLE:
                raise ConfigError("a second \\data\\", file=path, line=at, remedy="keep one model per file")
            if now == REST:
                raise ConfigError("continues after \\end\\", file=path, line=at, remedy="keep one model per file")
            now = COUNTS if found[1] == b"data\\" else REST if found[1] == b"end\\" else int(found[1].split(b"-")[0])
            begin = found.end()
            yield now, at, b""
        if now == PREAMBLE:
            before += len(block)
            if before > BLOCK:
                break
        elif begin < len(block):
            yield now, line + block.count(b"\n", 0, begin), block[begin:]
    if now == PREAMBLE:
        raise ConfigError("has no line \\data\\ where it should begin; truncated, or not an ARPA file", file=path)
    if now != REST:
        raise ConfigError("ends without \\end\\; truncated, or not an ARPA file", file=path)


class Reader:
    """Reads the sections of a file; `ids` are word numbers by spelling."""

    def __init__(self, path: Path, ids: Mapping[bytes, int], boundary: bytes | None = None):
        self.path, self.ids, self.boundary = path, ids, boundary
        self.promised: dict[int, tuple[int, int]] = {}  # by order: the number of n-grams, and the line that states it

    def fail(self, line: int | None, what: str, remedy: str | None = None) -> NoReturn:
        """Raise `ConfigError` about a line."""
        raise ConfigError(what, file=self.path, line=line, remedy=remedy)

    def sections(self) -> Iterator[Section]:
        """The n-grams of every declared order, single words first."""
        parts: list[Section] = []
        order = 0
        for now, line, content in runs(self.path):
            if now == COUNTS:
                self.count(line, content)
            elif now == REST:
                if content.strip():
                    self.fail(line, "continues after \\end\\", "keep one model per file")
            elif not content:  # a title
                self.begins(now, line, order)
                yield from self.finished(order, parts, now)
                parts, order = [], now
            else:
                parts.append(self.parse(order, line, content))
                self.refuse_repeated(parts[-1])  # or a small compressed file could take hours
                if (surplus := sum(map(len, parts)) - self.promised[order][0]) > 0:
                    promise = f"ngram {order}={self.promised[order][0]}, in line {self.promised[order][1]},"
                    self.fail(int(parts[-1].lines[-surplus]), f"{promise} promises fewer {order}-grams than it has")
        if not self.promised:
            self.fail(None, "no n-grams in it; is it an ARPA file?")
        yield from self.finished(order, parts, len(self.promised) + 1)

    def count(self, line: int, content: bytes) -> None:
        """The lines `ngram 1=5` between `\\data\\` and the first section."""
        for number, text in enumerate(content.split(b"\n"), line):
            if not (text := text.strip()):
                continue
            found = COUNT.fullmatch(text)
            if not found or int(found[1]) != len(self.promised) + 1:
                example = f"ngram {len(self.promised) + 1}=1000"
                self.fail(number, f"{shown(text)} where the next count should be", f"write it as {example}")
            if len(self.promised) == MAX_ORDER:
                self.fail(number, f"has n-grams of more than {MAX_ORDER} words", "give a model of a lower order")
            self.promised[int(found[1])] = int(found[2]), number

    def refuse_repeated(self, section: Section) -> None:
        """Raise `ConfigError` if an n-gram occurs twice in a section, up to hash collisions."""
        keys = section.hashes()
        ordered = np.sort(keys)
        if not (ordered[1:] == ordered[:-1]).any():
            return
        order = np.argsort(keys, kind="stable")
        same = (section.ngrams[order[1:]] == section.ngrams[order[:-1]]).all(axis=1)
        for at in np.flatnonzero(same)[:1]:
            self.fail_repeated(section.order, int(section.lines[order[at]]), int(section.lines[order[at + 1]]))

    def fail_repeated(self, order: int, first: int, again: int) -> NoReturn:
        """Raise `ConfigError` about an n-gram that occurs twice."""
        remedy = "keep one of the two" + (" (<unk> and <UNK> are one word)" if order == 1 else "")
        self.fail(again, f"the same {order}-gram as in line {first}", remedy)

    def begins(self, order: int, line: int, before: int) -> None:
        """Check that sections are in rising order and declared."""
        if order not in self.promised:
            self.fail(line, f"\\{order}-grams: without a line 'ngram {order}=' below \\data\\")
        if order <= before:
            self.fail(line, f"\\{order}-grams: after \\{before}-grams:", "put them in rising order, each once")

    def finished(self, order: int, parts: list[Section], following: int) -> Iterator[Section]:
        """The section that ends here, and empty ones before the next."""
        none = np.zeros(0, dtype=np.float32)
        for number in range(max(order, 1), following):
            empty = Section(np.zeros((0, number), dtype=np.int32), none, none, np.zeros(0, dtype=np.int64))
            found = joined([empty, *parts]) if number == order else empty
            wanted, line = self.promised[number]
            if len(found) != wanted:
                self.fail(line, f"ngram {number}={wanted}, but \\{number}-grams: has {len(found)}", "count again")
            parts.clear()
            if number == 1:  # repeated longer ones are found when they are sorted
                self.refuse_repeated(found)
            yield found

    # --- lines ------------------------------------------------------------------------------------

    def parse(self, order: int, line: int, content: bytes) -> Section:
        """Parse lines of a section: all at once if they are valid, else one by one up to the invalid one."""
        try:
            return self.parse_at_once(order, line, content)
        except (ValueError, KeyError):
            return self.parse_one_by_one(order, line, content)

    def parse_at_once(self, order: int, line: int, content: bytes) -> Section:
        """Parse lines in bulk; raises `ValueError` or `KeyError` if any line is invalid."""
        if any(character in content for character in CONTROL):
            raise ValueError
        characters = np.frombuffer(content, dtype=np.uint8)
        blank = BLANK[characters]
        begins = ~blank
        begins[1:] &= blank[:-1]
        last = np.cumsum(begins)[np.flatnonzero(characters == ord("\n"))]  # fields up to the end of each line
        count = np.diff(last, prepend=0)
        filled = count > 0
        first, count = (last - count)[filled], count[filled]
        weighted = count == order + 2
        if not (weighted | (count == order + 1)).all():
            raise ValueError
        found = content.split()

        def column(at: NDArray[np.int64]) -> list[bytes]:
            return list(map(found.__getitem__, at.tolist()))

        logp = numbers(column(first))
        if (logp > 0).any():
            raise ValueError
        backoff = np.zeros(len(first), dtype=np.float32)
        backoff[weighted] = numbers(column(first[weighted] + order + 1))
        if order == len(self.promised) and backoff.any():
            raise ValueError
        ngrams = np.empty((len(first), order), dtype=np.int32)
        for place in range(order):
            words = map(self.ids.__getitem__, column(first + 1 + place))
            ngrams[:, place] = np.fromiter(words, dtype=np.int32, count=len(first))
        return Section(ngrams, logp, backoff, line + np.flatnonzero(filled))

    def parse_one_by_one(self, order: int, line: int, content: bytes) -> Section:
        """Parse lines one by one; raises `ConfigError` about the first invalid line."""
        rows = [(self.entry(order, at, text), at) for at, text in enumerate(content.split(b"\n"), line) if text.strip()]
        return Section(
            np.array([words for (_, words, _), _ in rows], dtype=np.int32).reshape(-1, order),
            np.array([logp for (logp, _, _), _ in rows], dtype=np.float32),
            np.array([backoff for (_, _, backoff), _ in rows], dtype=np.float32),
            np.array([at for _, at in rows], dtype=np.int64),
        )

    def entry(self, order: int, line: int, text: bytes) -> tuple[float, list[int], float]:
        """log10 p, words and log10 back-off weight of one line."""
        if bad := [character for character in CONTROL if character in text]:
            self.fail(line, f"has a control character ({bad[0].decode()!r})", "delete it")
        logp, *words = text.split()
        if len(words) not in (order, order + 1):
            wanted = f"log10 p, {'a word' if order == 1 else f'{order} words'} and, if any, a back-off weight"
            self.fail(line, f"{shown(text)} is not a {order}-gram", f"write {wanted}")
        p = self.number(line, logp)
        weight = self.number(line, words.pop()) if len(words) > order else 0.0
        if p > 0:
            self.fail(line, f"log10 p is {shown(logp)}: a probability above 1", "give logarithms of probabilities")
        if weight and order == len(self.promised):
            self.fail(line, f"{shown(text)} has a back-off weight, but no {order + 1}-grams follow", "leave it out")
        return p, [self.word(line, word) for word in words], weight

    def number(self, line: int, text: bytes) -> float:
        """A number in C notation."""
        if not NUMBER.fullmatch(text):
            remedy = (
                "write a point, not a comma" if NUMBER.fullmatch(text.replace(b",", b".")) else "write -0.5 or 1e-3"
            )
            self.fail(line, f"{shown(text)} is not a number", remedy)
        value = float(text)
        if not abs(value) < LARGEST:
            self.fail(line, f"{shown(text)} is not a logarithm of a probability", "write -99 for log10 of 0")
        return value

    def word(self, line: int, word: bytes) -> int:
        """The number of a word."""
        try:
            return self.ids[word]
        except KeyError:
            if word == self.boundary:
                remedy = "write </s> where a line ends, or rename the word"
                self.fail(line, f"the word {shown(word)} stands for the end of a line in this vocabulary", remedy)
            self.fail(line, f"the word {shown(word)} is not in the vocabulary")


def numbers(texts: list[bytes]) -> NDArray[np.float32]:
    """Plain decimal numbers; raises `ValueError` for anything else."""
    if b"".join(texts).translate(None, b"0123456789.eE+-"):  # what Python reads as well: 1_0, nan, infinity
        raise ValueError
    values = np.fromiter(map(float, texts), dtype=np.float64, count=len(texts))
    if not (np.abs(values) < LARGEST).all():
        raise ValueError
    return values.astype(np.float32)


def shown(text: bytes) -> str:
    """Part of a line, quoted for messages."""
    return repr(text[:200].decode(errors="replace")[:60])
