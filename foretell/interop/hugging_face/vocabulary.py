"""The tokenizer of a checkpoint folder: read from any of its three formats, written as tokenizer.json.

A folder without one makes a run that reads numbers: tokens are spelled by their ids, with blanks between them, as in
`17 4 99`. All commands work on such text; their figures per byte refer to the numbers.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors

from foretell.artifacts import write_atomic, write_json
from foretell.data.tokenizers.file_kinds import UNKNOWN, flattened
from foretell.data.tokenizers.foreign import check_ids, ids_of
from foretell.data.tokenizers.tokenizer import ROLES, Tokenizer, load_tokenizer, wrap
from foretell.errors import ConfigError
from foretell.interop.hugging_face.folder import has, read_settings
from foretell.strict_json import LARGEST, JsonObject, read_object, shown

CONVENTIONAL = {name for names in ROLES.values() for name in names} | {"<|endoftext|>"}
"""spellings of tokens that are special even if not marked as such"""
GENERIC = ("PreTrainedTokenizerFast", "TokenizersBackend")
"""transformers' classes that use tokenizer.json unchanged"""
WORD_PIECES = {"BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MobileBertTokenizer", "RetriBertTokenizer"}
"""transformers' classes of BERT's word pieces, without the suffix Fast"""
BYTE_PAIRS = {"BartTokenizer", "GPT2Tokenizer", "LongformerTokenizer", "OpenAIGPTTokenizer", "RobertaTokenizer"}
"""transformers' classes that read vocab.json and merges.txt, without the suffix Fast"""
LLAMAS = {"CodeLlamaTokenizer", "GemmaTokenizer", "LlamaTokenizer"}
"""transformers' classes that put a token before every text, unless `add_bos_token` is false; without the suffix Fast"""
USUAL = {"bert": "BertTokenizer", "electra": "ElectraTokenizer", "megatron-bert": "BertTokenizer"}
"""default WordPiece classes by model_type"""
NORMALIZING = {
    "do_lower_case": ("lowercase", True),
    "strip_accents": ("strip_accents", None),
    "tokenize_chinese_chars": ("handle_chinese_chars", True),
}
"""settings of tokenizer_config.json: their names in tokenizer.json, and the defaults of WordPiece classes"""
END = "</s>"
"""how the boundary is spelled among numbers"""


# --- reading --------------------------------------------------------------------------------------


def read_tokenizer(folder: Path, theirs: Mapping[str, Any], vocabulary: int) -> Tokenizer | None:
    """The folder's tokenizer, padded to the model's vocabulary; None if it has none."""
    if has(folder, "tokenizer.json"):
        library = load_tokenizer(folder / "tokenizer.json").library
        found = with_added(as_configured(library, folder, theirs["model_type"]), folder)
    elif has(folder, "vocab.txt"):
        found = word_pieces(folder)
    elif has(folder, "vocab.json") and has(folder, "merges.txt"):
        found = byte_pairs(folder, lowered=theirs["model_type"] == "openai-gpt")
    else:
        return None
    return filled(found, vocabulary, folder)


def filled(library: tokenizers.Tokenizer, vocabulary: int, source: Path) -> Tokenizer:
    """The tokenizer padded to a vocabulary size: models often round it up."""
    size = library.get_vocab_size(with_added_tokens=True)
    if size > vocabulary:
        what = f"its tokenizer has {size:,} tokens, the weights rows for only {vocabulary:,}"
        raise ConfigError(what, file=source, remedy="give the tokenizer used in training: --tokenizer FILE")
    fillers = [filler(token) for token in range(size, vocabulary)]
    library.add_special_tokens(fillers)  # which no text becomes
    if fillers and library.token_to_id(fillers[-1]) != vocabulary - 1:
        what = f"the ids of its tokenizer have gaps, so it is none for {vocabulary:,} rows"
        raise ConfigError(what, file=source)
    try:
        return wrap(library)
    except ConfigError as problem:
        raise ConfigError(f"its tokenizer {problem}", file=source) from None


def filler(token: int) -> str:
    """The spelling of a padding token, which no text encodes to."""
    return f"[unused-{token}]"


def class_named(settings: JsonObject, usual: str = "") -> str:
    """The tokenizer class that tokenizer_config.json names, without the suffix Fast."""
    found = settings.get("tokenizer_class")
    return found.removesuffix("Fast") if isinstance(found, str) else usual


def check_class(settings: JsonObject, known: set[str]) -> None:
    """Raise `ConfigError` if the named class is not supported."""
    if (named := class_named(settings)) and named not in known:
        raise ConfigError(
            f"tokenizer_class {shown(settings['tokenizer_class'])} is not supported without a tokenizer.json",
            file=settings.file,
            remedy="save it as tokenizer.json, or import with --tokenizer FILE",
        )


def as_configured(library: tokenizers.Tokenizer, folder: Path, kind: str) -> tokenizers.Tokenizer:
    """The tokenizer with the settings by which transformers' classes override tokenizer.json: those of
    tokenizer_config.json, and for WordPiece the defaults of the class."""
    settings = read_settings(folder, "tokenizer_config.json")
    if settings.get("tokenizer_class") in GENERIC:
        return library
    if class_named(settings) in LLAMAS:
        named = special_names(folder).get("bos_token", "<s>") if settings.flag("add_bos_token", True) else None
        begin_with(library, None if named is None else library.token_to_id(named))
    description = json.loads(library.to_str())
    normalizer = description["normalizer"] or {}
    if normalizer.get("type") == "BertNormalizer":
        by_class = class_named(settings, USUAL.get(kind, "")) in WORD_PIECES
        for stated, (name, usual) in NORMALIZING.items():
            if settings.get(stated) is not None:
                normalizer[name] = settings.flag(stated)
            elif by_class:
                normalizer[name] = usual
    for step in flattened(description["pre_tokenizer"], "pretokenizers"):
        if step["type"] == "ByteLevel":
            step["add_prefix_space"] = settings.flag("add_prefix_space", step["add_prefix_space"])
    return tokenizers.Tokenizer.from_str(json.dumps(description))


# --- the older files ------------------------------------------------------------------------------


def word_pieces(folder: Path) -> tokenizers.Tokenizer:
    """BERT's WordPiece from vocab.txt, which has one token per line."""
    settings = read_settings(folder, "tokenizer_config.json")
    check_class(settings, WORD_PIECES)
    named = {"unk_token": "[UNK]"} | special_names(folder)
    pieces = [line.removesuffix("\r") for line in text_in(folder, "vocab.txt").removesuffix("\n").split("\n")]
    places = {piece: token for token, piece in enumerate(pieces)}  # of a piece that is there twice the last, as there
    places.pop("", None)
    for token in {*range(len(pieces))} - {*places.values()}:
        places[filler(token)] = token
    if named["unk_token"] not in places:
        raise ConfigError(f"lacks the unknown token {shown(named['unk_token'])}", file=folder / "vocab.txt")
    library = tokenizers.Tokenizer(models.WordPiece(places, unk_token=named["unk_token"]))
    library.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=settings.flag("tokenize_chinese_chars", True),
        strip_accents=None if settings.get("strip_accents") is None else settings.flag("strip_accents"),
        lowercase=settings.flag("do_lower_case", True),
    )
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    library.decoder = decoders.WordPiece(prefix="##")
    return with_added(with_specials(library, named), folder)


def byte_pairs(folder: Path, *, lowered: bool) -> tokenizers.Tokenizer:
    """The byte-level BPE of GPT-2 and RoBERTa, or with `lowered` GPT's BPE of lowercased words."""
    settings = read_settings(folder, "tokenizer_config.json")
    check_class(settings, BYTE_PAIRS)
    named = ({"unk_token": UNKNOWN} if lowered else {}) | special_names(folder)
    vocabulary = ids_of(read_object(folder / "vocab.json"))
    check_ids(vocabulary, folder / "vocab.json")
    ending = {"unk_token": named["unk_token"], "end_of_word_suffix": "</w>"} if lowered else {}
    merges = merges_in(folder)
    try:
        library = tokenizers.Tokenizer(models.BPE(vocabulary, merges, **ending))
    except Exception as problem:  # the library raises nothing more specific
        raise ConfigError(f"does not fit vocab.json: {shown(str(problem))}", file=folder / "merges.txt") from None
    if lowered:
        library.normalizer = normalizers.BertNormalizer(lowercase=True)
        library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        library.decoder = decoders.BPEDecoder(suffix="</w>")
    else:
        library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=settings.flag("add_prefix_space", False))
        library.decoder = decoders.ByteLevel()
    return with_added(with_specials(library, named), folder)


def text_in(folder: Path, name: str) -> str:
    """The text of a vocabulary file."""
    file = folder / name
    if file.stat().st_size > LARGEST:
        raise ConfigError(f"larger than {LARGEST:,} bytes, too large for a vocabulary file", file=file)
    content = file.read_bytes().removeprefix(codecs.BOM_UTF8)
    try:
        return content.decode()
    except UnicodeDecodeError as problem:
        line = content.count(b"\n", 0, problem.start) + 1
        raise ConfigError("not UTF-8", file=file, line=line, remedy="convert it to UTF-8") from None


def merges_in(folder: Path) -> list[tuple[str, str]]:
    """The pairs of merges.txt, one per line, separated by a blank."""
    found = []
    for number, line in enumerate(text_in(folder, "merges.txt").split("\n"), 1):
        pair = line.removesuffix("\r").split(" ")
        if pair == [""] or line.startswith("#version"):
            continue
        if len(pair) != 2:
            raise ConfigError(f"{shown(line)} is not a pair of tokens", file=folder / "merges.txt", line=number)
        found.append((pair[0], pair[1]))
    return found


def special_names(folder: Path) -> dict[str, str]:
    """Special tokens by role, such as `cls_token`, from the files next to a vocabulary."""
    found: dict[str, str] = {}
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        for role, token in read_settings(folder, file).items():
            name = token.get("content") if isinstance(token, Mapping) else token
            if role.endswith("_token") and isinstance(name, str) and name:
                found[role] = name
    return found


def with_added(library: tokenizers.Tokenizer, folder: Path) -> tokenizers.Tokenizer:
    """The tokenizer with added tokens, each at its given id."""
    plain = read_settings(folder, "added_tokens.json")
    added = {plain.integer(content, least=0): AddedToken(content, normalized=True) for content in plain}
    described = read_settings(folder, "tokenizer_config.json").inner("added_tokens_decoder", {})
    for number in described:
        entry = described.inner(number)
        how = {key: entry.flag(key, False) for key in ("lstrip", "rstrip", "single_word", "special")}
        how["normalized"] = entry.flag("normalized", not how["special"])
        if not number.isascii() or not number.isdigit():
            raise ConfigError(f"'added_tokens_decoder' has {shown(number)} for an id", file=described.file)
        added[int(number[:18])] = AddedToken(entry.text("content"), **how)
    for token in sorted(added):
        content = added[token].content
        if library.token_to_id(content) is None or str(token) in described:
            (library.add_special_tokens if added[token].special else library.add_tokens)([added[token]])
        if (its := library.token_to_id(content)) != token:
            told = f"the added token {shown(content)} has the id {token}, but "
            told += f"{library.get_vocab_size():,} are free" if its is None else f"its place is {its}"
            raise ConfigError(told, file=folder, remedy="give added tokens the ids after the vocabulary, without gaps")
    return library


def with_specials(library: tokenizers.Tokenizer, named: Mapping[str, str]) -> tokenizers.Tokenizer:
    """Mark named and conventional special tokens that the vocabulary has."""
    names = sorted(CONVENTIONAL | set(named.values()), key=lambda name: library.token_to_id(name) or 0)
    known = [name for name in names if library.token_to_id(name) is not None]
    library.add_special_tokens([AddedToken(name, lstrip=name == "<mask>", normalized=False) for name in known])
    frame(library)
    return library


def begin_with(library: tokenizers.Tokenizer, token: int | None) -> None:
    """Put a token before every text; None: no token."""
    library.post_processor = None
    if token is not None:
        name = library.id_to_token(token)
        library.add_special_tokens([name])
        library.post_processor = processors.TemplateProcessing(
            single=f"{name}:0 $A:0", pair=f"{name}:0 $A:0 {name}:1 $B:1", special_tokens=[(name, token)]
        )


def frame(library: tokenizers.Tokenizer) -> None:
    """Put [CLS] … [SEP] or <s> … </s> around texts as transformers does, unless the tokenizer defines its own frame."""
    specials = wrap(library).specials
    if library.post_processor is not None or specials.begin is None or specials.separator is None:
        return
    begin, end = (library.id_to_token(token) for token in (specials.begin, specials.separator))
    middle = [end, end] if begin == "<s>" else [f"{end}:0"]  # RoBERTa separates two texts by two
    second = "0" if begin == "<s>" else "1"
    library.post_processor = processors.TemplateProcessing(
        single=f"{begin}:0 $A:0 {end}:0",
        pair=" ".join([f"{begin}:0", "$A:0", *middle, f"$B:{second}", f"{end}:{second}"]),
        special_tokens=[(begin, specials.begin), (end, specials.separator)],
    )


# --- without a tokenizer --------------------------------------------------------------------------


def numbers(vocabulary: int, theirs: Mapping[str, Any]) -> Tokenizer:
    """The vocabulary of a run without a tokenizer: each token is spelled by its id, the boundary as `</s>`."""
    ends = [theirs.get(key) for key in ("eos_token_id", "sep_token_id", "bos_token_id", "pad_token_id")]
    ends = [end[0] if isinstance(end, list) and end else end for end in ends]
    boundary = next((end for end in ends if type(end) is int and 0 <= end < vocabulary), 0)
    spelled = {END if token == boundary else str(token): token for token in range(vocabulary)}
    library = tokenizers.Tokenizer(models.WordLevel(spelled, unk_token=END))
    library.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    library.add_special_tokens([END])
    begin = theirs.get("bos_token_id")
    if type(begin) is int and 0 <= begin < vocabulary and begin != boundary:
        begin_with(library, begin)
    return wrap(library)


def is_numbers(tokenizer: Tokenizer) -> bool:
    """Whether the tokenizer was made by `numbers`."""
    spelled = tokenizer.spellings
    return tokenizer.kind == "file" and all(
        name == str(token) or (name == END and token == tokenizer.boundary) for name, token in spelled.items()
    )


# --- writing --------------------------------------------------------------------------------------


def write_tokenizer(folder: Path, tokenizer: Tokenizer, *, context: int, segments: bool, causal: bool) -> None:
    """Write tokenizer.json and the two other files that transformers reads; a `causal` model frames texts only as its
    tokenizer does."""
    library = tokenizers.Tokenizer.from_str(tokenizer.library.to_str())
    if not causal:
        frame(library)
    write_atomic(folder / "tokenizer.json", library.to_str(pretty=True).encode())
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
    """Spellings of special tokens by transformers' roles, if the vocabulary has them."""
    return {f"{role}_token": str(tokenizer.library.id_to_token(token)) for role, token in roles(tokenizer).items()}


def roles(tokenizer: Tokenizer) -> dict[str, int]:
    """The ids of special tokens by transformers' roles; without edge tokens, the boundary is used for both ends."""
    specials = tokenizer.specials
    begins = (specials.start, specials.begin, specials.boundary)
    begin = next(token for token in begins if token is not None)
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
