"""Tokenizer files of transformers: the same ids on both sides."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import tokenizers
import torch
from hugging_face import (
    BERT_SIZES,
    MINI,
    checkpoint,
    imported,
    trained,
)

from foretell.errors import ConfigError
from foretell.tools.use.convert import export_run


@pytest.mark.filterwarnings("ignore")
def test_word_pieces_from_a_list_of_them(transformers: ModuleType, tmp_path: Path) -> None:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cafe", "##s", "un", "##do", "##ne", ",", "日"]
    config = {**BERT_SIZES, "vocab_size": len(pieces) + 3}
    checkpoint(transformers, tmp_path / "theirs", ("BertConfig", "BertForMaskedLM", config))
    (tmp_path / "theirs" / "vocab.txt").write_text("\n".join(pieces) + "\n")
    run, told = imported(tmp_path / "theirs", tmp_path / "run")
    assert told["tokenizer"] and run.tokenizer.size == len(pieces) + 3
    assert run.tokenizer.token(len(pieces) + 2) == f"[unused-{len(pieces) + 2}]"
    theirs = transformers.BertTokenizer(str(tmp_path / "theirs" / "vocab.txt"))
    for text in ("The CAFÉS, undone 日日", "[MASK", "the zebra"):
        assert [2, *run.tokenizer.encode(text), 3] == theirs(text)["input_ids"]
    assert run.tokenizer.encode("[MASK]") != [4]  # text is never taken for a special token
    assert (run.tokenizer.specials.mask, run.tokenizer.specials.boundary) == (4, 3)


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("odd", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "", "the"])
@pytest.mark.filterwarnings("ignore")
def test_word_pieces_keep_their_rows(odd: str, ends: str, transformers: ModuleType, tmp_path: Path) -> None:
    """Lines of vocab.txt end in a newline and in nothing else that Unicode has, whatever a row is worth."""
    pieces = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "the",
        "cat",
        odd,
        "sat",
        "mat",
        "dog",
        "##s",
        "on",
        ".",
        "a",
    ]
    checkpoint(transformers, tmp_path / "theirs", ("BertConfig", "BertForMaskedLM", {**BERT_SIZES, "vocab_size": 24}))
    (tmp_path / "theirs" / "vocab.txt").write_bytes("".join(piece + ends for piece in pieces).encode())
    run, _ = imported(tmp_path / "theirs", tmp_path / "run")
    the = 7 if odd == "the" else 5  # of two the last, as there
    assert run.tokenizer.encode("the dogs sat on a mat .") == [the, 10, 11, 8, 12, 14, 9, 13]


@pytest.mark.parametrize("kind", ["xlm-roberta", "camembert"])
@pytest.mark.filterwarnings("ignore")
def test_sentence_pieces_are_read_as_there(kind: str, transformers: ModuleType, tmp_path: Path) -> None:
    """Their tokenizers are unigram models whose blanks are part of the pieces."""
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁the", "▁c", "a", "t", "▁", "s", "é", "<mask>"]
    name = "XLMRobertaTokenizer" if kind == "xlm-roberta" else "CamembertTokenizer"
    tokenizer = getattr(transformers, name)(vocab=[(piece, -float(i)) for i, piece in enumerate(pieces)])
    config, model, sizes = MINI[kind]
    checkpoint(transformers, tmp_path / "theirs", (config, model, sizes))
    tokenizer.save_pretrained(tmp_path / "theirs")
    run, told = imported(tmp_path / "theirs", tmp_path / "run")
    assert told["model_type"] == kind and told["tokenizer"]
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "theirs")
    for text in ("the cats", "the  caté", "zebra"):
        assert [run.tokenizer.specials.begin, *run.tokenizer.encode(text), run.tokenizer.specials.separator] == (
            theirs(text)["input_ids"]
        )
    export_run(run, tmp_path / "back", "hf")
    assert type(transformers.AutoConfig.from_pretrained(tmp_path / "back")).__name__ == config
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "back")("the cats") == theirs("the cats")


GENERIC = "PreTrainedTokenizerFast"
LETTERS = sorted("abcdefghijklmnopqrstuvwxyz.,Ġ")
SLOW: dict[str, tuple[str, list[str], dict[str, Any]]] = {
    "prefix space": ("roberta", LETTERS, {"tokenizer_config.json": {"add_prefix_space": True}}),
    "no prefix space": ("roberta", LETTERS, {"tokenizer_config.json": {"add_prefix_space": False}}),
    "added to pairs": ("roberta", LETTERS, {"added_tokens.json": {"covid19": 36, "<ent>": 37}}),
    "added and special": (
        "roberta",
        LETTERS,
        {
            "added_tokens.json": {"covid19": 36, "<ent>": 37},
            "special_tokens_map.json": {"additional_special_tokens": ["<ent>"], "mask_token": {"content": "<mask>"}},
        },
    ),
    "added with its blanks": (
        "roberta",
        LETTERS,
        {
            "tokenizer_config.json": {
                "added_tokens_decoder": {"36": {"content": "covid19", "lstrip": True, "single_word": True}}
            }
        },
    ),
    "added to pieces": ("bert", ["the", "cafe", "##s", ","], {"added_tokens.json": {"covid19": 9, "[x]": 10}}),
    "capitals added": (
        "bert",
        ["the", "cafe", "##s", ","],
        {"added_tokens.json": {"Covid19": 9}, "tokenizer_config.json": {"do_lower_case": False}},
    ),
}


@pytest.mark.parametrize("name", SLOW)
@pytest.mark.filterwarnings("ignore")
def test_older_files_of_tokenizers_are_read_whole(name: str, transformers: ModuleType, tmp_path: Path) -> None:
    kind, own, files = SLOW[name]
    config, model, sizes = MINI[kind]
    checkpoint(transformers, tmp_path / "theirs", (config, model, {**sizes, "vocab_size": 40}))
    if kind == "bert":
        pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *own]
        (tmp_path / "theirs" / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces))
    else:
        words = ["<s>", "<pad>", "</s>", "<unk>", *own, "th", "the", "<mask>"]
        (tmp_path / "theirs" / "vocab.json").write_text(json.dumps({word: token for token, word in enumerate(words)}))
        (tmp_path / "theirs" / "merges.txt").write_text("#version: 0.2\nt h\nth e\n")
    for file, content in files.items():
        (tmp_path / "theirs" / file).write_text(json.dumps(content))
    run, _ = imported(tmp_path / "theirs", tmp_path / "run")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "theirs")
    for text in ("the covid19, the", "covid19the", " Covid19 <ent> the", "the [x]the other", "the", ""):
        assert run.tokenizer.encode(text) == theirs(text, add_special_tokens=False)["input_ids"], text


def described(content: str, **flags: bool) -> dict[str, Any]:
    """Token 43 as tokenizer_config.json has it."""
    return {"added_tokens_decoder": {"43": {"content": content, "normalized": True, **flags}}}


BESIDE: dict[str, tuple[str, dict[str, Any]]] = {
    "nothing": ("bert", {}),
    "capitals": ("bert", {"tokenizer_config.json": {"do_lower_case": False}}),
    "accents": ("bert", {"tokenizer_config.json": {"strip_accents": False, "tokenize_chinese_chars": False}}),
    "a class": ("bert", {"tokenizer_config.json": {"tokenizer_class": "BertTokenizer", "do_lower_case": False}}),
    "any class": ("bert", {"tokenizer_config.json": {"tokenizer_class": GENERIC, "do_lower_case": False}}),
    "prefix space": ("gpt2", {"tokenizer_config.json": {"add_prefix_space": True}}),
    "prefix space of any class": (
        "gpt2",
        {"tokenizer_config.json": {"tokenizer_class": GENERIC, "add_prefix_space": True}},
    ),
    "added": ("bert", {"added_tokens.json": {"covid19": 43, "<ent>": 44}}),
    "added of any class": (
        "bert",
        {"added_tokens.json": {"covid19": 43}, "tokenizer_config.json": {"tokenizer_class": GENERIC}},
    ),
    "described": ("bert", {"tokenizer_config.json": described("covid19", single_word=True)}),
    "described of any class": (
        "bert",
        {"tokenizer_config.json": {"tokenizer_class": GENERIC, **described("covid19", rstrip=True)}},
    ),
}


@pytest.mark.parametrize("name", BESIDE)
@pytest.mark.filterwarnings("ignore")
def test_what_stands_beside_a_tokenizer_counts_as_there(name: str, transformers: ModuleType, tmp_path: Path) -> None:
    kind, files = BESIDE[name]
    config, model, sizes = MINI[kind]
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "The", "cafe", "café", "##s", "日", "日本", "co"]
    names += [f"##{letter}" for letter in "abcdefghijklmnopqrtuvwxyz01349"]
    if kind == "bert":
        library = tokenizers.Tokenizer(tokenizers.models.WordPiece({x: i for i, x in enumerate(names)}))
        library.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
        library.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
        library.add_special_tokens(names[:5])
    else:
        alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
        vocabulary = {letter: i for i, letter in enumerate([*alphabet, "<|endoftext|>", "Ġt"])}
        library = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, [("Ġ", "t")]))
        library.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        library.decoder = tokenizers.decoders.ByteLevel()
        library.add_special_tokens(["<|endoftext|>"])
    checkpoint(transformers, tmp_path / "theirs", (config, model, {**sizes, "vocab_size": 260}))
    library.save(str(tmp_path / "theirs" / "tokenizer.json"))
    for file, content in files.items():
        (tmp_path / "theirs" / file).write_text(json.dumps(content))
    run, _ = imported(tmp_path / "theirs", tmp_path / "run")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "theirs")
    for text in ("the cafés 日本", "The covid19, the", "the covid19  the", "tcovid19t <ent> t", ""):
        assert run.tokenizer.encode(text) == theirs(text, add_special_tokens=False)["input_ids"], text


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("kind", "name"), [("gpt2", "GPT2Tokenizer"), ("openai-gpt", "OpenAIGPTTokenizer")])
def test_byte_pairs_from_their_merges(kind: str, name: str, transformers: ModuleType, tmp_path: Path) -> None:
    merges = [("t", "h"), ("th", "e"), ("Ġ", "the")] if kind == "gpt2" else [("t", "h"), ("th", "e</w>")]
    alphabet = sorted({*"abcdefghijklmnopqrstuvwxyz.,Ġ", *(f"{c}</w>" for c in "abcdefghijklmnopqrstuvwxyz.,")})
    words = ["<|endoftext|>" if kind == "gpt2" else "<unk>", *alphabet, *("".join(pair) for pair in merges)]
    vocabulary = {word: token for token, word in enumerate(words)}
    config, model, sizes = MINI[kind]
    checkpoint(transformers, tmp_path / "theirs", (config, model, {**sizes, "vocab_size": len(words)}))
    (tmp_path / "theirs" / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "theirs" / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    run, _ = imported(tmp_path / "theirs", tmp_path / "run")
    theirs = getattr(transformers, name)(vocab=vocabulary, merges=merges)
    for text in ("the other, the.", "the the"):
        assert run.tokenizer.encode(text) == theirs(text)["input_ids"]
    assert run.tokenizer.boundary == 0


@pytest.mark.filterwarnings("ignore")
def test_a_tokenizer_of_another_model_is_told(transformers: ModuleType, tmp_path: Path, corpus: dict[str, str]) -> None:
    run = trained(tmp_path / "other", {"kind": "bpe", "size": 300}, corpus, masked=False)
    checkpoint(transformers, tmp_path / "theirs", MINI["gpt2"])
    with pytest.raises(ConfigError, match=r"its tokenizer has \d+ tokens, the weights rows for only 60"):
        imported(tmp_path / "theirs", tmp_path / "run", tokenizer=run.run.tokenizer_file)


@pytest.mark.filterwarnings("ignore")
def test_without_a_tokenizer_a_run_reads_numbers(
    transformers: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = checkpoint(transformers, tmp_path / "theirs", MINI["gpt2"])
    run, told = imported(tmp_path / "theirs", tmp_path / "run")
    assert not told["tokenizer"] and "warning: no tokenizer: the run reads ids" in capsys.readouterr().err
    assert run.tokenizer.encode("17 4 59") == [17, 4, 59]
    assert run.tokenizer.boundary == 5  # as config.json says
    tokens = torch.tensor([[5, 17, 4, 59]])
    expected = theirs(input_ids=tokens).logits.log_softmax(-1)[0]
    assert run.score(["17 4"])[0].logp == pytest.approx(float(expected[0, 17] + expected[1, 4]), abs=1e-4)
    written = run.generate("17 4", tokens=3, temperature=0)
    with torch.no_grad():
        greedy = theirs.generate(tokens[:, :3], max_new_tokens=3, do_sample=False, eos_token_id=None, pad_token_id=0)
    assert run.tokenizer.encode(written) == greedy[0, 3:].tolist()
    export_run(run, tmp_path / "back", "hf")
    assert not (tmp_path / "back" / "tokenizer.json").exists()


@pytest.mark.parametrize("stated", [{}, {"tokenizer_class": "BertTokenizer"}, {"tokenizer_class": "BertTokenizerFast"}])
@pytest.mark.filterwarnings("ignore")
def test_defaults_of_a_class_replace_settings_of_tokenizer_json(
    stated: dict[str, str], transformers: ModuleType, tmp_path: Path
) -> None:
    """As in transformers, where BertTokenizer lowercases unless do_lower_case says otherwise."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "The", "cafe", "caf\u00e9"]
    checkpoint(transformers, tmp_path / "theirs", ("BertConfig", "BertForMaskedLM", {**BERT_SIZES, "vocab_size": 9}))
    transformers.BertTokenizer({piece: token for token, piece in enumerate(pieces)}).save_pretrained(
        tmp_path / "theirs"
    )
    file = tmp_path / "theirs" / "tokenizer.json"
    described = json.loads(file.read_text())
    described["normalizer"] |= {"lowercase": False, "strip_accents": False}
    file.write_text(json.dumps(described))
    (tmp_path / "theirs" / "tokenizer_config.json").write_text(json.dumps(stated))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "theirs")
    run, _ = imported(tmp_path / "theirs", tmp_path / "run")
    for text in ("The the", "Caf\u00e9 cafe"):
        assert run.tokenizer.encode(text) == theirs(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize(("kind", "named"), [("bert", "BertJapaneseTokenizer"), ("roberta", "BlenderbotTokenizer")])
def test_a_class_that_reads_its_vocabulary_in_another_way_is_refused(
    kind: str, named: str, transformers: ModuleType, tmp_path: Path
) -> None:
    checkpoint(transformers, tmp_path / "theirs", MINI[kind])
    (tmp_path / "theirs" / "vocab.txt").write_text("[PAD]\n[UNK]\nthe\n")
    if kind == "roberta":
        (tmp_path / "theirs" / "vocab.txt").unlink()
        (tmp_path / "theirs" / "vocab.json").write_text('{"<s>": 0}')
        (tmp_path / "theirs" / "merges.txt").write_text("#version: 0.2\n")
    (tmp_path / "theirs" / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": named}))
    with pytest.raises(ConfigError, match=rf"tokenizer_config\.json: tokenizer_class '{named}' is not supported"):
        imported(tmp_path / "theirs", tmp_path / "run")
    assert not (tmp_path / "run").exists()
