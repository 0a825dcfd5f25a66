"""The kinds of tokeniser a recipe can name, and how each is made from text."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, ClassVar, Literal, final

import tokenizers
from pydantic import Field
from tokenizers import models, pre_tokenizers, trainers
from typing_extensions import override

from foretell.config import Config, Size, Tagged, Words
from foretell.data.text_files import BOUNDARY, clean
from foretell.data.tokenizers.file_kinds import (
    END_OF_LINE,
    UNKNOWN,
    byte_level,
    bytes_alone,
    characters,
    unigrams,
    whole_words,
    word_pieces,
)
from foretell.data.tokenizers.foreign import named_file
from foretell.data.tokenizers.spelling import Stream
from foretell.data.tokenizers.tokenizer import Losses, Tokenizer, load_tokenizer, wrap
from foretell.data.tokenizers.training import count_words, unigram_vocabulary, wordpiece_vocabulary
from foretell.trust import foreign

__all__ = [
    "BPEConfig",
    "ByteConfig",
    "CharacterConfig",
    "FileConfig",
    "Losses",
    "Stream",
    "Tokenizer",
    "TokenizerChoice",
    "TokenizerConfig",
    "UnigramConfig",
    "WordConfig",
    "WordPieceConfig",
    "load_tokenizer",
]


SpecialsName = Literal["none", "bert", "roberta", "gpt"]
NAMES: dict[SpecialsName, list[str]] = {
    "none": [],
    "bert": ["[PAD]", "[CLS]", "[SEP]", "[MASK]"],
    "roberta": ["<pad>", "<s>", "</s>", "<mask>"],
    "gpt": ["<start>", "<delimiter>", "<extract>"],
}


class TokenizerConfig(Config):
    """Base of the settings of tokenizers."""

    counts_only: ClassVar[bool] = False
    """whether training only counts words or characters, which is fast"""

    @property
    def lacks_mask(self) -> bool:
        """Whether its vocabulary is known to have no mask token."""
        return False

    def known_size(self) -> tuple[int | None, str] | None:
        """Vocabulary size known without a text, and its source; None if it depends on the text."""
        size = getattr(self, "size", None)
        return (int(size), "at most, as data.tokenizer.size says") if size else None

    @abstractmethod
    def train(self, pieces: Iterable[str]) -> Tokenizer:
        """The tokeniser for this text, which is read once."""


class TrainedConfig(TokenizerConfig):
    """Base of tokenizers that are trained on the text."""

    specials: SpecialsName = "none"
    """Special tokens for masks, the beginning and end of rows, and padding, named as in BERT or RoBERTa; masked models
    need them. gpt: those that its fine-tuning puts around texts. `size` includes them."""

    @property
    @override
    def lacks_mask(self) -> bool:
        return self.specials == "none"

    @property
    def names(self) -> list[str]:
        """The spelling of the special tokens."""
        return NAMES[self.specials]


class LoweringConfig(TrainedConfig):
    """Base of tokenizers that can lowercase text."""

    lowercase: bool = False
    """Lowercase text and drop accents, as in the uncased BERT and in ALBERT; both are lost."""


@final
class BPEConfig(TrainedConfig):
    """Byte-level byte-pair encoding, as in GPT-2 (Radford et al. 2019): text comes back exactly."""

    kind: Literal["bpe"] = "bpe"
    size: int = Field(default=16384, ge=257, le=2**24)
    """Tokens at most, the 256 bytes and the boundary between documents included."""

    def train(self, pieces: Iterable[str]) -> Tokenizer:
        """The most frequent pairs merged until there are `size` tokens, or no pair occurs twice."""
        library = byte_level(models.BPE())
        trainer = trainers.BpeTrainer(
            vocab_size=self.size,
            min_frequency=2,
            special_tokens=[BOUNDARY, *self.names],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        library.train_from_iterator(clean(pieces), trainer)
        return wrap(library)


@final
class ByteConfig(TrainedConfig):
    """The bytes of UTF-8: 256 and the boundary."""

    kind: Literal["byte"] = "byte"

    @override
    def known_size(self) -> tuple[int | None, str]:
        return self.train(()).size, "bytes and the boundary"

    def train(self, pieces: Iterable[str]) -> Tokenizer:
        """Return the one tokenizer of this kind; it does not depend on the text."""
        library = bytes_alone()
        library.add_special_tokens([BOUNDARY, *self.names])
        return wrap(library)


@final
class CharacterConfig(TrainedConfig):
    """Unicode characters, the frequent first."""

    kind: Literal["character"] = "character"
    counts_only: ClassVar[bool] = True
    min_count: Size = 1
    """Characters that occur less often become unknown."""

    def train(self, pieces: Iterable[str]) -> Tokenizer:
        """Counts the characters."""
        counts: Counter[str] = Counter()
        for piece in clean(pieces):
            counts.update(piece)
        kept = [character for character in by_frequency(counts) if counts[character] >= self.min_count]
        vocabulary = {token: index for index, token in enumerate([BOUNDARY, UNKNOWN, *kept])}
        library = characters(vocabulary)
        library.add_special_tokens([BOUNDARY, UNKNOWN, *self.names])
        return wrap(library)


@final
class WordConfig(TrainedConfig):
    """Words between whitespace and an `<eos>` for every line: how PTB and WikiText are counted.

    Whether lines end in a blank, as they do there, is learned from the text; lines that differ are counted.
    """

    kind: Literal["word"] = "word"
    counts_only: ClassVar[bool] = True
    min_count: Size = 1
    """Words that occur less often become `<unk>`."""
    size: Words | None = None
    """Tokens at most, the most frequent, `<unk>` and `<eos>` included."""

    def train(self, pieces: Iterable[str]) -> Tokenizer:
        """Counts the words; ids are sorted by falling frequency, as adaptive softmax requires."""
        counts: Counter[str] = Counter()
        ends, padded = 0, 0
        for piece in clean(pieces):
            counts.update(piece.split())
            ends += piece.endswith("\n")
            padded += piece.startswith(" ") and piece.endswith(" \n")
        for name in (END_OF_LINE, *self.names):  # spelled like a special token, it would become one
            counts.pop(name, 0)
        unknown = counts.pop(UNKNOWN, 0)
        enough = [word for word in by_frequency(counts) if counts[word] >= self.min_count]
        kept = list(islice(enough, self.size and max(self.size - 2 - len(self.names), 1)))
        dropped = counts.total() - sum(counts[word] for word in kept)
        frequencies = {word: counts[word] for word in kept} | {
            UNKNOWN: unknown + dropped,
            END_OF_LINE: ends,
        }
        return word_level(by_frequency(frequencies), self.names, padded=2 * padded > ends)


@final
class WordPieceConfig(LoweringConfig):
    """WordPiece, as in BERT (Devlin et al. 2019); whitespace is lost."""

    kind: Literal["wordpiece"] = "wordpiece"
    size: Words = 16384
    """Tokens at most, or as many as there are characters."""

    def train(self, pieces: Iterable[str]) -> Tokenizer:
        """The most frequent pairs of pieces merged within words until there are `size` tokens."""
        specials = [BOUNDARY, UNKNOWN, *self.names]
        counts = count_words(pieces, word_pieces({}, lowercase=self.lowercase))
        vocabulary = wordpiece_vocabulary(counts, self.size, specials, prefix="##")
        library = word_pieces(vocabulary, lowercase=self.lowercase)
        library.add_special_tokens(specials)
        return wrap(library)


@final
class UnigramConfig(LoweringConfig):
    """The unigram model of Kudo (2018), newlines as tokens; characters not seen are lost."""

    kind: Literal["unigram"] = "unigram"
    size: Words = 16384
    """Tokens at most, or as many as there are characters."""

    def train(self, pieces: Iterable[str]) -> Tokenizer:
        """Trained by sentencepiece; ids are sorted by falling probability."""
        specials = [BOUNDARY, UNKNOWN, *self.names]
        own = [(name, 0.0) for name in specials]
        rules: dict[str, bool] = {"lowercase": self.lowercase, "brackets": self.specials == "bert"}
        found = unigram_vocabulary(count_words(pieces, unigrams(own, **rules)), self.size - len(specials))
        library = unigrams([*own, *found], **rules)
        library.add_special_tokens(specials)
        # written and read once, which rounds the library's scores: the fingerprint is of the
        # stored ones
        return wrap(tokenizers.Tokenizer.from_str(library.to_str()))


@final
class FileConfig(TokenizerConfig):
    """A tokeniser that exists: a JSON file of the `tokenizers` library, or that of a run."""

    kind: Literal["file"] = "file"
    path: str
    """The file, usually named `tokenizer.json`, or the folder of a run."""
    specials: SpecialsName = "none"
    """Tokens that are added, those that it lacks, by whose names they go: "gpt" for the fine-tuning of GPT."""

    @override
    def known_size(self) -> tuple[int | None, str]:
        there = Path(self.path).expanduser().exists()
        return (self.train(()).size if there else None), self.path

    def train(self, pieces: Iterable[str]) -> Tokenizer:
        """Loads the file; the text is not read."""
        path = named_file(self.path)
        with foreign():  # which tries it out first
            found = load_tokenizer(path)
        if self.specials == "none":
            return found
        found.library.add_special_tokens(NAMES[self.specials])
        return wrap(found.library)


TokenizerChoice = Annotated[
    BPEConfig | ByteConfig | CharacterConfig | WordConfig | WordPieceConfig | UnigramConfig | FileConfig,
    Tagged(),
]


def word_level(words: Iterable[str], specials: Sequence[str] = (), padded: bool = False) -> Tokenizer:
    """Words between whitespace, with their place in the list as id; `<unk>` and `<eos>` have to be among them.

    `padded`: blanks at the ends of lines, too.
    """
    library = whole_words({word: i for i, word in enumerate(words)}, padded=padded)
    library.add_special_tokens(list(specials))
    return wrap(library)


def by_frequency(counts: dict[str, int]) -> list[str]:
    """The words, frequent ones first, equally frequent ones in the order of their spelling."""
    return sorted(sorted(counts), key=counts.__getitem__, reverse=True)  # the second sort keeps the order of equals
