"""Whole words are those of the text, whatever kind of tokeniser cut it up, imported ones included."""

import re

import numpy as np
import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from foretell.data.text_files import split_pieces
from foretell.data.tokenizers.kinds import (
    BPEConfig,
    ByteConfig,
    CharacterConfig,
    TokenizerConfig,
    UnigramConfig,
    WordConfig,
    WordPieceConfig,
)
from foretell.data.tokenizers.tokenizer import Tokenizer, wrap
from foretell.data.tokenizers.word_boundaries import word_table

TEXT = "The quickly, running dogs were eating 1234 unbelievable things. café naïve (see p. 12): well-known\n"
TRAINING = split_pieces((TEXT + "the dog run eat believe thing quick un able\n") * 3)
EXPECTED = re.findall(r"[^\W\d]+|\d+|[^\w\s]+", TEXT)
"""letters, digits and signs apart: an independent account of what a word is"""
CONFIGS: list[TokenizerConfig] = [
    BPEConfig(size=300, specials="roberta"),
    WordPieceConfig(size=90, specials="bert"),
    UnigramConfig(size=60, specials="bert"),
    ByteConfig(specials="bert"),
    CharacterConfig(specials="bert"),
]


def imported_byte_level() -> Tokenizer:
    """As GPT-2 and RoBERTa have it, in a file of another's making."""
    library = tokenizers.Tokenizer(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    library.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=names, initial_alphabet=alphabet, show_progress=False)
    library.train_from_iterator(TRAINING, trainer)
    return wrap(library)


def imported_metaspace() -> Tokenizer:
    """As ALBERT and XLNet have it."""
    library = tokenizers.Tokenizer(models.Unigram())
    library.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    library.decoder = decoders.Metaspace(prepend_scheme="always")
    names = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.UnigramTrainer(vocab_size=70, special_tokens=names, unk_token="<unk>", show_progress=False)
    library.train_from_iterator([piece.strip() for piece in TRAINING], trainer)
    return wrap(library)


def imported_word_pieces() -> Tokenizer:
    """As BERT has it."""
    library = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    library.decoder = decoders.WordPiece()
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    library.train_from_iterator(
        TRAINING, trainers.WordPieceTrainer(vocab_size=90, special_tokens=names, show_progress=False)
    )
    return wrap(library)


ALL = {f"{config.kind_name()}": config.train(TRAINING) for config in CONFIGS} | {
    "imported bpe": imported_byte_level(),
    "imported unigram": imported_metaspace(),
    "imported wordpiece": imported_word_pieces(),
}


def words_of(tokenizer: Tokenizer, text: str) -> list[str]:
    """The words of a text as the table parts them, without blanks."""
    ids = np.array(tokenizer.encode(text))
    starts = np.flatnonzero(word_table(tokenizer).starts(ids))
    spelled = [tokenizer.decode(part.tolist()) for part in np.split(ids, starts[1:])]
    joined = ["".join(word.replace("##", "").split()) for word in spelled]
    return [word for word in joined if word]


@pytest.mark.parametrize("kind", ALL)
def test_words_are_those_of_the_text(kind: str) -> None:
    tokenizer = ALL[kind]
    found = words_of(tokenizer, TEXT)
    # WordPiece splits runs of signs, and keeps letters and digits together
    expected = re.findall(r"\w+|[^\w\s]", TEXT) if "wordpiece" in kind else EXPECTED
    assert found == expected
    assert len(tokenizer.encode(TEXT)) > len(expected)  # or the test would be of whole words only


def test_words_of_a_word_vocabulary_are_its_tokens() -> None:
    tokenizer = WordConfig(specials="bert").train(TRAINING)
    ids = np.array(tokenizer.encode(TEXT))
    assert word_table(tokenizer).starts(ids).all()


@pytest.mark.parametrize("kind", ALL)
def test_special_tokens_are_words_of_their_own(kind: str) -> None:
    tokenizer = ALL[kind]
    specials, token = tokenizer.specials, tokenizer.encode("unbelievable")[-1]
    row = np.array([[specials.begin, token, specials.mask, token, specials.separator]])
    starts = word_table(tokenizer).starts(row)
    assert starts[0, [0, 2, 4]].all()


@pytest.mark.parametrize(
    ("kind", "roles"),
    [
        ("bpe", {"mask": "<mask>", "begin": "<s>", "separator": "</s>", "padding": "<pad>"}),
        ("wordpiece", {"mask": "[MASK]", "begin": "[CLS]", "separator": "[SEP]", "padding": "[PAD]"}),
        ("byte", {"mask": "[MASK]", "begin": "[CLS]", "separator": "[SEP]", "padding": "[PAD]"}),
        ("imported bpe", {"mask": "<mask>", "begin": "<s>", "separator": "</s>", "unknown": None}),
        ("imported wordpiece", {"mask": "[MASK]", "boundary": "[SEP]", "unknown": "[UNK]"}),
        ("imported unigram", {"mask": "[MASK]", "padding": "<pad>", "unknown": "<unk>"}),
    ],
)
def test_special_tokens_by_role(kind: str, roles: dict[str, str | None]) -> None:
    tokenizer = ALL[kind]
    for role, name in roles.items():
        assert getattr(tokenizer.specials, role) == (None if name is None else tokenizer.spellings[name])


@pytest.mark.parametrize("name", ["[MASK]", "<mask>", "</s>", "[CLS]"])
@pytest.mark.parametrize("specials", ["bert", "roberta"])
@pytest.mark.parametrize("config", [*CONFIGS, WordConfig()], ids=lambda config: config.kind_name())
def test_text_never_becomes_a_special_token(config: TokenizerConfig, specials: str, name: str) -> None:
    text = f"the {name} dog\n"
    made = config.model_copy(update={"specials": specials}).train(split_pieces((TEXT + text) * 3))
    marks = set(made.specials.marks) - {made.boundary}
    assert not marks & set(made.encode(text))
    assert made.decode(sorted(marks)) == ""
    assert wrap(tokenizers.Tokenizer.from_str(made.library.to_str())).specials == made.specials


@pytest.mark.parametrize("config", [WordPieceConfig, UnigramConfig])
def test_small_letters(config: type[TokenizerConfig]) -> None:
    """What is lost counts as altered."""
    tokenizer = config(size=90, lowercase=True, specials="bert").train(TRAINING)
    assert tokenizer.kind == config.kind_name()
    assert tokenizer.encode("Café THE Naïve\n") == tokenizer.encode("cafe the naive\n")
    pieces = ["The dog", "the dog"]
    assert tokenizer.losses(pieces, *tokenizer.encode_pieces(pieces)).altered_lines == 1
