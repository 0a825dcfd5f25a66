import os
import random
import subprocess
import sys
from collections import Counter

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import models, pre_tokenizers, trainers

from foretell.data.text_files import split_pieces
from foretell.data.tokenizers import training
from foretell.data.tokenizers.kinds import UnigramConfig, WordPieceConfig
from foretell.data.tokenizers.training import count_words, unigram_vocabulary, wordpiece_vocabulary

TRAIN_ALL = """
import random
from foretell.data.tokenizers.kinds import *
chance = random.Random(0)
words = ["".join(chance.choices("abcde\\u00e9\\u65e5,", k=chance.randint(1, 6))) for _ in range(2400)]
lines = [" ".join(words[place : place + 8]) for place in range(0, 2400, 8)]
kinds = [BPEConfig(size=600), ByteConfig(), CharacterConfig(), WordConfig(size=500), WordPieceConfig(size=400),
         WordPieceConfig(size=300, lowercase=True, specials="bert"), UnigramConfig(size=400), UnigramConfig(size=90)]
for kind in kinds:
    print(kind.kind, kind.train([line + "\\n" for line in lines]).fingerprint)
"""


def test_equal_text_gives_equal_tokenizers_in_every_process() -> None:
    """Nearly all pieces of these random words are as frequent as others."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", TRAIN_ALL], stdout=subprocess.PIPE, env=os.environ | {"PYTHONHASHSEED": str(seed)}
        )
        for seed in range(5)
    ]
    found = [process.communicate(timeout=240)[0] for process in running]
    assert len(found[0].splitlines()) == 8
    assert len(set(found)) == 1


texts = st.lists(st.sampled_from([*"aébB日 \n\t,.<[", "the", "▁", "##", " cat", "\x85", "\x1c"]), max_size=30).map(
    "".join
)


@settings(deadline=None, max_examples=50)
@given(texts, st.sampled_from([WordPieceConfig(size=9), UnigramConfig(size=9, lowercase=True, specials="bert")]))
def test_words_are_those_of_the_library(text: str, config: WordPieceConfig | UnigramConfig) -> None:
    library = config.train(split_pieces(text)).library
    normal = library.normalizer.normalize_str if library.normalizer else str
    expected = Counter(word for piece in split_pieces(text) for word, _ in split_of(library, normal(piece)))
    assert count_words(split_pieces(text), library) == expected


def split_of(library: tokenizers.Tokenizer, text: str) -> list[tuple[str, tuple[int, int]]]:
    found: list[tuple[str, tuple[int, int]]] = library.pre_tokenizer.pre_tokenize_str(text)
    return found


def test_wordpieces_are_those_of_the_library_where_nothing_ties() -> None:
    words = {word: 3**place for place, word in enumerate(["bead", "cab", "dace", "ace", "bed", "ab"])}
    text = [f"{word} " * times for word, times in words.items()]
    library = tokenizers.Tokenizer(models.WordPiece(unk_token="<unk>"))
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=20, special_tokens=["<unk>"], show_progress=False)
    library.train_from_iterator(text, trainer)
    assert set(wordpiece_vocabulary(words, 20, ["<unk>"], "##")) == set(library.get_vocab())


def test_private_characters_of_the_text_stay_what_they_are() -> None:
    words = {"a\U000f0000b": 4, "\U000f0001a": 4, "b\U000f0000": 1}
    found = wordpiece_vocabulary(words, 50, [], "##")
    assert {"a\U000f0000b", "\U000f0001a", "b\U000f0000", "##\U000f0000", "\U000f0000", "##b"} <= set(found)
    assert sorted(found.values()) == list(range(len(found)))
    pieces = dict(unigram_vocabulary({"a\t\U000f0000": 5, "\0": 3, "\u2585\n": 2}, 9))
    assert {*"a\t\U000f0000\0\u2585\n"} <= set(pieces)


def test_words_are_repeated_as_often_as_they_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "BLOCK", 50)
    chance = random.Random(1)
    words = {f"w{'x' * chance.randint(0, 80)}{index}": chance.randint(1, 40) for index in range(50)}
    blocks = list(training.repeated(words.items()))
    assert Counter("".join(blocks).split()) == words
    assert max(map(len, blocks)) < 200


@pytest.mark.parametrize("config", [UnigramConfig(size=3), WordPieceConfig(size=3)])
@pytest.mark.parametrize("text", ["", "\n", " ", "a\n", "\0\t\r\u2585 \u2581", "日本語" * 9, "x" * 5000])
def test_texts_of_almost_nothing(config: WordPieceConfig | UnigramConfig, text: str) -> None:
    """There is a token for each character, whatever the size."""
    tokenizer = config.train(split_pieces(text))
    assert tokenizer.unknown not in tokenizer.encode(text[:50])


@pytest.mark.parametrize("text", ["########", "aaaaaaaa", "a"])
def test_a_text_without_pieces_gives_its_letters(text: str) -> None:
    """sentencepiece finds none in one word of one letter."""
    tokenizer = UnigramConfig(size=9).train([text])
    assert tokenizer.decode(tokenizer.encode(text)) == text
