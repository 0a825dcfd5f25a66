"""Tokenizer files that are almost our own: every one encodes as its library does, and what it loses is counted."""

import json
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizer_files import BYTES, LINES, OWN, files, made, merged
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from foretell.data.text_files import split_pieces
from foretell.data.tokenizers import tokenizer as ours
from foretell.data.tokenizers.foreign import failing
from foretell.data.tokenizers.tokenizer import Losses, SubwordTokenizer, load_tokenizer, wrap
from foretell.errors import ConfigError

PARTS = [
    *(" ", "  ", "\n", "\n\n", "\t", "\r\n", "\x1c", "\x85", "\u3000", "\0"),
    *("the", "The", "cat", "Cat", "a", "b", "A", "ab", "abab", "dog", "sat", ".", "!", "12", "é", "e\u0301", "日"),
    *("😀", "☃", "##s", "▁", "Ġ", "<0x0A>", "<unk>", "[UNK]", "<eos>", "<mask>", "[MASK]", "</s>", "<|endofdoc|>"),
]
texts = st.one_of(st.lists(st.sampled_from(PARTS), max_size=8).map("".join), st.text(max_size=12))


def losses(tokenizer: ours.Tokenizer, text: str) -> Losses:
    pieces = split_pieces(text)
    return tokenizer.losses(pieces, *tokenizer.encode_pieces(pieces))


every_kind = pytest.mark.parametrize("kind", OWN)


def drawn(kind: str, data: st.DataObject) -> tuple[ours.Tokenizer, Tokenizer]:
    return made(kind, data.draw(st.sampled_from(list(files(kind)))))


def encoded(tokenizer: ours.Tokenizer, text: str) -> list[int]:
    """The ids; a text that the tokenizer cannot encode is none."""
    try:
        return tokenizer.encode(text)
    except ConfigError:
        assume(False)
        raise


# --- what has to be so ------------------------------------------------------------------------------


@every_kind
@settings(deadline=None, max_examples=60)
@given(data=st.data(), text=texts)
def test_ids_are_the_librarys(kind: str, data: st.DataObject, text: str) -> None:
    tokenizer, bare = drawn(kind, data)
    try:
        with failing("cannot"):
            expected = [bare.encode(piece, add_special_tokens=False).ids for piece in split_pieces(text)]
    except ConfigError:
        with pytest.raises(ConfigError, match="cannot encode this text"):
            tokenizer.encode(text)
        return
    assert tokenizer.encode(text) == [token for ids in expected for token in ids]


@every_kind
@settings(deadline=None, max_examples=60)
@given(data=st.data(), text=texts)
def test_what_is_not_lossy_comes_back(kind: str, data: st.DataObject, text: str) -> None:
    tokenizer, _ = drawn(kind, data)
    ids = encoded(tokenizer, text)
    if losses(tokenizer, text) == Losses(0, 0):
        assert tokenizer.decode(ids) == text
    else:
        assert not tokenizer.exact or losses(tokenizer, text).unknown


@every_kind
@settings(deadline=None, max_examples=60)
@given(data=st.data(), text=texts, place=st.integers(0, 20), more=st.sampled_from(PARTS))
def test_two_texts_with_the_same_tokens_are_not_both_kept(
    kind: str, data: st.DataObject, text: str, place: int, more: str
) -> None:
    tokenizer, _ = drawn(kind, data)
    ids = encoded(tokenizer, text)
    for other in (text[:place] + more + text[place:], text[:place] + text[place + 1 :], text.strip(), text + "\n"):
        if other != text and encoded(tokenizer, other) == ids:
            assert not losses(tokenizer, text) == losses(tokenizer, other) == Losses(0, 0)


@every_kind
def test_every_file_encodes_and_decodes_some_lines(kind: str) -> None:
    """The same without luck."""
    assert len(files(kind)) > 100
    samples = [
        "The cat sat",
        "aba",
        "ab.",
        "abcat",
        "a <mask> b\n",
        "the cat\n",
        "ab abab",
        "a  b\n",
        "the [x] </s> b",
        "é日Ġ▁",
        "<|endofdoc|>",
        "\n",
        "☃ a\n",
    ]
    for name in files(kind):
        tokenizer, bare = made(kind, name)
        for text in samples:
            try:
                with failing("cannot"):
                    expected = bare.encode(text, add_special_tokens=False).ids
            except ConfigError:
                continue
            assert tokenizer.encode(text) == expected, (name, text)
            assert tokenizer.spans(text)[0].tolist() == expected, (name, text)
            if losses(tokenizer, text) == Losses(0, 0):
                assert tokenizer.decode(expected) == text, (name, text)
                assert stream(tokenizer, expected) == text, (name, text)


# --- which kind a file is -------------------------------------------------------------------------


@every_kind
def test_what_our_configs_write_is_of_their_kind(kind: str, tmp_path: Path) -> None:
    """Also with what an import may have changed, none of which is about ids."""
    own = OWN[kind]
    same = ("as it is", "truncation", "padding", "dropout", "post-processor template", "post-processor bytes")
    for name in (*same, "special '[x]' ", "special '[x]' lstrip rstrip"):
        if name in files(kind):
            (tmp_path / "x.json").write_text(files(kind)[name])
            found = load_tokenizer(tmp_path / "x.json")
            assert (type(found), found.kind, found.exact) == (type(own), own.kind, own.exact), name
            assert found.encode(LINES) == own.encode(LINES)


@pytest.mark.parametrize("kind", ["plain byte", "character", "word", "padded", "wordpiece", "unigram"])
@pytest.mark.parametrize(
    "name",
    [
        *("normalizer Lowercase", "pre-tokenizer 9", "no pre-tokenizer", "decoder 10", "unknown is another"),
        *("added 'the' ", "added '[x]' ", "special 'a' ", "not special", "reversed ids", "boundary last"),
        *("post-processor twice", "post-processor nothing", "post-processors"),
    ],
)
def test_what_differs_is_of_none(kind: str, name: str) -> None:
    if name not in files(kind) or (kind in ("word", "padded") and name in ("reversed ids", "boundary last")):
        return  # words may have any ids
    found, bare = made(kind, name)
    if bare.to_str() != made(kind, "as it is")[1].to_str():  # settings that a model lacks are dropped
        assert isinstance(found, SubwordTokenizer)
        assert found.kind in ("file", "bpe" if kind == "plain byte" else "file")


def test_a_byte_vocabulary_of_the_librarys_own_trainer() -> None:
    """Its ids are another order than byte + 1."""
    library = byte_bpe("<|endoftext|>")
    tokenizer = wrap(library)
    assert tokenizer.encode("abc") == library.encode("abc").ids == [65, 66, 67]
    assert (tokenizer.kind, tokenizer.exact, tokenizer.boundary) == ("bpe", True, 0)
    assert tokenizer.decode([65, 66, 67]) == "abc"


def byte_bpe(*specials: str) -> Tokenizer:
    library = Tokenizer(models.BPE())
    library.pre_tokenizer, library.decoder = BYTES, decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=256 + len(specials), special_tokens=list(specials), initial_alphabet=alphabet, show_progress=False
    )
    library.train_from_iterator(["x"], trainer)
    return library


def test_words_of_others_with_rules_of_their_own() -> None:
    names = ["<unk>", "<eos>", "the", "cat", "[UNK]", "big cat"]
    library = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="[UNK]"))
    library.pre_tokenizer, library.normalizer = pre_tokenizers.WhitespaceSplit(), normalizers.Lowercase()
    library.add_tokens(["big cat"])
    tokenizer = wrap(library)
    assert (tokenizer.kind, tokenizer.unknown, tokenizer.boundary) == ("file", 4, 1)
    assert tokenizer.encode("The big cat sat") == [2, 5, 4]
    assert losses(tokenizer, "the cat") == Losses(0, 0)
    assert losses(tokenizer, "The cat") == Losses(0, 1)


def test_a_filler_of_an_import_is_no_word_of_a_text() -> None:
    tokenizer = OWN["word"]
    library = Tokenizer.from_str(tokenizer.library.to_str())
    library.add_special_tokens([f"[unused-{tokenizer.size}]"])
    padded = wrap(library)
    assert padded.kind == "word"
    assert padded.encode(f"[unused-{tokenizer.size}]") == [padded.unknown]


def test_a_merge_into_a_special_token_is_not_kept() -> None:
    """The text becomes a token that `decode` leaves out."""
    description = json.loads(byte_bpe("<|endoftext|>").to_str())
    merged(description)
    tokenizer = wrap(Tokenizer.from_str(json.dumps(description)))
    assert not tokenizer.exact
    assert losses(tokenizer, "abab") == Losses(0, 1)
    assert losses(tokenizer, "ab") == Losses(0, 0)


def stream(tokenizer: ours.Tokenizer, ids: list[int]) -> str:
    decoder = tokenizer.stream()
    return "".join([decoder.feed(token) for token in ids]) + decoder.finish()
