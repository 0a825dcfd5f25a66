import json
import os
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from foretell.config import Config as Settings
from foretell.config import validate
from foretell.data.opening import open_corpus
from foretell.data.text_files import LONGEST, split_pieces
from foretell.data.tokenizers.kinds import (
    BPEConfig,
    ByteConfig,
    CharacterConfig,
    FileConfig,
    Losses,
    Tokenizer,
    TokenizerChoice,
    TokenizerConfig,
    UnigramConfig,
    WordConfig,
    WordPieceConfig,
    load_tokenizer,
)
from foretell.data.tokenizers.tokenizer import BLANKS
from foretell.errors import ConfigError

DATA = os.environ.get("FORETELL_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="needs FORETELL_DATA")

ALPHABET = "abc <unk>|eos\n\t\r\x1c\x85\u3000é日😀##▁Ġ\0"
TEXT = "the cat  sat on the <unk> mat .\n<|endofdoc|> the dog ab cab\n" + ALPHABET + "\n"
CONFIGS: list[TokenizerConfig] = [
    BPEConfig(size=300),
    ByteConfig(),
    CharacterConfig(),
    WordConfig(),
    WordPieceConfig(size=120),
    UnigramConfig(size=100),
]
TRAINED = {config.kind_name(): config.train(split_pieces(TEXT * 5)) for config in CONFIGS}
BARE = {kind: tokenizers.Tokenizer.from_str(x.library.to_str()) for kind, x in TRAINED.items()}
for library in BARE.values():
    library.encode_special_tokens = True  # a setting that the JSON has no place for
kinds = pytest.mark.parametrize("kind", TRAINED)
exact_kinds = pytest.mark.parametrize("kind", ["bpe", "byte", "character"])
texts = st.one_of(st.text(), st.text(alphabet=ALPHABET), st.sampled_from([TEXT, "<|endofdoc|>\n"]))


def losses(tokenizer: Tokenizer, text: str) -> Losses:
    pieces = split_pieces(text)
    return tokenizer.losses(pieces, *tokenizer.encode_pieces(pieces))


def stream(tokenizer: Tokenizer, ids: Iterable[int]) -> str:
    decoder = tokenizer.stream()
    return "".join([decoder.feed(token) for token in ids]) + decoder.finish()


# --- the contract ---------------------------------------------------------------------------------


@kinds
@given(text=texts)
def test_encoding_is_that_of_the_stored_json_in_the_bare_library(kind: str, text: str) -> None:
    assert TRAINED[kind].encode(text) == BARE[kind].encode(text, add_special_tokens=False).ids


@kinds
@given(text=texts)
def test_spans_belong_to_the_ids(kind: str, text: str) -> None:
    """In order, within the text, without blanks at their ends; where text is kept, they cover all that is not blank."""
    ids, spans = TRAINED[kind].spans(text)
    assert ids.tolist() == TRAINED[kind].encode(text)
    assert spans.shape == (len(ids), 2)
    assert (np.diff(spans, axis=0) >= 0).all() and (spans[:, 0] <= spans[:, 1]).all()
    found = [text[begin:end] for begin, end in spans]
    assert all(part == part.strip(BLANKS) for part in found)
    covered = {place for begin, end in spans for place in range(begin, end)}
    if TRAINED[kind].exact:
        assert {place for place, character in enumerate(text) if character not in BLANKS} <= covered


@kinds
@given(text=texts)
def test_pieces_encode_to_the_concatenation(kind: str, text: str) -> None:
    tokenizer, pieces = TRAINED[kind], split_pieces(text)
    ids, lengths = tokenizer.encode_pieces(pieces)
    assert ids.dtype == np.uint16
    assert lengths.dtype == np.int64
    parts = [tokenizer.encode(piece) for piece in pieces]
    assert lengths.tolist() == [len(part) for part in parts]
    assert ids.tolist() == list(chain(*parts)) == tokenizer.encode(text)


@kinds
@given(text=texts)
def test_text_never_becomes_a_boundary(kind: str, text: str) -> None:
    tokenizer = TRAINED[kind]
    expected = text.count("\n") if kind == "word" else 0  # "<eos>" in a text is an unknown word
    assert tokenizer.encode(text).count(tokenizer.boundary) == expected


@exact_kinds
@given(text=texts)
def test_exact_kinds_give_the_text_back(kind: str, text: str) -> None:
    tokenizer = TRAINED[kind]
    if kind == "character":  # what it was not trained on is unknown
        text = "".join(character for character in text if character in TEXT)
    assert tokenizer.exact
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert losses(tokenizer, text) == Losses(0, 0)


@kinds
@given(ids=st.lists(st.integers(0, 10_000)))
def test_streaming_gives_what_decoding_gives(kind: str, ids: list[int]) -> None:
    tokenizer = TRAINED[kind]
    ids = [index % tokenizer.size for index in ids]
    assert stream(tokenizer, ids) == tokenizer.decode(ids)


@kinds
def test_saved_and_loaded_it_is_the_same(kind: str, tmp_path: Path) -> None:
    tokenizer = TRAINED[kind]
    tokenizer.save(tmp_path / "x.json")
    loaded = load_tokenizer(tmp_path / "x.json")
    for name in ("kind", "size", "boundary", "unknown", "exact", "fingerprint", "ends_lines"):
        assert getattr(loaded, name) == getattr(tokenizer, name), name
    assert type(loaded) is type(tokenizer)
    assert loaded.encode(TEXT) == tokenizer.encode(TEXT)
    assert os.listdir(tmp_path) == ["x.json"]


def test_fingerprints_differ() -> None:
    assert len({tokenizer.fingerprint for tokenizer in TRAINED.values()}) == len(TRAINED)


@kinds
def test_boundary_and_names_of_tokens(kind: str) -> None:
    tokenizer = TRAINED[kind]
    assert tokenizer.token(tokenizer.boundary) == ("<eos>" if kind == "word" else "<|endofdoc|>")
    assert kind == "word" or tokenizer.boundary == 0
    assert (tokenizer.unknown is None) == (kind in ("bpe", "byte"))
    names = [tokenizer.token(index) for index in range(tokenizer.size)]
    assert all(isinstance(name, str) and name for name in names)
    assert tokenizer.decode([tokenizer.boundary]) == ("\n" if kind == "word" else "")


@pytest.mark.parametrize("kind", ["bpe", "byte", "character", "word"])
def test_training_is_deterministic(kind: str) -> None:
    config = next(config for config in CONFIGS if config.kind_name() == kind)
    assert config.train(split_pieces(TEXT * 5)).fingerprint == TRAINED[kind].fingerprint


@exact_kinds
def test_a_very_long_line_is_encoded_by_its_cuts(kind: str) -> None:
    tokenizer = TRAINED[kind]
    text = "the cat " * (LONGEST // 4) + "\n"
    assert tokenizer.decode(tokenizer.encode(text)) == text


# --- the kinds ------------------------------------------------------------------------------------


def test_bytes_are_their_value_and_one() -> None:
    tokenizer = ByteConfig().train([])
    assert tokenizer.encode("aé\n") == [98, 0xC3 + 1, 0xA9 + 1, 11]
    assert tokenizer.size == 257
    assert tokenizer.token(98) == "a"
    assert tokenizer.token(0xC4) == "\\xc3"


def test_rare_characters_are_unknown() -> None:
    tokenizer = CharacterConfig(min_count=2).train(["aab\n", "bac\n"])
    assert tokenizer.encode("abc\nz") == [2, 4, 1, 3, 1]  # by frequency, then code point
    assert tokenizer.decode([2, 1, 3]) == "a\ufffd\n"
    assert losses(tokenizer, "abc\nz") == Losses(2, 0)


def test_words_are_counted_as_the_word_corpora_do() -> None:
    tokenizer = WordConfig().train([" the cat the \n", "\n", "a <unk>"])
    assert [tokenizer.token(index) for index in range(tokenizer.size)] == [*("<eos>", "the", "<unk>", "a", "cat")]
    assert tokenizer.encode(" the cat\n\nthe") == [1, 4, 0, 0, 1]
    assert tokenizer.decode([1, 4, 0, 0, 1]) == "the cat\n\nthe"


def test_the_literal_unknown_word_is_known() -> None:
    tokenizer = WordConfig().train(["a <unk> b\n"])
    assert losses(tokenizer, "a <unk> x<unk> c\n<unk>\n") == Losses(2, 0)
    assert tokenizer.encode("<unk> c") == [tokenizer.unknown] * 2


def test_lines_with_other_blanks_are_altered() -> None:
    tokenizer = WordConfig().train(["a b\n"])
    assert losses(tokenizer, "a b\n a b \na  b\n\ta\na\r\n").altered_lines == 4


def test_rare_words_give_their_frequency_to_the_unknown() -> None:
    text = ["a a a a\n", "b b c c\n", "d e f g h\n"]
    assert [WordConfig(min_count=2).train(text).token(index) for index in range(6)] == [
        *("<unk>", "a", "<eos>", "b", "c", "<6>")[:5],
        "<5>",
    ]
    top = WordConfig(size=4).train(text)
    assert [top.token(index) for index in range(4)] == ["<unk>", "a", "<eos>", "b"]
    assert top.size == 4


def test_bpe_has_all_bytes_and_at_most_its_size() -> None:
    tokenizer = BPEConfig(size=260).train(["aaaa bbbb\n"] * 9)
    assert tokenizer.size == 260
    assert tokenizer.decode(tokenizer.encode("日本\0")) == "日本\0"
    shown = [tokenizer.token(index) for index in tokenizer.encode("é")]
    assert shown == ["\\xc3", "\\xa9"]


def test_big_vocabularies_take_four_bytes() -> None:
    pieces = [f"w{index}\n" for index in range(66_000)]
    tokenizer = WordConfig().train(pieces)
    ids, _ = tokenizer.encode_pieces(pieces)
    assert ids.dtype == np.uint32
    assert tokenizer.decode(ids.tolist()) == "".join(pieces)


def test_wordpiece_and_unigram_say_what_they_lose() -> None:
    text = "the cat  sat .\n"
    assert not TRAINED["wordpiece"].exact
    assert not TRAINED["unigram"].exact
    assert losses(TRAINED["wordpiece"], text).altered_lines == 1
    assert losses(TRAINED["wordpiece"], "the cat .") == Losses(0, 0)
    assert losses(TRAINED["wordpiece"], "the cat\n\n  the cat .\n") == Losses(0, 3)  # no token for a newline
    assert losses(TRAINED["unigram"], "the cat  sat\n") == Losses(0, 0)
    assert losses(TRAINED["unigram"], "the ☃\n").unknown == 1


# --- choice and files -----------------------------------------------------------------------------


class Holder(Settings):
    tokenizer: TokenizerChoice = BPEConfig()


def test_bpe_is_the_default_and_kinds_are_checked() -> None:
    assert validate(Holder, {"tokenizer": {"size": 512}}, "x").tokenizer == BPEConfig(size=512)
    assert validate(Holder, {"tokenizer": "byte"}, "x").tokenizer == ByteConfig()
    with pytest.raises(ConfigError, match="did you mean 'unigram'"):
        validate(Holder, {"tokenizer": "unigramm"}, "x")


def test_foreign_files_are_read(tmp_path: Path) -> None:
    library = tokenizers.Tokenizer(tokenizers.models.BPE())
    library.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        special_tokens=["<s>", "<|endoftext|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    library.train_from_iterator([TEXT], trainer)
    library.save(str(tmp_path / "gpt.json"))
    tokenizer = FileConfig(path=str(tmp_path / "gpt.json")).train([])
    assert (tokenizer.kind, tokenizer.boundary, tokenizer.exact) == ("bpe", 1, True)
    assert tokenizer.decode(tokenizer.encode("<s> é<|endoftext|>")) == "<s> é<|endoftext|>"


def test_other_conventions_are_left_to_the_library(tmp_path: Path) -> None:
    library = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token="[UNK]"))
    library.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    library.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    library.decoder = tokenizers.decoders.WordPiece()
    trainer = tokenizers.trainers.WordPieceTrainer(special_tokens=["[PAD]", "[UNK]", "[SEP]"], show_progress=False)
    library.train_from_iterator(["the cat sat . the cat"], trainer)
    library.save(str(tmp_path / "bert.json"))
    tokenizer = load_tokenizer(tmp_path / "bert.json")
    assert (tokenizer.kind, tokenizer.boundary, tokenizer.unknown) == ("file", 2, 1)
    ids = tokenizer.encode("The cat .\n")
    assert tokenizer.decode(ids) == "the cat."  # the library tidies up
    assert stream(tokenizer, ids).startswith("the cat")
    assert losses(tokenizer, "The cat\nthe cat\n☃\nthe cat") == Losses(1, 2)


def test_what_is_no_tokenizer_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.json: cannot be read"):
        load_tokenizer(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"bad\.json: not a JSON file of the tokenizers library"):
        load_tokenizer(tmp_path / "bad.json")
    library = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0}, unk_token="a"))
    library.save(str(tmp_path / "bare.json"))
    with pytest.raises(ConfigError, match="has no token to separate documents"):
        load_tokenizer(tmp_path / "bare.json")


# --- published counts -----------------------------------------------------------------------------


@needs_data
@pytest.mark.parametrize(
    ("name", "size", "tokens"),
    [
        ("ptb", 10_000, (929_589, 73_760, 82_430)),
        pytest.param(*("wikitext-2", 33_278, (2_088_628, 217_646, 245_569)), marks=pytest.mark.slow),
    ],
)
def test_published_vocabularies(name: str, size: int, tokens: tuple[int, ...]) -> None:
    corpus = open_corpus(name)
    tokenizer = WordConfig().train(piece.text for piece in corpus.pieces("train"))
    assert tokenizer.size == size
    for split, expected in zip(corpus.splits, tokens, strict=True):
        pieces = [piece.text for piece in corpus.pieces(split)]
        ids, lengths = tokenizer.encode_pieces(pieces)
        assert len(ids) == expected
        assert tokenizer.losses(pieces, ids, lengths) == Losses(0, 0)


def test_a_tokenizer_file_that_the_user_names_is_tried_out_first(tmp_path: Path) -> None:
    longer = {"type": "Replace", "pattern": {"String": ""}, "content": "a" * 1000}
    described = json.loads(WordConfig().train(["the cat"]).library.to_str())
    described["normalizer"] = {"type": "Sequence", "normalizers": [longer] * 6}
    (tmp_path / "tokenizer.json").write_text(json.dumps(described))
    with pytest.raises(ConfigError, match=r"tokenizer\.json: (it takes the tokenizers library too long|.*breaks down)"):
        FileConfig(path=str(tmp_path / "tokenizer.json")).train(())
