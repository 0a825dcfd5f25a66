"""ARPA files: n-gram models as text, as SRILM, KenLM and most speech recognisers read them.

A line of a section is `log10 p(last word | the words before)`, the words, and the logarithm of the back-off weight of
all of them as a context. The boundary token is `</s>` as a last word and `<s>` as a first one.
"""

from __future__ import annotations

import gzip
import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, TextIO

import numpy as np
from numpy.typing import NDArray

from foretell.data.encoding import UNKNOWN, Tokenizer
from foretell.errors import ConfigError
from foretell.models.ngram import NGram, Order

BEGIN, END = "<s>", "</s>"
BLOCK = 1 << 16  # lines formatted at once
NEVER = -99.0  # what stands for log10(0)


def spelled(tokenizer: Tokenizer) -> list[str]:
    """How each token stands in a file: as itself; in subword vocabularies blanks are written as `\\u0020`."""
    words = [tokenizer.library.id_to_token(token) or f"<{token}>" for token in range(tokenizer.size)]
    if tokenizer.kind != "word":
        words = ["".join(f"\\u{ord(c):04x}" if c.isspace() or c == "\\" else c for c in word) for word in words]
    for word in words:
        if word in (BEGIN, END):
            raise ConfigError(f"the vocabulary has a word {word!r}, which means a line's edge in ARPA files; rename it")
    return words


def opened(path: Path, mode: Literal["r", "w"]) -> TextIO:
    """A text file, compressed if its name ends in .gz."""
    if path.suffix == ".gz":
        return io.TextIOWrapper(gzip.GzipFile(path, mode), encoding="utf-8", newline="\n")
    return open(path, mode, encoding="utf-8", newline="\n")


# --- writing --------------------------------------------------------------------------------------


def write_arpa(model: NGram, words: Sequence[str], path: Path) -> None:
    """The model as an ARPA file; `words` are the spellings of the tokens."""
    draft = path.with_name(f".{path.name}")  # the ending, which decides about compression, stays last
    try:
        with opened(draft, "w") as file:
            file.write("\\data\\\n")
            for number, order in enumerate(model.orders, 1):
                file.write(f"ngram {number}={len(order) + (number == 1)}\n")  # the boundary is two words
            for number in range(1, model.order + 1):
                file.write(f"\n\\{number}-grams:\n")
                file.writelines(lines(model, number, words))
            file.write("\n\\end\\\n")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def lines(model: NGram, number: int, words: Sequence[str]) -> Iterator[str]:
    """The lines of one order."""
    order, ngrams = model.orders[number - 1], model.words(number)  # [M, number]
    logp = order.logp.astype(np.float64) / math.log(10)
    backoff = order.backoff.astype(np.float64) / math.log(10)
    last = [*words]
    last[model.boundary] = END
    first = [*words]
    first[model.boundary] = BEGIN
    if number == 1 and model.order > 1:
        yield f"{NEVER}\t{BEGIN}\t{backoff[model.boundary]:.7g}\n"
    elif number == 1:
        yield f"{NEVER}\t{BEGIN}\n"
    for begin in range(0, len(order), BLOCK):
        part = slice(begin, begin + BLOCK)
        columns = ngrams[part].T.tolist()
        spellings = [[last[i] for i in columns[-1]]] if number == 1 else [[first[i] for i in columns[0]]]
        spellings += [[words[i] for i in column] for column in columns[1:-1]]
        spellings += [[last[i] for i in columns[-1]]] if number > 1 else []
        texts = map(" ".join, zip(*spellings, strict=True))
        if number == model.order:
            yield "".join(f"{p:.7g}\t{text}\n" for p, text in zip(logp[part].tolist(), texts, strict=True))
            continue
        weights = np.where(ngrams[part, -1] == model.boundary, 0.0, backoff[part]).tolist()  # nothing follows </s>
        rows = zip(logp[part].tolist(), texts, weights, strict=True)
        yield "".join(f"{p:.7g}\t{text}\t{weight:.7g}\n" for p, text, weight in rows)


# --- reading --------------------------------------------------------------------------------------


Section = tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]
"""the words of each n-gram [M, order], log10 p [M], log10 back-off weight [M]"""


def vocabulary_of(path: Path) -> list[str]:
    """The words of an ARPA file as they stand in it, without the edges of lines."""
    with opened(path, "r") as file:
        words = [fields[1] for number, fields in entries(file, path) if number == 1]
    return [word for word in words if word not in (BEGIN, END)]


def read_arpa(path: Path, words: Sequence[str], boundary: int) -> NGram:
    """The model in an ARPA file over a vocabulary: `words` are the spellings of the tokens.

    A word of the file that is not in the vocabulary is an error; a token that is not in the file gets the probability
    of the unknown word, if the file has one, else one that is practically zero.
    """
    ids = {word: index for index, word in enumerate(words)} | {BEGIN: boundary, END: boundary}
    sections = list(parse(path, ids))
    if not sections:
        raise ConfigError(f"{path}: no n-grams in it; is it an ARPA file?")
    return assembled(complete(sections), sections[0], len(words), boundary, ids.get(UNKNOWN))


def entries(file: TextIO, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Order and fields (log10 p, words, back-off if any) of each n-gram."""
    number = 0
    for at, line in enumerate(file, 1):
        line = line.rstrip("\n")
        if line.endswith("-grams:") and line.startswith("\\"):
            number = int(line[1 : -len("-grams:")])
        elif line == "\\end\\":
            return
        elif number and line:
            fields = line.split("\t") if "\t" in line else [line.split()[0], " ".join(line.split()[1 : number + 1])]
            if len(fields) < 2 or len(fields[1].split(" ")) != number:
                raise ConfigError(f"{path}, line {at}: {line[:60]!r} is no {number}-gram")
            yield number, fields
    raise ConfigError(f"{path}: ends without \\end\\; it is cut off or no ARPA file")


def parse(path: Path, ids: dict[str, int]) -> Iterator[Section]:
    """The sections of a file, single words first."""
    current = 0
    ngrams: list[list[int]] = []
    logp: list[float] = []
    backoff: list[float] = []

    def section() -> Section:
        table = np.array(ngrams, dtype=np.int32).reshape(-1, current)
        return table, np.array(logp, dtype=np.float32), np.array(backoff, dtype=np.float32)

    with opened(path, "r") as file:
        for number, fields in entries(file, path):
            if number != current:
                if current:
                    yield section()
                current, ngrams, logp, backoff = number, [], [], []
            try:
                ngrams.append([ids[word] for word in fields[1].split(" ")])
            except KeyError as missing:
                raise ConfigError(f"{path}: the word {missing} is not in the vocabulary of the tokenizer") from None
            if number == 1 and fields[1] == BEGIN:  # only a context
                ngrams[-1], first_backoff = [ids[END]], float(fields[2]) if len(fields) > 2 else 0.0
                logp.append(math.nan)
                backoff.append(first_backoff)
                continue
            logp.append(float(fields[0]))
            backoff.append(float(fields[2]) if len(fields) > 2 else 0.0)
    if current:
        yield section()


def complete(sections: list[Section]) -> list[Section]:
    """From two words up, with every n-gram's beginning and ending added where a pruned file lacks it (log10 p: nan)."""
    done: list[Section] = [sections[-1]] if len(sections) > 1 else []
    for number in range(len(sections) - 2, 0, -1):
        ngrams, logp, backoff = sections[number]
        above = done[0][0]
        wanted = np.concatenate([ngrams, above[:, 1:], above[:, :-1]])
        order = np.lexsort(
            np.column_stack([np.arange(len(wanted)), wanted]).T
        )  # of equal ones the file's own comes first
        wanted = wanted[order]
        new = np.append(True, (wanted[1:] != wanted[:-1]).any(axis=1))
        own = order[new]
        inside = own < len(ngrams)
        at = np.minimum(own, len(ngrams) - 1)
        done.insert(0, (wanted[new], np.where(inside, logp[at], np.nan), np.where(inside, backoff[at], 0.0)))
    return done


def assembled(done: list[Section], single: Section, vocabulary: int, boundary: int, unknown: int | None) -> NGram:
    """The trie of complete sections."""
    orders = [words_alone(single, vocabulary, boundary, unknown)]
    if not done:
        orders[0] = Order(orders[0].first, orders[0].shorter, orders[0].logp, orders[0].backoff[:0])
    model = NGram(orders, boundary)
    for number, (ngrams, logp, backoff) in enumerate(done, 2):
        shorter, context = lookup(model, ngrams[:, 1:]), lookup(model, ngrams[:, :-1])
        below = orders[-1]
        inherited = below.logp[shorter] + below.backoff[context]
        p = np.where(np.isnan(logp), inherited, logp * math.log(10)).astype(np.float32)
        weight = (backoff * math.log(10)).astype(np.float32) if number <= len(done) else np.zeros(0, np.float32)
        order = np.lexsort((ngrams[:, 0], shorter))
        orders.append(
            Order(
                np.ascontiguousarray(ngrams[order, 0]),
                shorter[order].astype(np.int32),
                p[order],
                weight[order] if len(weight) else weight,
            )
        )
        model = NGram(orders, boundary)
    return model


def words_alone(single: Section, vocabulary: int, boundary: int, unknown: int | None) -> Order:
    """The order of single words, one for each token."""
    ngrams, logp, backoff = single
    p = np.full(vocabulary, np.nan)
    weight = np.zeros(vocabulary)
    for word, value, scale in zip(ngrams[:, 0], logp, backoff, strict=True):
        if math.isnan(value):
            weight[word] = scale  # <s>
        else:
            p[word] = value
            weight[word] = scale if word != boundary else weight[word]
    rest = p[unknown] if unknown is not None and not math.isnan(p[unknown]) else NEVER
    p = np.where(np.isnan(p), rest, p)
    index = np.arange(vocabulary, dtype=np.int32)
    scaled = [(values * math.log(10)).astype(np.float32) for values in (p, weight)]
    return Order(index, np.zeros(vocabulary, dtype=np.int32), *scaled)


def lookup(model: NGram, ngrams: NDArray[np.int32]) -> NDArray[np.int64]:
    """The indices [M] of n-grams [M, order], which are all there."""
    node = ngrams[:, -1].astype(np.int64)
    for number in range(1, ngrams.shape[1]):
        node, _ = model.extend(number, node, ngrams[:, -1 - number].astype(np.int64))
    return node
