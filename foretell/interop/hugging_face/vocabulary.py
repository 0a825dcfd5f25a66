"""The tokenizer of a checkpoint folder: read from any of the three ways it is kept in, written as tokenizer.json.

A folder without one makes a run that reads numbers: tokens are spelled by their ids, with blanks between them, as in
`17 4 99`. All verbs work on such text, and what they say of bytes is of these numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors

from foretell.artifacts import write_json
from foretell.data.encoding import ROLES, UNKNOWN, Tokenizer, load_tokenizer, wrap
from foretell.errors import ConfigError
from foretell.interop.hugging_face.correspondence import Theirs
from foretell.interop.hugging_face.folder import read_json

CONVENTIONAL = {name for names in ROLES.values() for name in names} | {"<|endoftext|>"}
"""how special tokens are spelled that are special without being called so"""
END = "</s>"
"""how the boundary is spelled among numbers"""


# --- reading --------------------------------------------------------------------------------------


def read_tokenizer(folder: Path, theirs: Theirs, vocabulary: int) -> Tokenizer | None:
    """The folder's tokenizer with a token for each of the model's; None where it has none."""
    if (folder / "tokenizer.json").is_file():
        found = load_tokenizer(folder / "tokenizer.json").library
    elif (folder / "vocab.txt").is_file():
        found = word_pieces(folder)
    elif (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        found = byte_pairs(folder, lowered=theirs["model_type"] == "openai-gpt")
    else:
        return None
    return filled(found, vocabulary, folder)


def filled(library: tokenizers.Tokenizer, vocabulary: int, source: Path) -> Tokenizer:
    """The tokenizer with fillers up to a vocabulary: models often have more rows than tokens, for even sizes."""
    size = library.get_vocab_size(with_added_tokens=True)
    if size > vocabulary:
        raise ConfigError(
            f"{source}: its tokenizer has {size:,} tokens, the weights rows for only {vocabulary:,}; "
            "name the tokenizer they were trained with: --tokenizer FILE"
        )
    fillers = [f"[unused-{token}]" for token in range(size, vocabulary)]
    library.add_special_tokens(fillers)  # which no text becomes
    if fillers and library.token_to_id(fillers[-1]) != vocabulary - 1:
        raise ConfigError(f"{source}: the ids of its tokenizer have gaps, so it is none for {vocabulary:,} rows")
    return wrap(library)


def special_names(folder: Path) -> dict[str, str]:
    """Special tokens by role, as `cls_token`, from the files beside a vocabulary."""
    found: dict[str, str] = {}
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        for role, token in (read_json(folder / file) if (folder / file).is_file() else {}).items():
            name = token.get("content") if isinstance(token, Mapping) else token
            if role.endswith("_token") and isinstance(name, str):
                found[role] = name
    return found


def word_pieces(folder: Path) -> tokenizers.Tokenizer:
    """BERT's: vocab.txt, a piece a line."""
    settings = read_json(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").is_file() else {}
    pieces = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    named = {"unk_token": "[UNK]"} | special_names(folder)
    vocabulary = {piece: token for token, piece in enumerate(pieces)}
    library = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token=named["unk_token"]))
    library.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=settings.get("tokenize_chinese_chars", True),
        strip_accents=settings.get("strip_accents"),
        lowercase=settings.get("do_lower_case", True),
    )
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    library.decoder = decoders.WordPiece(prefix="##")
    return with_specials(library, named)


def byte_pairs(folder: Path, *, lowered: bool) -> tokenizers.Tokenizer:
    """GPT-2's and RoBERTa's, over bytes, or `lowered` that of GPT, over words in small letters."""
    files = str(folder / "vocab.json"), str(folder / "merges.txt")
    named = special_names(folder)
    if lowered:
        named = {"unk_token": UNKNOWN} | named
        model = models.BPE.from_file(*files, unk_token=named["unk_token"], end_of_word_suffix="</w>")
        library = tokenizers.Tokenizer(model)
        library.normalizer = normalizers.BertNormalizer(lowercase=True)
        library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        library.decoder = decoders.BPEDecoder(suffix="</w>")
    else:
        library = tokenizers.Tokenizer(models.BPE.from_file(*files))
        library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        library.decoder = decoders.ByteLevel()
    return with_specials(library, named)


def with_specials(library: tokenizers.Tokenizer, named: Mapping[str, str]) -> tokenizers.Tokenizer:
    """The tokens of these names, and those that go by convention, made special where the vocabulary has them."""
    names = sorted(CONVENTIONAL | set(named.values()), key=lambda name: library.token_to_id(name) or 0)
    known = [name for name in names if library.token_to_id(name) is not None]
    library.add_special_tokens([AddedToken(name, lstrip=name == "<mask>", normalized=False) for name in known])
    frame(library)
    return library


def frame(library: tokenizers.Tokenizer) -> None:
    """What transformers puts around a text: [CLS] … [SEP], or <s> … </s>, where nothing is said yet."""
    specials = wrap(library).specials
    if library.post_processor is not None or specials.begin is None or specials.separator is None:
        return
    begin, end = (library.id_to_token(token) for token in (specials.begin, specials.separator))
    middle = [end, end] if begin == "<s>" else [f"{end}:0"]  # RoBERTa parts two texts by two
    second = "0" if begin == "<s>" else "1"
    library.post_processor = processors.TemplateProcessing(
        single=f"{begin}:0 $A:0 {end}:0",
        pair=" ".join([f"{begin}:0", "$A:0", *middle, f"$B:{second}", f"{end}:{second}"]),
        special_tokens=[(begin, specials.begin), (end, specials.separator)],
    )


# --- without a tokenizer --------------------------------------------------------------------------


def numbers(vocabulary: int, theirs: Theirs) -> Tokenizer:
    """The vocabulary of a run without a tokenizer: each token is spelled by its id, the boundary as `</s>`."""
    ends = [theirs.get(key) for key in ("eos_token_id", "sep_token_id", "bos_token_id", "pad_token_id")]
    ends = [end[0] if isinstance(end, list) else end for end in ends]
    boundary = next((end for end in ends if isinstance(end, int) and 0 <= end < vocabulary), 0)
    spelled = {END if token == boundary else str(token): token for token in range(vocabulary)}
    library = tokenizers.Tokenizer(models.WordLevel(spelled, unk_token=END))
    library.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    library.add_special_tokens([END])
    return wrap(library)


def is_numbers(tokenizer: Tokenizer) -> bool:
    """Whether it stands in for one that is not there."""
    spelled = tokenizer.spellings
    return tokenizer.kind == "file" and all(
        name == str(token) or (name == END and token == tokenizer.boundary) for name, token in spelled.items()
    )


# --- writing --------------------------------------------------------------------------------------


def write_tokenizer(folder: Path, tokenizer: Tokenizer, *, context: int, segments: bool) -> None:
    """tokenizer.json and the two files that transformers reads beside it."""
    library = tokenizers.Tokenizer.from_str(tokenizer.library.to_str())
    frame(library)
    (folder / "tokenizer.json").write_text(library.to_str(pretty=True), encoding="utf-8")
    named = spelled_specials(tokenizer)
    inputs = ["input_ids", *["token_type_ids"] * segments, "attention_mask"]
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": context,
        "model_input_names": inputs,
        "clean_up_tokenization_spaces": False,
    }
    write_json(folder / "tokenizer_config.json", settings | named)
    write_json(folder / "special_tokens_map.json", named)


def spelled_specials(tokenizer: Tokenizer) -> dict[str, str]:
    """How transformers' roles of special tokens are spelled, as far as the vocabulary has them."""
    return {f"{role}_token": str(tokenizer.library.id_to_token(token)) for role, token in roles(tokenizer).items()}


def roles(tokenizer: Tokenizer) -> dict[str, int]:
    """The ids of special tokens by transformers' roles; what has no edges of rows begins and ends with the boundary."""
    specials = tokenizer.specials
    begin = specials.boundary if specials.begin is None else specials.begin
    end = specials.boundary if specials.separator is None else specials.separator
    found = {
        "bos": begin,
        "eos": end,
        "unk": specials.unknown,
        "sep": specials.separator,
        "pad": specials.padding,
        "cls": specials.begin,
        "mask": specials.mask,
    }
    return {role: token for role, token in found.items() if token is not None}
