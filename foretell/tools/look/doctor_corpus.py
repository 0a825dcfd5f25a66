"""What is wrong with a corpus, above all what its splits share."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

from foretell.config import Tree
from foretell.data import text_files
from foretell.data.files import SPLITS
from foretell.data.opening import open_corpus
from foretell.data.store.store import is_store
from foretell.data.text.corpus import Files
from foretell.data.text.holdout import Share, byte_length
from foretell.errors import ConfigError
from foretell.tools.look.diagnosis import check
from foretell.tools.look.show import readable

SAMPLE = 32 << 20  # bytes of each split that are looked at
LEAST = 20  # characters of a line that does not come back by chance
ROOM = 500_000  # hashes or words kept at once


def examine_corpus(corpus: str, sample_bytes: int = SAMPLE) -> Tree:
    """A corpus by path or name: its files, its splits, and what the splits share.

    Of each split the first `sample_bytes` are looked at, in constant memory; `complete` says whether
    that was all of it. Where more lines are met than are kept, shares are those of a fair sample.
    """
    if is_store(corpus):
        raise ConfigError(f"{corpus} is a token store; name the text that it was made of")
    opened = open_corpus(corpus)
    paths = {path: None for source in opened.sources.values() for path in files_of(source)}
    files = scan(list(paths), sample_bytes) | {"left_out": [str(files) for files in opened.left_out]}
    result: Tree = {"what": "corpus", "corpus": opened.name, "files": files, "splits": {}}
    if files["damaged"]:
        return result | {"findings": corpus_findings(result)}
    lines, blocks = Repeats(), Repeats()
    train: Survey | None = None
    characters: Counter[str] = Counter()
    for split in opened.splits:
        look = (lines.has, blocks.has) if train else (lines.add, blocks.add)
        survey = Survey(opened.pieces(split), sample_bytes, *look)
        train = survey if split == "train" else train
        characters += survey.characters
        facts = survey.facts("also_in_train" if train and survey is not train else "repeated")
        if train and survey is not train:
            facts["unknown"] = {
                "words": unknown(train.words, survey.words),
                "words_top_30000": unknown(train.words, survey.words, 30_000),
                "characters": unknown(train.characters, survey.characters),
            }
        elif survey is train:
            result["looks_like"] = survey.form()
        result["splits"][split] = facts
    odd = {f"U+{ord(c):04X}": count for c, count in characters.most_common() if is_odd(c)}
    result["odd_characters"] = dict(islice(odd.items(), 20))
    return result | {"findings": corpus_findings(result)}


def files_of(source: object) -> Sequence[Path]:
    """The files of a split, tables apart, whose bytes are no text."""
    files = source.whole.files if isinstance(source, Share) else source
    paths = files.paths if isinstance(files, Files) else ()
    return [path for path in paths if text_files.content_ending(path) != ".parquet"]


def is_odd(character: str) -> bool:
    """Whether a character is rarely meant: control, private, unassigned, invisible marks, U+FFFD."""
    if character in "\n\t\r":
        return False
    strange = unicodedata.category(character) in ("Cc", "Co", "Cn", "Cs")
    return strange or character in "\ufffd\ufeff\u200b"


def scan(paths: Sequence[Path], sample: int) -> Tree:
    """What files hold as bytes, each up to its share of the sample."""
    share = max(1 << 20, sample // max(len(paths), 1))
    found: Counter[str] = Counter()
    damaged: list[str] = []
    for path in paths:
        found["stored_bytes"] += path.stat().st_size
        size = 0
        try:
            with text_files.opened(path) as stream:
                found["byte_order_marks"] += stream.read(3) == b"\xef\xbb\xbf"
            with text_files.opened(path) as stream:
                for block in text_files.read_blocks(stream, path):
                    size += len(block)
                    found["invalid_utf8"] += text_files.count_replaced(block)
                    found["nul"] += block.count(0)
                    if text_files.content_ending(path) != ".jsonl":
                        found["carriage_returns"] += block.count(b"\r\n")
                    if size >= share:
                        break
        except ConfigError as problem:
            damaged.append(str(problem))
        found["empty"] += size == 0
        found["looked_at_bytes"] += size
    keys = ("stored_bytes", "looked_at_bytes", "empty", "byte_order_marks", "invalid_utf8")
    counts = {key: found[key] for key in (*keys, "nul", "carriage_returns")}
    return {"count": len(paths), **counts, "damaged": damaged}


class Repeats:
    """Which texts were there before, in constant memory.

    When more than `ROOM` hashes would be kept, only those that are multiples of a growing power of
    two stay: a fair sample of the different texts (Gibbons 2001).
    """

    def __init__(self) -> None:
        self.kept: set[int] = set()
        self.mask = 0

    def has(self, text: str) -> bool | None:
        """Whether the text was added; None where it is outside the sample."""
        key = int.from_bytes(blake2b(text.encode(), digest_size=8).digest())
        return None if key & self.mask else key in self.kept

    def add(self, text: str) -> bool | None:
        """Add a text; tells what `has` said before."""
        before = self.has(text)
        if before is False:
            self.kept.add(int.from_bytes(blake2b(text.encode(), digest_size=8).digest()))
        while len(self.kept) > ROOM:
            self.mask = 2 * self.mask + 1
            self.kept = {key for key in self.kept if not key & self.mask}
        return before


Look = Callable[[str], bool | None]


class Survey:
    """The beginning of a split, counted."""

    def __init__(self, pieces: Iterable[text_files.Piece], sample: int, line: Look, block: Look) -> None:
        self.n: Counter[str] = Counter()
        self.words: Counter[str] = Counter()
        self.characters: Counter[str] = Counter()
        self.complete = True
        length, chain = 0, ""
        for text, ends_document, *_ in pieces:
            if self.n["bytes"] >= sample:
                self.complete = False
                break
            bare = text.strip()
            self.count(text, bare)
            self.n["documents"] += ends_document
            length += len(text)
            self.n["longest_line"] = max(self.n["longest_line"], length)
            if text.endswith("\n") or ends_document:
                self.n["lines"] += 1
                length = 0
            if len(bare) >= LEAST:
                self.compare("lines", line(bare))
            if bare:  # a paragraph is kept as the hash of its lines, however long it is
                chain = blake2b((chain + bare).encode(), digest_size=8).hexdigest()
            if chain and (ends_document or not bare):
                self.compare("paragraphs", block(chain))
                chain = ""

    def count(self, text: str, bare: str) -> None:
        """Sizes, words, characters, and signs of how lines are made."""
        self.n["bytes"] += byte_length(text)
        self.n["characters"] += len(text)
        words = bare.split()
        self.n["words"] += len(words)
        self.words.update(words)
        self.characters.update(text)
        if len(self.words) > 2 * ROOM:  # words met once make room
            self.words = Counter({word: n for word, n in self.words.items() if n > 1})
        self.n["filled"] += bool(bare)
        self.n["closed"] += bare.endswith((".", "!", "?", '"', "\u201d"))
        self.n["inside"] += len(re.findall(r"[.!?] +[A-Z]", bare))

    def compare(self, unit: str, found: bool | None) -> None:
        """Count a line or paragraph that was looked up."""
        self.n[f"{unit} looked up"] += found is not None
        self.n[f"{unit} found"] += bool(found)

    def facts(self, word: str) -> Tree:
        """The figures of the split; `word` says what a line found again means."""
        keys = ("documents", "lines", "words", "characters", "bytes", "longest_line")
        shares = {
            unit: self.n[f"{unit} found"] / max(self.n[f"{unit} looked up"], 1) for unit in ("lines", "paragraphs")
        }
        return {"complete": self.complete, **{key: self.n[key] for key in keys}, word: shares}

    def form(self) -> str:
        """A guess at what a line is, and whether marks are words of their own."""
        n, marks = self.n, ".,;:!?"
        alone = sum(self.words[mark] for mark in marks)
        joined = sum(c for word, c in self.words.items() if len(word) > 1 and word[-1] in marks)
        filled = max(n["filled"], 1)
        closed, inside, each = n["closed"] / filled, n["inside"] / filled, n["words"] / filled
        plain = closed < 0.05 and n["filled"] == n["lines"]  # marks removed, no blank lines
        if inside < 0.2 and each < 60 and (closed > 0.6 or plain):
            line = "one sentence a line"
        elif inside >= 1:
            line = "one paragraph a line"
        elif closed < 0.5 and n["characters"] / filled < 100:
            line = "wrapped or short lines"
        else:
            line = "mixed lines"
        tokenised = alone > 9 * joined or self.words["n't"] > n["words"] / 5000
        return f"{line}, {'tokenised' if tokenised else 'not tokenised'}"


def unknown(known: Counter[str], held_out: Counter[str], size: int | None = None) -> float:
    """The share of a text that is outside the vocabulary of another, its most frequent `size`."""
    vocabulary = {item for item, _ in known.most_common(size)}
    missing = sum(count for item, count in held_out.items() if item not in vocabulary)
    return missing / max(held_out.total(), 1)


def corpus_findings(found: Mapping[str, Any]) -> list[Tree]:
    """What of a corpus needs attention."""
    files, splits, odd = found["files"], found["splits"], found.get("odd_characters", {})
    do = "fetch, convert or remove it"
    findings = [check(False, "files", text, do, "error") for text in files["damaged"]]
    convert = "read as U+FFFD: convert the files, as by iconv -f WINDOWS-1252 -t UTF-8"
    for key, name, do in (
        ("invalid_utf8", "places of invalid UTF-8", convert),
        ("nul", "NUL characters", "kept as text: remove them, as by tr -d '\\000'"),
        ("carriage_returns", "lines end in a carriage return", "kept as text: remove them, as by dos2unix"),
        ("empty", "empty files", "they are skipped"),
    ):
        findings.append(check(not files[key], "files", f"{files[key]:,} {name}", do))
    do = "look whether they are meant; corpus = {train = …, valid = …, test = …} names files one by one"
    findings += [check(False, "files", text, do) for text in files["left_out"]]
    if files["damaged"]:
        return findings
    missing = [name for name in SPLITS if name not in splits]
    text = f"no {' and no '.join(missing)} split" if missing else "train, valid and test"
    findings += [
        check(not missing, "splits", text, "give files named train, valid and test"),
        check(not odd, "characters", f"odd ones: {', '.join(odd) or 'none'}", "look whether they are meant"),
    ]
    return findings + [item for name, facts in splits.items() for item in split_findings(name, facts)]


def split_findings(name: str, facts: Mapping[str, Any]) -> list[Tree]:
    """What of a split needs attention."""
    enough = facts["bytes"] >= (100_000 if name == "train" else 10_000)
    part = "" if facts["complete"] else "; only the beginning: shares are at least so high"
    size, longest = f"{readable(facts['bytes'])} looked at{part}", facts["longest_line"]
    rows = [
        (enough, size, "results on so little text are noise: give more"),
        (
            longest <= text_files.LONGEST,
            f"longest line {longest:,} characters",
            "it is cut in pieces: break lines, if they can be",
        ),
    ]
    if repeats := facts.get("repeated"):
        text = f"{repeats['lines']:.1%} of lines, {repeats['paragraphs']:.1%} of paragraphs came before"
        rows.append((max(repeats.values()) < 0.1, text, "remove duplicates: they are learnt by heart"))
    if rate := facts.get("unknown"):
        text = f"{rate['words']:.1%} of words, {rate['characters']:.2%} of characters not in train"
        rows.append((rate["words"] < 0.1, text, "prefer subwords (tokenizer bpe) to words"))
    findings = [check(good, name, text, do) for good, text, do in rows]
    if shared := facts.get("also_in_train"):
        text = f"{shared['lines']:.1%} of lines of {LEAST} characters or more are in train too"
        do = "results look better than they are: remove them from train, if the text is your own"
        level = "warning" if shared["lines"] < 0.5 else "error"
        findings.append(check(shared["lines"] < 0.01, name, text, do, level))
    return findings
