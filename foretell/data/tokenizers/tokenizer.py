"""Text to token ids and back: one contract, and a class for each way to do it.

All are kept in the JSON format of the `tokenizers` library, and `load_tokenizer` sees from the JSON
alone which class it is for. Where numpy or a dict does the same faster than the library, they do;
the tests hold both to be equal. Text that looks like a special token is text: it never becomes the
id of one.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
import numpy.typing as npt
import tokenizers

from foretell.artifacts import write_atomic
from foretell.data.text_files import BOUNDARY, REPLACEMENT, SURROGATE, mended, split_pieces
from foretell.data.tokenizers.file_kinds import END_OF_LINE, UNKNOWN, is_padded, keeps_all, kind_of
from foretell.data.tokenizers.foreign import failing, read_library
from foretell.data.tokenizers.specials import Specials
from foretell.data.tokenizers.spelling import LibraryStream, Spelling, SpellingRule, Stream, byte_alphabet
from foretell.errors import ConfigError
from foretell.run import Run

BOUNDARY_NAMES = (BOUNDARY, "<|endoftext|>", "<|end_of_text|>", "</s>", "[SEP]", END_OF_LINE, UNKNOWN)
ROLES = {
    "mask": ("[MASK]", "<mask>"),
    "begin": ("[CLS]", "<s>", "<start>"),
    "separator": ("[SEP]", "</s>", "<delimiter>"),
    "extract": ("<extract>",),
    "padding": ("[PAD]", "<pad>"),
    "unknown": ("[UNK]", UNKNOWN),
}
"""how special tokens are called that tokenisers come with, by what they are for"""

BLANKS = " \t\n\r\v\f"
NO_SPANS = [np.zeros((0, 2), dtype=np.int64)]
Ids = npt.NDArray[np.unsignedinteger[Any]]
Lengths = npt.NDArray[np.int64]


class Losses(NamedTuple):
    """The losses of an encoding."""

    unknown: int
    """Tokens that stand for something outside the vocabulary."""
    altered_lines: int
    """Lines that `decode` does not restore exactly, except those with unknown tokens."""


def lines_of(
    pieces: Sequence[str], lengths: Lengths, ends_line: npt.NDArray[np.bool_]
) -> tuple[Sequence[str], Lengths]:
    """Whole lines, and how many tokens each has: the cuts of long ones joined."""
    if not len(pieces) or ends_line[:-1].all():
        return pieces, lengths
    stops = [*(np.flatnonzero(ends_line[:-1]) + 1).tolist(), len(pieces)]
    lines = ["".join(pieces[begin:end]) for begin, end in pairwise([0, *stops])]
    return lines, np.add.reduceat(lengths, [0, *stops[:-1]])


class Tokenizer(ABC):
    """Text to ids and back; a text is encoded piece by piece."""

    def __init__(self, library: tokenizers.Tokenizer, kind: str, boundary: int, unknown: int | None) -> None:
        self.library = library
        self.kind = kind
        self.boundary = boundary
        """The id of the boundary between documents."""
        self.unknown = unknown
        """The id of unknown words or characters; None if there are none."""
        self.size: int = library.get_vocab_size()
        self.exact = False
        """Whether decoding is certain to restore the text, except for unknown tokens."""
        self.ends_lines = False
        """Whether the boundary also ends every line, as in word-level corpora."""

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all that determines the encoding."""
        return hashlib.blake2b(self.library.to_str().encode(), digest_size=16).hexdigest()

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest type that holds an id: uint16 or uint32."""
        return np.dtype(np.uint16 if self.size <= 1 << 16 else np.uint32)

    def save(self, path: Path) -> None:
        """Write the JSON atomically: a reader sees the old file or the new one."""
        write_atomic(path, self.library.to_str().encode())

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without any special token added; a lone surrogate is read as U+FFFD."""
        ids: list[int] = self.encode_pieces(split_pieces(mended(text).text))[0].tolist()
        return ids

    def spans(self, text: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The ids of a text as in `encode` [T], and the start and end of each in characters [T, 2], blanks left out."""
        text = SURROGATE.sub(REPLACEMENT, text)
        pieces = split_pieces(text)
        with failing("the tokenizer cannot encode this text"):
            encodings = self.library.encode_batch(pieces, add_special_tokens=False)
        starts = np.cumsum([0, *map(len, pieces)])[: len(pieces)]
        parts = [np.array(found.offsets, dtype=np.int64).reshape(-1, 2) for found in encodings]
        spans = np.concatenate([*(part + start for part, start in zip(parts, starts, strict=True)), *NO_SPANS])
        for span in spans:
            stretch = text[span[0] : span[1]]
            span[1] -= len(stretch) - len(stretch.rstrip(BLANKS))
            span[0] = min(span[0] + len(stretch) - len(stretch.lstrip(BLANKS)), span[1])
        return np.array([token for found in encodings for token in found.ids], dtype=np.int64), spans

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids; boundaries between documents have no text."""
        stream = self.stream()
        return "".join([stream.feed(int(token)) for token in ids]) + stream.finish()

    def token(self, token: int) -> str:
        """How a token is shown to people."""
        return self.library.id_to_token(token) or f"<{token}>"

    @cached_property
    def specials(self) -> Specials:
        """Special tokens by their conventional names; a word of the text that is spelled like one is none."""
        added = {token.content: i for i, token in self.library.get_added_tokens_decoder().items() if token.special}
        found = {role: next((added[name] for name in names if name in added), None) for role, names in ROLES.items()}
        around = self.library.encode("").ids  # as its own template frames a text
        start = around[0] if around and around[0] in added.values() and around[0] != self.boundary else None
        return replace(Specials(self.boundary, **found), unknown=self.unknown, start=start)

    @cached_property
    def spellings(self) -> dict[str, int]:
        """The id of each token by how it is spelled in the JSON."""
        return dict(self.library.get_vocab(with_added_tokens=True))

    def encode_pieces(self, pieces: Sequence[str]) -> tuple[Ids, Lengths]:
        """The ids of all pieces in one array, and how many each has; safe to call from threads."""
        try:
            return self.encode_texts(pieces)
        except (UnicodeEncodeError, TypeError):  # of lone surrogates, which only strings made by Python can hold
            return self.encode_texts([mended(piece).text for piece in pieces])

    def losses(self, lines: Sequence[str], ids: Ids, lengths: Lengths) -> Losses:
        """The losses of the encoding `(ids, lengths)` of these lines; each is whole, its newline included.

        A text is kept if `decode` gives it back. All kinds decode line by line, so nothing else has to be compared.
        """
        return Losses(0 if self.unknown is None else int(np.count_nonzero(ids == self.unknown)), 0)

    @abstractmethod
    def encode_texts(self, pieces: Sequence[str]) -> tuple[Ids, Lengths]:
        """`encode_pieces` for pieces without lone surrogates."""

    @abstractmethod
    def stream(self) -> Stream:
        """A decoder for tokens that come one by one, at constant cost for each."""


# --- the kinds ------------------------------------------------------------------------------------


@final
class ByteTokenizer(Tokenizer):
    """Bytes of UTF-8: byte b has the id b + 1, after the boundary 0."""

    def __init__(self, library: tokenizers.Tokenizer) -> None:
        super().__init__(library, "byte", 0, None)
        self.exact = True

    def encode_texts(self, pieces: Sequence[str]) -> tuple[Ids, Lengths]:
        """One id a byte."""
        joined = "".join(pieces)
        data = joined.encode()
        sizes = map(len, pieces) if len(data) == len(joined) else (len(piece.encode()) for piece in pieces)
        ids = np.frombuffer(data, dtype=np.uint8).astype(np.uint16) + np.uint16(1)
        return ids, np.fromiter(sizes, dtype=np.int64, count=len(pieces))

    def stream(self) -> Stream:
        """Gives a character with its last byte."""
        return Spelling(lambda token, before: bytes([token - 1]) if 0 < token <= 256 else b"")

    def token(self, token: int) -> str:
        """The byte as ASCII, or as `\\xe9`."""
        return bytes([token - 1]).decode("ascii", "backslashreplace") if 0 < token <= 256 else super().token(token)


@final
class CharacterTokenizer(Tokenizer):
    """Unicode characters (code points)."""

    def __init__(self, library: tokenizers.Tokenizer) -> None:
        super().__init__(library, "character", 0, 1)
        self.exact = True
        self.table = np.full(0x110000, 1, dtype=self.dtype)  # [code points]
        for character, index in library.get_vocab(with_added_tokens=True).items():
            if len(character) == 1:
                self.table[ord(character)] = index
        self.marks = set(self.specials.marks)

    def encode_texts(self, pieces: Sequence[str]) -> tuple[Ids, Lengths]:
        """One id a character."""
        points = np.frombuffer("".join(pieces).encode("utf-32-le"), dtype="<u4")
        return self.table[points], np.fromiter(map(len, pieces), dtype=np.int64, count=len(pieces))

    def stream(self) -> Stream:
        """Gives each character at once, U+FFFD for unknown ones."""
        return Spelling(self.spell)

    def spell(self, token: int, before: int | None) -> bytes:
        """The character."""
        if token in self.marks:
            return b""
        return (REPLACEMENT if token == self.unknown else self.library.id_to_token(token) or "").encode()


@final
class WordTokenizer(Tokenizer):
    """Words between whitespace, and `<eos>` for the end of a line: how PTB and WikiText are
    counted.

    The literal word `<unk>` is a known word, which those corpora have in their text; only words
    outside the vocabulary count as unknown, though both have the same id. The literal word `<eos>` is one of these.
    """

    def __init__(self, library: tokenizers.Tokenizer, vocabulary: dict[str, int], padded: bool) -> None:
        self.ids = vocabulary
        super().__init__(library, "word", self.ids[END_OF_LINE], self.ids[UNKNOWN])
        self.padded = padded
        """Whether lines are written as ` word word ` (those of PTB and WikiText are), else as `word word`."""
        self.ends_lines = True
        spelled = vocabulary | {token.content: i for i, token in library.get_added_tokens_decoder().items()}
        self.words = sorted(spelled, key=spelled.__getitem__)
        self.marks = {token for token in self.specials.marks if token != self.boundary}
        del self.ids[END_OF_LINE]  # a word of the text that is spelled so is unknown

    def encode_texts(self, pieces: Sequence[str]) -> tuple[Ids, Lengths]:
        """One id a word, and one a newline."""
        find, unknown, end = self.ids.get, self.ids[UNKNOWN], self.boundary
        ids: list[int] = []
        lengths = np.empty(len(pieces), dtype=np.int64)
        for index, piece in enumerate(pieces):
            before = len(ids)
            ids += [find(word, unknown) for word in piece.split()]
            if piece.endswith("\n"):
                ids.append(end)
            lengths[index] = len(ids) - before
        return np.array(ids, dtype=self.dtype), lengths

    def losses(self, lines: Sequence[str], ids: Ids, lengths: Lengths) -> Losses:
        """Words outside the vocabulary, and lines whose blanks are others, or that lack their newline."""
        literal = sum(line.split().count(UNKNOWN) for line in lines if UNKNOWN in line)
        altered = sum(map(self.alters, lines, lengths.tolist()))
        return Losses(int(np.count_nonzero(ids == self.unknown)) - literal, altered)

    def alters(self, line: str, length: int) -> bool:
        """Whether a line is not written as `spell` does it, or its `length` tokens are not one for each word."""
        words = line.split()
        ends = line.endswith("\n")
        if self.padded:
            written = " ".join(["", *words, "\n"] if ends else ["", *words] if words else [])
        else:
            written = " ".join(words) + "\n" * ends
        return written != line or len(words) + ends != length

    def stream(self) -> Stream:
        """Gives words with single blanks between them."""
        return Spelling(self.spell)

    def spell(self, token: int, before: int | None) -> bytes:
        """The word, after a blank unless it starts its line."""
        if token == self.boundary:
            return b" \n" if self.padded else b"\n"
        if token in self.marks:
            return b""
        blank = "" if not self.padded and (before is None or before == self.boundary) else " "
        return (blank + self.words[token]).encode()


@final
class SubwordTokenizer(Tokenizer):
    """A tokenizer run by the library: byte-level BPE, WordPiece, Unigram, files."""

    def __init__(
        self, library: tokenizers.Tokenizer, kind: str, boundary: int, unknown: int | None, exact: bool = False
    ) -> None:
        super().__init__(library, kind, boundary, unknown)
        self.exact = exact
        self.special = {i for i, token in library.get_added_tokens_decoder().items() if token.special} | {boundary}

    def encode_texts(self, pieces: Sequence[str]) -> tuple[Ids, Lengths]:
        """The ids by the library, on all cores and without the interpreter's lock."""
        with failing("the tokenizer cannot encode this text"):
            encodings = self.library.encode_batch_fast(list(pieces), add_special_tokens=False)
        ids = [encoding.ids for encoding in encodings]
        lengths = np.fromiter(map(len, ids), dtype=np.int64, count=len(ids))
        return np.fromiter(chain.from_iterable(ids), dtype=self.dtype, count=int(lengths.sum())), lengths

    def losses(self, lines: Sequence[str], ids: Ids, lengths: Lengths) -> Losses:
        """Unknown tokens, and, where not exact, the lines that decode to something else."""
        found = super().losses(lines, ids, lengths)
        if self.exact or not lines:
            return found
        parts = [part.tolist() for part in np.split(ids, np.cumsum(lengths)[:-1])]
        decoded = self.library.decode_batch(parts, skip_special_tokens=True)
        altered = sum(
            back != line or self.boundary in part or not self.is_line(line, part)
            for back, line, part in zip(decoded, lines, parts, strict=True)
            if self.unknown not in part
        )
        return found._replace(altered_lines=altered)

    def is_line(self, line: str, ids: Sequence[int]) -> bool:
        """Whether `decode` takes these tokens for one line, and begins the next afresh if this one has a newline."""
        if self.kind != "file":
            return True
        return self.ends.isdisjoint(ids[:-1]) and (not line.endswith("\n") or not self.ends.isdisjoint(ids[-1:]))

    def decode(self, ids: Iterable[int]) -> str:
        """The text; by the library, line by line, where tokens are spelled by more than the one before."""
        if self.kind != "file":
            return super().decode(ids)
        lines: list[list[int]] = [[]]
        for token in map(int, ids):
            if token != self.boundary:
                lines[-1].append(token)
            if token in self.ends:
                lines.append([])
        return "".join(self.library.decode_batch(lines, skip_special_tokens=True))

    @cached_property
    def ends(self) -> frozenset[int]:
        """The tokens after which a line begins: the boundary, and those that end in a newline."""
        texts = self.library.decode_batch([[token] for token in range(self.size)], skip_special_tokens=True)
        return frozenset([self.boundary, *(token for token, text in enumerate(texts) if text.endswith("\n"))])

    def stream(self) -> Stream:
        """Gives a character with the token that completes it."""
        rules: dict[str, SpellingRule] = {
            "bpe": lambda token, before: self.bytes_of(token),
            "unigram": lambda token, before: self.plain(token).replace("▁", " ").encode(),
            "wordpiece": self.spell_word_piece,
        }
        return Spelling(rules[self.kind]) if self.kind in rules else LibraryStream(self.library, self.ends)

    def token(self, token: int) -> str:
        """The token as text, with bytes of incomplete characters as `\\xe9`."""
        if self.kind == "bpe" and token not in self.special:
            return self.bytes_of(token).decode("utf-8", "backslashreplace")
        return super().token(token)

    def plain(self, token: int) -> str:
        """The token as the library spells it; U+FFFD for the unknown, nothing for other special ones."""
        if token == self.unknown:
            return REPLACEMENT
        return "" if token in self.special else self.library.id_to_token(token) or ""

    def bytes_of(self, token: int) -> bytes:
        """The bytes of a byte-level token."""
        spelled, alphabet = self.plain(token), byte_alphabet()
        if all(character in alphabet for character in spelled):
            return bytes(alphabet[character] for character in spelled)
        return spelled.encode()  # an added token, kept as plain text

    def spell_word_piece(self, token: int, before: int | None) -> bytes:
        """A piece that continues a word without a blank, any other after one."""
        spelled = self.plain(token)
        if spelled.startswith("##"):
            return spelled[2:].encode()
        apart = before is None or (before in self.special and before != self.unknown)
        starts = apart or not spelled
        return (spelled if starts else " " + spelled).encode()


# --- loading --------------------------------------------------------------------------------------


def load_tokenizer(path: Path | str) -> Tokenizer:
    """The tokeniser in a JSON file of the `tokenizers` library, ours or another's."""
    library = read_library(Path(path))
    try:
        return wrap(library)
    except ConfigError as problem:
        raise ConfigError(str(problem), file=path) from None


def tokenizer_of(run: Run) -> Tokenizer:
    """The tokenizer of a run; that of an untrusted run is tried out first (see `tokenizers.foreign`)."""
    with run.guarded():
        return load_tokenizer(run.tokenizer_file)


def wrap(library: tokenizers.Tokenizer) -> Tokenizer:
    """The class for a tokeniser of the library, which shows in its own description."""
    library.encode_special_tokens = True  # text is never taken for a special token
    library.no_truncation()  # files of others may ask to be cut and padded
    library.no_padding()
    if getattr(library.model, "dropout", None):  # or to be encoded by chance
        library.model.dropout = None
    description = json.loads(library.to_str())
    kind = kind_of(description)
    if kind == "byte":
        return ByteTokenizer(library)
    if kind == "character":
        return CharacterTokenizer(library)
    if kind == "word":
        return WordTokenizer(library, description["model"]["vocab"], padded=is_padded(description))
    ids = (library.token_to_id(name) for name in BOUNDARY_NAMES)
    boundary = next((index for index in ids if index is not None), None)
    if boundary is None:
        raise ConfigError(f"has no token to separate documents; add one of {', '.join(BOUNDARY_NAMES)}")
    model = description["model"]
    unknown = model.get("unk_id")
    if unknown is None and model.get("unk_token"):
        unknown = library.token_to_id(model["unk_token"])
    return SubwordTokenizer(library, kind, boundary, unknown, exact=kind == "bpe" and keeps_all(description, boundary))
