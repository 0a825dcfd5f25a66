"""Examination of a corpus: damage, odd characters, duplicates, and overlap of its splits."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

from foretell import units
from foretell.data import text_files
from foretell.data.compressed import opened
from foretell.data.files import SPLITS
from foretell.data.opening import open_corpus
from foretell.data.store.store import is_store
from foretell.data.text.corpus import Source
from foretell.data.text.holdout import byte_length, files_of
from foretell.errors import ConfigError
from foretell.tools.look.diagnosis import check
from foretell.tools.look.language import hints
from foretell.tools.look.leaks import LEAST as LONG
from foretell.tools.look.leaks import Leaks
from foretell.trees import Tree

SAMPLE = 32 << 20
"""bytes of each split to examine"""
BINARY = 0.1
"""share of invalid UTF-8 and NUL from which a file counts as binary"""
LEAST = 20
"""characters of a line that is unlikely to repeat by chance"""
ROOM = 500_000
"""hashes or words held in memory"""


def examine_corpus(corpus: str, sample_bytes: int = SAMPLE) -> Tree:
    """Examine a corpus by path or name: files, splits, and overlap of the splits.

    Reads the first `sample_bytes` of each split in constant memory; `complete`: whether that was the whole split. With
    more lines than fit into memory, shares are those of a fair sample.
    """
    if is_store(corpus):
        raise ConfigError(f"{corpus} is a token store; name the text it was prepared from")
    opened = open_corpus(corpus)
    paths = {path: None for source in opened.sources.values() for path in text_paths(source)}
    files = scan(list(paths), sample_bytes) | {"left_out": [str(files) for files in opened.left_out]}
    result: Tree = {"what": "corpus", "corpus": opened.name, "files": files, "splits": {}}
    if files["damaged"]:
        return result | {"findings": corpus_findings(result)}
    lines, blocks = Repeats(), Repeats()
    train: Survey | None = None
    leaks: Leaks | None = None
    shared: list[Tree] = []
    characters: Counter[str] = Counter()
    for split in opened.splits:
        lookups = (lines.has, blocks.has) if train else (lines.add, blocks.add)
        survey = Survey(opened.pieces(split), sample_bytes, *lookups)
        train = survey if split == "train" else train
        characters += survey.characters
        facts = survey.facts("also_in_train" if train and survey is not train else "repeated")
        if train and survey is not train:
            assert leaks is not None
            facts["also_in_train"]["passages"], longest = leaks.look_up(split, opened.pieces(split))
            shared += longest
            facts["unknown"] = {
                "words": unknown(train.words, survey.words),
                "words_top_30000": unknown(train.words, survey.words, 30_000),
                "characters": unknown(train.characters, survey.characters),
            }
        elif survey is train:
            leaks = Leaks(opened.pieces(split))
            result["looks_like"] = survey.layout()
            result |= hints(survey.characters, survey.words)
        result["splits"][split] = facts
    odd = {f"U+{ord(c):04X}": count for c, count in characters.most_common() if is_odd(c)}
    result["longest_passages_in_train"] = shared
    result["odd_characters"] = dict(islice(odd.items(), 20))
    return result | {"findings": corpus_findings(result)}


def text_paths(source: Source) -> Sequence[Path]:
    """The files of a split except tables, whose bytes are not text."""
    return [path for path in files_of(source) if text_files.content_ending(path) != ".parquet"]


def is_odd(character: str) -> bool:
    """Whether a character is probably an error: control, private, unassigned, invisible, U+FFFD."""
    if character in "\n\t\r":
        return False
    strange = unicodedata.category(character) in ("Cc", "Co", "Cn", "Cs")
    return strange or character in "\ufffd\ufeff\u200b"


def scan(paths: Sequence[Path], sample: int) -> Tree:
    """Count bytes of files, each up to an equal part of the sample."""
    share = max(1 << 20, sample // max(len(paths), 1))
    counts: Counter[str] = Counter()
    damaged: list[str] = []
    for path in paths:
        counts["stored_bytes"] += path.stat().st_size
        size = 0
        try:
            with opened(path) as stream:
                counts["byte_order_marks"] += stream.read(3) == b"\xef\xbb\xbf"
            with opened(path) as stream:
                for block in text_files.read_blocks(stream, path):
                    size += len(block)
                    counts["invalid_utf8"] += text_files.count_replaced(block)
                    counts["nul"] += block.count(0)
                    if text_files.content_ending(path) != ".jsonl":
                        counts["carriage_returns"] += block.count(b"\r\n")
                    if size >= share:
                        break
        except ConfigError as problem:
            damaged.append(str(problem))
        counts["empty"] += size == 0
        counts["looked_at_bytes"] += size
    keys = ("stored_bytes", "looked_at_bytes", "empty", "byte_order_marks", "invalid_utf8")
    figures = {key: counts[key] for key in (*keys, "nul", "carriage_returns")}
    return {"count": len(paths), **figures, "damaged": damaged}


class Repeats:
    """A set of texts in constant memory.

    Beyond `ROOM` hashes only multiples of a growing power of two are kept: a fair sample of the distinct texts (Gibbons
    2001).
    """

    def __init__(self) -> None:
        self.kept: set[int] = set()
        self.mask = 0

    def has(self, text: str) -> bool | None:
        """Whether the text was added; None if it is outside the sample."""
        key = int.from_bytes(blake2b(text.encode(), digest_size=8).digest())
        return None if key & self.mask else key in self.kept

    def add(self, text: str) -> bool | None:
        """Add a text; return whether it was there before, as `has`."""
        known = self.has(text)
        if known is False:
            self.kept.add(int.from_bytes(blake2b(text.encode(), digest_size=8).digest()))
        while len(self.kept) > ROOM:
            self.mask = 2 * self.mask + 1
            self.kept = {key for key in self.kept if not key & self.mask}
        return known


Lookup = Callable[[str], bool | None]


class Survey:
    """Counts over the beginning of a split."""

    def __init__(self, pieces: Iterable[text_files.Piece], sample: int, line: Lookup, block: Lookup) -> None:
        self.n: Counter[str] = Counter()
        self.words: Counter[str] = Counter()
        self.characters: Counter[str] = Counter()
        self.complete = True
        length, chain = 0, ""
        for text, ends_document, *_ in pieces:
            if self.n["bytes"] >= sample:
                self.complete = False
                break
            stripped = text.strip()
            self.count(text, stripped)
            self.n["documents"] += ends_document
            length += len(text)
            self.n["longest_line"] = max(self.n["longest_line"], length)
            if text.endswith("\n") or ends_document:
                self.n["lines"] += 1
                length = 0
            if len(stripped) >= LEAST:
                self.compare("lines", line(stripped))
            if stripped:  # a paragraph of any length is the chained hash of its lines
                chain = blake2b((chain + stripped).encode(), digest_size=8).hexdigest()
            if chain and (ends_document or not stripped):
                self.compare("paragraphs", block(chain))
                chain = ""

    def count(self, text: str, stripped: str) -> None:
        """Count sizes, words, characters, and signs of the layout of lines."""
        self.n["bytes"] += byte_length(text)
        self.n["characters"] += len(text)
        words = stripped.split()
        self.n["words"] += len(words)
        self.words.update(words)
        self.characters.update(text)
        if len(self.words) > 2 * ROOM:  # drop words that occurred once
            self.words = Counter({word: n for word, n in self.words.items() if n > 1})
        self.n["filled"] += bool(stripped)
        self.n["closed"] += stripped.endswith((".", "!", "?", '"', "\u201d"))
        self.n["inside"] += len(re.findall(r"[.!?] +[A-Z]", stripped))

    def compare(self, unit: str, match: bool | None) -> None:
        """Count the lookup of a line or paragraph."""
        self.n[f"{unit} looked up"] += match is not None
        self.n[f"{unit} found"] += bool(match)

    def facts(self, word: str) -> Tree:
        """Figures of the split; `word`: key of the shares of lines and paragraphs that were found."""
        keys = ("documents", "lines", "words", "characters", "bytes", "longest_line")
        shares = {
            unit: self.n[f"{unit} found"] / max(self.n[f"{unit} looked up"], 1) for unit in ("lines", "paragraphs")
        }
        return {"complete": self.complete, **{key: self.n[key] for key in keys}, word: shares}

    def layout(self) -> str:
        """A guess at the layout of lines, and at whether punctuation is tokenised."""
        n, marks = self.n, ".,;:!?"
        separate = sum(self.words[mark] for mark in marks)
        joined = sum(c for word, c in self.words.items() if len(word) > 1 and word[-1] in marks)
        filled = max(n["filled"], 1)
        closed, inside, each = n["closed"] / filled, n["inside"] / filled, n["words"] / filled
        plain = closed < 0.05 and n["filled"] == n["lines"]  # marks removed, no blank lines
        if inside < 0.2 and each < 60 and (closed > 0.6 or plain):
            line = "one sentence per line"
        elif inside >= 1:
            line = "one paragraph per line"
        elif closed < 0.5 and n["characters"] / filled < 100:
            line = "wrapped or short lines"
        else:
            line = "mixed lines"
        tokenised = separate > 9 * joined or self.words["n't"] > n["words"] / 5000
        return f"{line}, {'tokenised' if tokenised else 'not tokenised'}"


def unknown(known: Counter[str], held_out: Counter[str], size: int | None = None) -> float:
    """Share of a text outside the vocabulary of another, the `size` most frequent words of it."""
    vocabulary = {item for item, _ in known.most_common(size)}
    missing = sum(count for item, count in held_out.items() if item not in vocabulary)
    return missing / max(held_out.total(), 1)


def corpus_findings(result: Mapping[str, Any]) -> list[Tree]:
    """Findings about a corpus."""
    files, splits, odd = result["files"], result["splits"], result.get("odd_characters", {})
    do = "download it again, convert it or remove it"
    findings = [check(False, "files", text, do, "error") for text in files["damaged"]]
    wrong = (files["invalid_utf8"] + files["nul"]) / max(files["looked_at_bytes"], 1)
    if wrong > BINARY:
        text = f"not plain text: {wrong:.0%} of the bytes are NUL or invalid UTF-8"
        findings.append(check(False, "files", text, "name text, converted to UTF-8", "error"))
    convert = "read as U+FFFD: convert the files, as with iconv -f WINDOWS-1252 -t UTF-8"
    for key, name, do in (
        ("invalid_utf8", "invalid UTF-8 sequence", convert),
        ("nul", "NUL character", "kept as text: remove them, as with tr -d '\\000'"),
        ("carriage_returns", "CRLF line ending", "kept as text: remove them, as with dos2unix"),
        ("empty", "empty file", "skipped"),
    ):
        findings.append(check(not files[key], "files", units.counted(files[key], name), do))
    do = "check whether to include them; corpus = {train = …, valid = …, test = …} names files one by one"
    findings += [check(False, "files", text, do) for text in files["left_out"]]
    if files["damaged"]:
        return findings
    missing = [name for name in SPLITS if name not in splits]
    text = f"no {' and no '.join(missing)} split" if missing else "train, valid and test"
    findings += [
        check(not missing, "splits", text, "add files named train, valid and test"),
        check(not odd, "characters", f"odd characters: {', '.join(odd) or 'none'}", "check whether they are intended"),
    ]
    return findings + [item for name, facts in splits.items() for item in split_findings(name, facts)]


def split_findings(name: str, facts: Mapping[str, Any]) -> list[Tree]:
    """Findings about a split."""
    enough = facts["bytes"] >= (100_000 if name == "train" else 10_000)
    part = "" if facts["complete"] else "; only the beginning, so shares are lower bounds"
    size, longest = f"{units.size(facts['bytes'])} examined{part}", facts["longest_line"]
    rows = [
        (enough, size, "results on so little text are noise: add text"),
        (
            longest <= text_files.LONGEST,
            f"longest line {longest:,} characters",
            "it is cut into pieces: break the lines if possible",
        ),
    ]
    if repeats := facts.get("repeated"):
        text = f"{repeats['lines']:.1%} of lines, {repeats['paragraphs']:.1%} of paragraphs are duplicates"
        rows.append((max(repeats.values()) < 0.1, text, "remove duplicates: models memorise them"))
    if rate := facts.get("unknown"):
        text = f"{rate['words']:.1%} of words, {rate['characters']:.2%} of characters not in train"
        rows.append((rate["words"] < 0.1, text, "use subwords (tokenizer bpe) instead of words"))
    findings = [check(good, name, text, do) for good, text, do in rows]
    if shared := facts.get("also_in_train"):
        text = f"{shared['lines']:.1%} of lines of {LEAST} characters or more are in train too"
        do = "scores are too good: remove them from train, if the text is your own"
        level = "warning" if shared["lines"] < 0.5 else "error"
        findings.append(check(shared["lines"] < 0.01, name, text, do, level))
        text = f"{shared['passages']:.1%} is in passages of {LONG} bytes or more that are in train too"
        level = "warning" if shared["passages"] < 0.5 else "error"
        findings.append(check(shared["passages"] < 0.01, name, text, do, level))
    return findings
