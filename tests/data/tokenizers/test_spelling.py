"""Tokens to text one by one, against decoding all at once."""

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from foretell.data.tokenizers.kinds import BPEConfig, ByteConfig
from foretell.data.tokenizers.spelling import LibraryStream, Spelling, byte_alphabet


@given(st.lists(st.binary(max_size=4) | st.text(max_size=2).map(str.encode)))
def test_the_bytes_of_all_tokens_are_decoded_once(spelled: list[bytes]) -> None:
    befores = []

    def spell(token: int, before: int | None) -> bytes:
        befores.append(before)
        return spelled[token]

    stream = Spelling(spell)
    text = ""
    for token in range(len(spelled)):
        text += stream.feed(token)
        assert b"".join(spelled).decode(errors="replace").startswith(text)
    assert text + stream.finish() == b"".join(spelled).decode(errors="replace")
    assert befores == [None, *range(len(spelled))][: len(spelled)]


@pytest.mark.parametrize("kind", ["bpe", "byte"])
def test_streaming_waits_for_whole_characters(kind: str) -> None:
    tokenizer = (ByteConfig() if kind == "byte" else BPEConfig(size=300)).train(["the cat\n"])
    ids = tokenizer.encode("é😀")
    decoder = tokenizer.stream()
    given_out = [decoder.feed(index) for index in ids]
    assert "\ufffd" not in "".join(given_out)
    assert "" in given_out
    half = tokenizer.stream()
    assert half.feed(ids[0]) == ""
    assert half.finish() == "\ufffd"


def test_a_line_of_the_library_begins_anew() -> None:
    """A decoder that drops the blank ahead of a line drops it of each line."""
    vocabulary = {"\u2581a": 0, "\u2581b": 1, "\n": 2}
    library = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="\n"))
    library.decoder = tokenizers.decoders.Metaspace()
    stream = LibraryStream(library, ends={2})
    assert [stream.feed(token) for token in (0, 1, 2, 1, 0)] == ["a", " b", "\n", "b", " a"]
    assert stream.finish() == ""
    endless = LibraryStream(library, ends=())
    assert "".join(endless.feed(token) for token in (0, 1, 2, 1, 0)) == library.decode([0, 1, 2, 1, 0])


def test_the_byte_alphabet_is_the_library_s() -> None:
    alphabet = byte_alphabet()
    assert sorted(alphabet.values()) == list(range(256))
    assert set(alphabet) == set(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    given = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    for character, byte in alphabet.items():
        if byte < 0x80:
            assert given.pre_tokenize_str(chr(byte))[0][0] == character
