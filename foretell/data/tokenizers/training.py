"""Vocabularies of WordPiece and unigram tokenizers that depend on the text alone.

The trainers of the `tokenizers` library go through hash tables whose order differs from process to process, which
decides ties and rounding. Here words are counted first and go into training in the order of their spelling.
"""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from foretell.data.text_files import clean

BLOCK = 1 << 20
THREADS = 8  # sums are rounded by threads, so this number is part of the result
PRIVATE = 0xF0000
"""where code points begin that stand for nothing: for characters that a trainer needs spelled otherwise"""
RESERVED = "\0\t\n\r\u2585"
"""what sentencepiece does not take as text"""


def count_words(pieces: Iterable[str], library: tokenizers.Tokenizer) -> dict[str, int]:
    """How often each word occurs, words as a tokenizer's normalizer and pre-tokenizer make them, by spelling.

    Both work between blanks, so each distinct text between blanks is processed once.
    """
    first: Counter[str] = Counter()
    later: Counter[str] = Counter()
    for piece in clean(pieces):
        head, *rest = piece.split(" ")
        first[head] += 1
        later.update(rest)
    found: Counter[str] = Counter()
    for blank, stretches in (("", first), (" ", later)):
        for stretch, times in stretches.items():
            text = library.normalizer.normalize_str(blank + stretch) if library.normalizer else blank + stretch
            for word, _ in library.pre_tokenizer.pre_tokenize_str(text):
                found[word] += times
    return {word: found[word] for word in sorted(found)}


def unused(characters: set[str]) -> Iterator[str]:
    """Private characters that are not among these."""
    return (chr(point) for point in count(PRIVATE) if chr(point) not in characters)


def wordpiece_vocabulary(words: Mapping[str, int], size: int, specials: Sequence[str], prefix: str) -> dict[str, int]:
    """Merges of the most frequent pairs until there are `size` tokens; of equals, the one whose parts came first.

    A character that continues a word is another symbol than one that begins it: it gets a code point of its own.
    """
    letters = {character for word in words for character in word}
    inner = dict(zip(sorted({character for word in words for character in word[1:]}), unused(letters), strict=False))
    table, back = str.maketrans(inner), str.maketrans({mark: letter for letter, mark in inner.items()})
    library = tokenizers.Tokenizer(models.BPE())
    library.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=list(specials), initial_alphabet=sorted(letters), show_progress=False
    )
    library.train_from_iterator(
        repeated((word[0] + word[1:].translate(table), n) for word, n in words.items()), trainer
    )
    marks, vocabulary = set(inner.values()), library.get_vocab()
    return {(prefix if token[0] in marks else "") + token.translate(back): i for token, i in vocabulary.items()}


def repeated(words: Iterable[tuple[str, int]]) -> Iterator[str]:
    """Text with each word as often as it is counted, in blocks."""
    block: list[str] = []
    size = 0
    for word, left in words:
        while left:
            times = min(left, max(1, BLOCK // len(word)))
            block.append(f"{word} " * times)
            size += len(block[-1])
            left -= times
            if size >= BLOCK:
                yield "".join(block)
                block, size = [], 0
    yield "".join(block)


UNIGRAM: dict[str, Any] = {
    "input_format": "tsv",
    "model_type": "unigram",
    "hard_vocab_limit": False,
    "character_coverage": 1.0,
    "max_sentence_length": 1 << 30,
    "normalization_rule_name": "identity",
    "add_dummy_prefix": False,
    "remove_extra_whitespaces": False,
    "split_by_unicode_script": False,
    "split_by_number": False,
    "bos_id": -1,
    "eos_id": -1,
    "num_threads": THREADS,
    "minloglevel": 2,
}
"""settings of sentencepiece"""


def letter_pieces(words: Mapping[str, int]) -> list[tuple[str, float]]:
    """The characters of words with their log-probabilities, likely ones first."""
    counts = Counter[str]()
    for word, times in words.items():
        counts.update({letter: times * number for letter, number in Counter(word).items()})
    total = counts.total()
    scores = {letter: math.log(number / total) for letter, number in counts.items()}
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))


def unigram_vocabulary(words: Mapping[str, int], size: int) -> list[tuple[str, float]]:
    """At most `size` pieces (or as many as there are characters) and their log-probabilities, likely ones first.

    By sentencepiece, of which Kudo's own trainer is part: equal words in equal order give equal pieces.
    """
    if not words:
        return []
    import sentencepiece  # needed for training alone

    letters = {character for word in words for character in word}
    spelled = dict(zip(sorted(letters & set(RESERVED)), unused(letters), strict=False))
    table, back = str.maketrans(spelled), str.maketrans({mark: letter for letter, mark in spelled.items()})
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(f"{word.translate(table)}\t{times}" for word, times in words.items()),
            model_writer=model,
            vocab_size=1 + max(size, len(letters)),  # its own <unk> is one
            **UNIGRAM,
        )
    except RuntimeError as problem:
        if "no pieces" not in str(problem):
            raise
        return letter_pieces(words)  # the text is one word of one letter, or little more
    found = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    pieces = [i for i in range(found.get_piece_size()) if not found.is_unknown(i)]
    scores = {found.id_to_piece(i).translate(back): found.get_score(i) for i in pieces}
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))
