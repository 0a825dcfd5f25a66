"""ARPA files: n-gram models as text, as SRILM, KenLM and most speech recognisers read them.

A line of a section is `log10 p(last word | the words before)`, the words, and the logarithm of the back-off weight of
all of them as a context. The boundary token is `</s>` as a last word and `<s>` as a first one.
"""

from __future__ import annotations

import gzip
import logging
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foretell.artifacts import whole_file
from foretell.data.tokenizers.file_kinds import UNKNOWN
from foretell.data.tokenizers.tokenizer import Tokenizer
from foretell.errors import ConfigError, printable
from foretell.interop.arpa_text import Reader, Section, Words, joined, shown
from foretell.models.kneser_ney import Floats
from foretell.models.ngram import NGram, Order

BEGIN, END = "<s>", "</s>"
BLOCK = 1 << 16  # lines formatted at once
NEVER = -99.0  # what stands for log10(0)
MISSING = -100.0  # log10 p of unknown words where a file has no <unk>, as in KenLM
TOLERANCE = 1e-3  # of sums of probabilities: some programs write four digits of a logarithm
UNKNOWN_WORDS = (UNKNOWN, "<UNK>")  # the CMU toolkit writes it in capitals, and KenLM reads both

log = logging.getLogger("foretell")


def spelled(tokenizer: Tokenizer) -> list[str]:
    """The spelling of each token in a file: as itself; in subword vocabularies blanks are written as `\\u0020`."""
    words = [tokenizer.library.id_to_token(token) or f"<{token}>" for token in range(tokenizer.size)]
    if tokenizer.kind != "word":
        words = ["".join(f"\\u{ord(c):04x}" if c.isspace() or c in "\\\0" else c for c in word) for word in words]
    for token, word in enumerate(words):
        if word in (BEGIN, END) and token != tokenizer.boundary:
            raise ConfigError(f"the vocabulary has a word {word!r}, which means a line's edge in ARPA files; rename it")
    if len(set(words)) < len(words):
        again = next(word for word, times in Counter(words).items() if times > 1)
        raise ConfigError(f"the vocabulary has several tokens that are written {again!r} in ARPA files; rename one")
    return words


# --- writing --------------------------------------------------------------------------------------


def write_arpa(model: NGram, words: Sequence[str], path: Path) -> None:
    """Write a model as an ARPA file, compressed if its name ends in .gz; `words` are the spellings of the tokens."""
    with whole_file(path) as file:
        if path.suffix.lower() == ".gz":
            with gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as packed:
                packed.writelines(text.encode() for text in sections(model, words))
        else:
            file.writelines(text.encode() for text in sections(model, words))


def sections(model: NGram, words: Sequence[str]) -> Iterator[str]:
    """The text of the file, in large pieces."""
    yield "\\data\\\n"
    for number, order in enumerate(model.orders, 1):
        yield f"ngram {number}={len(order) + (number == 1)}\n"  # the boundary is two words
    for number in range(1, model.order + 1):
        yield f"\n\\{number}-grams:\n"
        yield from lines(model, number, words)
    yield "\n\\end\\\n"


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


def vocabulary_of(path: Path) -> list[str]:
    """The words of an ARPA file, without the edges of lines; the unknown word is `<unk>`."""
    words = Words()
    reader = Reader(path, words)
    single = next(reader.sections())
    found = []
    for word, line in zip(words, single.lines.tolist(), strict=True):
        try:
            found.append(word.decode())
        except UnicodeDecodeError:
            reader.fail(line, f"{shown(word)} is not UTF-8", "convert the file with iconv -t UTF-8")
    return [UNKNOWN if word in UNKNOWN_WORDS else word for word in found if word not in (BEGIN, END)]


def read_arpa(path: Path, words: Sequence[str], boundary: int) -> tuple[NGram, str]:
    """The model in an ARPA file over a vocabulary, and which of its probabilities do not sum to 1 ("" if all do).

    `words` are the spellings of the tokens. A word of the file that is not in the vocabulary is an error; a token that
    is not in the file gets the probability of the unknown word, if the file has one, else one that is practically zero.
    """
    begin, end = len(words), len(words) + 1  # one token here, two words in the file
    ids = {word.encode(): index for index, word in enumerate(words) if index != boundary}
    unknown = next((ids[word.encode()] for word in UNKNOWN_WORDS if word.encode() in ids), None)
    if unknown is not None:
        ids = {word.encode(): unknown for word in UNKNOWN_WORDS} | ids
    reader = Reader(path, ids | {BEGIN.encode(): begin, END.encode(): end}, words[boundary].encode())
    single, *longer = list(reader.sections())
    spellings = [*(word.encode() for word in words), BEGIN.encode(), END.encode()]
    refuse_strangers(reader, single, longer, spellings)
    alone = words_alone(reader, single, len(words), boundary, unknown, order=1 + len(longer))
    longer = [inside_lines(reader, section, begin, end, boundary) for section in longer]
    whole = float(np.exp(alone.logp, dtype=np.float64).sum())
    model, sums = assembled(reader, longer, alone, boundary, whole)
    unnormalised = wrong_sums(model, sums, [*words[:boundary], BEGIN, *words[boundary + 1 :]])
    if unnormalised:
        log.warning("%s: %s: its figures cannot be compared with those of other models", reader.path, unnormalised)
    return model, unnormalised


def refuse_strangers(reader: Reader, single: Section, longer: Sequence[Section], spellings: Sequence[bytes]) -> None:
    """Every word of longer n-grams stands among the single ones, and the end of a line does."""
    known = np.zeros(len(spellings), dtype=bool)
    known[single.ngrams[:, 0]] = True
    if not known[-1]:
        remedy = f"give a model of whole lines, or add '{NEVER:g} {END}' if lines never end"
        reader.fail(None, f"has no word {END}, the end of a line", remedy)
    for section in longer:
        strange = np.argwhere(~known[section.ngrams])
        for row, place in strange[:1].tolist():
            word = shown(spellings[section.ngrams[row, place]])
            reader.fail(int(section.lines[row]), f"the word {word} is not among the 1-grams")
    if not known[-2]:
        log.warning("%s: has no %s: what begins a line has no context", reader.path, BEGIN)


def words_alone(
    reader: Reader, single: Section, vocabulary: int, boundary: int, unknown: int | None, *, order: int
) -> Order:
    """The order of single words, one for each token."""
    logp, backoff = np.full(vocabulary + 2, np.nan), np.zeros(vocabulary + 2)
    logp[single.ngrams[:, 0]], backoff[single.ngrams[:, 0]] = single.logp, single.backoff
    logp[boundary], backoff[boundary] = logp[vocabulary + 1], backoff[vocabulary]  # </s> as a word, <s> as a context
    rest = MISSING if unknown is None else logp[unknown]
    if math.isnan(rest):
        rest = MISSING
    if rest == MISSING and unknown is not None:
        log.warning("%s: has no %s; unknown words get the probability 1e-100, as in KenLM", reader.path, UNKNOWN)
    logp = np.where(np.isnan(logp), rest, logp)[:vocabulary]
    scaled = [(values * math.log(10)).astype(np.float32) for values in (logp, backoff[:vocabulary])]
    index = np.arange(vocabulary, dtype=np.int32)
    return Order(index, np.zeros_like(index), scaled[0], scaled[1] if order > 1 else scaled[1][:0])


def inside_lines(reader: Reader, section: Section, begin: int, end: int, boundary: int) -> Section:
    """The n-grams that can occur in a line: `<s>` only first, `</s>` only last."""
    possible = (section.ngrams[:, 1:] != begin).all(1) & (section.ngrams[:, :-1] != end).all(1)
    if not possible.all():
        impossible = len(section) - int(possible.sum())
        log.warning("%s: %d %d-grams go beyond a line, left out", reader.path, impossible, section.order)
        section = section.only(possible)
    return replace(section, ngrams=np.where(section.ngrams >= begin, np.int32(boundary), section.ngrams))


def assembled(
    reader: Reader, longer: Sequence[Section], alone: Order, boundary: int, whole: float
) -> tuple[NGram, list[Floats]]:
    """The trie of all sections, and what the probabilities after the contexts of each length add up to."""
    model, sums = NGram([alone], boundary), [np.array([whole])]
    for section in longer:
        context = extended(reader, model, section, last=section.order == 1 + len(longer))
        if context is None:
            return assembled(reader, complete(reader, longer), alone, boundary, whole)
        sums.append(sums_after(model, context, sums[-1]))
    return model, sums


def extended(reader: Reader, model: NGram, section: Section, *, last: bool) -> NDArray[np.int64] | None:
    """Add the next order to a model: the contexts [M] of its n-grams, as indices in the order below.

    None, and no new order, where n-grams begin or end with what the model lacks.
    """
    ngrams = section.ngrams
    shorter, endings_there = lookup(model, ngrams[:, 1:])
    context, beginnings_there = lookup(model, ngrams[:, :-1])
    if not (endings_there and beginnings_there):
        return None
    keys = shorter * model.vocabulary + ngrams[:, 0]
    if not (keys[1:] > keys[:-1]).all():
        order = np.argsort(keys, kind="stable")
        keys, section, shorter, context = keys[order], section.only(order), shorter[order], context[order]
        for again in np.flatnonzero(keys[1:] == keys[:-1])[:1].tolist():
            reader.fail_repeated(section.order, *section.lines[again : again + 2].tolist())
    below = model.orders[-1]
    inherited = below.logp[shorter] + below.backoff[context]  # which back-off gives those that a file lacks
    logp = np.where(np.isnan(section.logp), inherited, section.logp * math.log(10)).astype(np.float32)
    backoff = np.where(section.ngrams[:, -1] == model.boundary, 0, section.backoff * math.log(10)).astype(np.float32)
    first = np.ascontiguousarray(section.ngrams[:, 0])
    model.append(Order(first, shorter.astype(np.int32), logp, backoff[:0] if last else backoff))
    return context


def sums_after(model: NGram, context: NDArray[np.int64], sums: Floats) -> Floats:
    """The sums of the probabilities after the contexts of the highest order, given those of the order below."""
    below, order = model.orders[-2:]
    with np.errstate(over="ignore", invalid="ignore"):
        seen = np.bincount(context, weights=np.exp(order.logp), minlength=len(below))
        replaced = np.bincount(context, weights=np.exp(below.logp[order.shorter]), minlength=len(below))
        return seen + np.exp(below.backoff) * (sums[below.shorter] - replaced)


def wrong_sums(model: NGram, sums: Sequence[Floats], words: Sequence[str]) -> str:
    """Which probabilities do not add up to 1 within `TOLERANCE`, in words: by mistake, by damage, or since the model
    was never meant to; "" if all do."""
    wrong = [~(np.abs(each - 1) <= TOLERANCE) for each in sums]
    number = next((number for number, each in enumerate(wrong) if each.any()), None)
    if number is None:
        return ""
    worst = index = int(np.abs(sums[number] - 1).argmax())
    context = []
    for order in reversed(model.orders[:number]):
        context.append(words[order.first[index]])
        index = int(order.shorter[index])
    after = printable(repr(" ".join(word[:60] for word in context))) if context else "no context"
    many, of = sum(int(each.sum()) for each in wrong), sum(map(len, wrong))
    return f"the probabilities after {after} add up to {sums[number][worst]:.4g}, not 1 ({many:,} of {of:,} contexts)"


def lookup(model: NGram, ngrams: NDArray[np.int32]) -> tuple[NDArray[np.int64], bool]:
    """The indices [M] of n-grams [M, order], and whether all are there."""
    node = ngrams[:, -1].astype(np.int64)
    for number in range(1, ngrams.shape[1]):
        node, exists = model.extend(number, node, ngrams[:, -1 - number].astype(np.int64))
        if not exists.all():
            return node, False
    return node, True


def complete(reader: Reader, longer: Sequence[Section]) -> list[Section]:
    """The sections with every n-gram's beginning and ending added that a file lacks (log10 p: nan)."""
    done = [longer[-1]]
    room = 2 * sum(map(len, longer)) + 1000
    for section in reversed(longer[:-1]):
        above = done[0].ngrams
        added = np.concatenate([above[:, 1:], above[:, :-1]])
        none = np.zeros(len(added), dtype=np.float32)
        every = joined([section, Section(added, none + np.nan, none, np.full(len(added), -1))])
        room -= len(np.unique(every.hashes())) - len(section)
        if room < 0:  # long n-grams alone would fill the memory with those between
            reader.fail(None, "most beginnings and endings of its n-grams are missing; is it cut off?")
        order = np.lexsort([np.arange(len(every)), *every.ngrams.T])  # of equal ones the file's own comes first
        new = np.append(True, (every.ngrams[order[1:]] != every.ngrams[order[:-1]]).any(axis=1))[: len(order)]
        for at in np.flatnonzero(~new & (order < len(section)))[:1]:
            reader.fail_repeated(section.order, *every.lines[order[at - 1 : at + 1]].tolist())
        done.insert(0, every.only(order[new]))
    return done
