"""The descriptions that each kind of tokenizer writes, and the kind of a file.

A file is of one of our kinds only if its description is what our config writes: every rule is equal, and the ids are
those that the class of the kind assumes. All other files are left to the `tokenizers` library.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers

from foretell.data.text_files import BOUNDARY
from foretell.data.tokenizers.spelling import byte_alphabet

UNKNOWN = "<unk>"
END_OF_LINE = "<eos>"
RULES = ("normalizer", "pre_tokenizer", "decoder")


# --- what our kinds write -------------------------------------------------------------------------


def byte_level(model: models.Model) -> tokenizers.Tokenizer:
    """A tokenizer on the bytes of words."""
    library = tokenizers.Tokenizer(model)
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    return library


def bytes_alone() -> tokenizers.Tokenizer:
    """A token for each byte, with ids after the boundary."""
    return byte_level(models.BPE(vocab=byte_vocabulary(), merges=[]))


def byte_vocabulary() -> dict[str, int]:
    """The ids of bytes: byte b has b + 1."""
    return {BOUNDARY: 0} | {character: byte + 1 for character, byte in byte_alphabet().items()}


def characters(vocabulary: dict[str, int]) -> tokenizers.Tokenizer:
    """A token for each character."""
    library = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    library.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex(r"[\s\S]"), "isolated")
    library.decoder = decoders.Fuse()
    return library


def whole_words(vocabulary: dict[str, int], *, padded: bool) -> tokenizers.Tokenizer:
    """Words between whitespace and a token for each newline; `padded`: blanks at the ends of lines, too."""
    library = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    library.normalizer = normalizers.Sequence(
        [  # the four separators below U+0020 are whitespace to Python but not to the library
            normalizers.Replace(tokenizers.Regex("[\x1c-\x1f]"), " "),
            normalizers.Replace(tokenizers.Regex(rf"(?<!\S){END_OF_LINE}(?!\S)"), UNKNOWN),
            normalizers.Replace("\n", f" {END_OF_LINE} "),
        ]
    )
    library.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if padded:
        ends = decoders.Replace(tokenizers.Regex(f"^ {END_OF_LINE}$"), " \n")
        library.decoder = decoders.Sequence([decoders.Replace(tokenizers.Regex("^"), " "), ends, decoders.Fuse()])
    return library


def word_pieces(vocabulary: dict[str, int], *, lowercase: bool) -> tokenizers.Tokenizer:
    """Pieces of words, those inside a word marked by `##`."""
    library = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token=UNKNOWN))
    if lowercase:
        library.normalizer = lowering()
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    library.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    return library


def unigrams(pieces: Sequence[tuple[str, float]], *, lowercase: bool, brackets: bool) -> tokenizers.Tokenizer:
    """Pieces and their log-probabilities, the boundary and the unknown first.

    `<` is a piece of its own, and `[` with `brackets`, so that no special token is found in the text.
    """
    library = tokenizers.Tokenizer(models.Unigram(list(pieces), unk_id=1))
    if lowercase:
        library.normalizer = lowering()
    bracket = r"\[" if brackets else ""
    apart = pre_tokenizers.Split(tokenizers.Regex(f"[\n<{bracket}]"), "isolated")
    library.pre_tokenizer = pre_tokenizers.Sequence([apart, pre_tokenizers.Metaspace(prepend_scheme="never")])
    library.decoder = decoders.Metaspace(prepend_scheme="never")
    return library


def lowering() -> normalizers.Normalizer:
    """Drops case and accents."""
    return normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase(), normalizers.StripAccents()])


# --- which kind a file is -------------------------------------------------------------------------


def kind_of(description: dict[str, Any]) -> str:
    """The kind of config that writes this description: `bpe` for any byte-level BPE, `file` for everything else."""
    kind = own_rules().get(rules_of(description))
    if kind is not None and has_ids_of(kind, description) and keeps_ids(description["post_processor"]):
        return kind
    return "bpe" if is_byte_level(description) else "file"


def rules_of(description: dict[str, Any]) -> str:
    """All of a description that decides how a text becomes tokens and tokens a text, but the vocabulary."""
    model = {key: value for key, value in description["model"].items() if key != "vocab"}
    return json.dumps([model, *(description[name] for name in RULES)], sort_keys=True)


@lru_cache(maxsize=1)
def own_rules() -> dict[str, str]:
    """The kinds by the rules that their configs write."""
    ids = {BOUNDARY: 0, UNKNOWN: 1}
    pieces = [(BOUNDARY, 0.0), (UNKNOWN, 0.0)]
    either = (False, True)
    written = [
        ("byte", bytes_alone()),
        ("character", characters(ids)),
        *(("word", whole_words(ids, padded=padded)) for padded in either),
        *(("wordpiece", word_pieces(ids, lowercase=lowercase)) for lowercase in either),
        *(("unigram", unigrams(pieces, lowercase=x, brackets=y)) for x in either for y in either),
    ]
    return {rules_of(json.loads(library.to_str())): kind for kind, library in written}


def has_ids_of(kind: str, description: dict[str, Any]) -> bool:
    """Whether the ids are those that a kind of ours assumes, and no text is taken for an added token."""
    stored = description["model"]["vocab"]
    ids: Mapping[str, int] = stored if isinstance(stored, dict) else {piece: i for i, (piece, _) in enumerate(stored)}
    added = description["added_tokens"]
    if not all(token["special"] for token in added):
        return False
    first = sorted(token["id"] for token in added if token["content"] in ids)
    if kind == "byte":
        return first == [0] and ids == byte_vocabulary()
    if kind == "word":
        return not first and UNKNOWN in ids and END_OF_LINE in ids
    if (ids.get(BOUNDARY), ids.get(UNKNOWN)) != (0, 1) or first[:2] != [0, 1] or first != list(range(len(first))):
        return False
    longer = {token for token in (*ids, *(token["content"] for token in added)) if len(token) != 1}
    return kind != "character" or longer == {BOUNDARY, UNKNOWN, *(token["content"] for token in added)}


def is_byte_level(description: dict[str, Any]) -> bool:
    """Whether tokens spell bytes, and there is one for each byte."""
    model = description["model"]
    return (
        model["type"] == "BPE"
        and (description["decoder"] or {}).get("type") == "ByteLevel"
        and description["normalizer"] is None
        and byte_alphabet().keys() <= model["vocab"].keys()
        and not (model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"))
        and '"add_prefix_space": true' not in json.dumps(description["pre_tokenizer"])
    )


def is_padded(description: dict[str, Any]) -> bool:
    """Whether a tokenizer of words puts blanks at the ends of lines too."""
    return description["decoder"] is not None


# --- whether all of a text is kept ----------------------------------------------------------------


def keeps_all(description: dict[str, Any], boundary: int) -> bool:
    """Whether a byte-level BPE is certain to keep every byte.

    Its pre-tokenizers remove nothing and the last of them writes bytes, no added token is looked for in the text, which
    could take the blanks around it along, and no merge makes a token that `decode` leaves out.
    """
    steps = flattened(description["pre_tokenizer"], "pretokenizers")
    kept = all(
        step["type"] in ("ByteLevel", "Digits", "UnicodeScripts")
        or (step["type"] in ("Split", "Punctuation") and step["behavior"] != "Removed")
        for step in steps
    )
    writes_bytes = [step["type"] for step in steps].count("ByteLevel") == 1 and steps[-1]["type"] == "ByteLevel"
    return (
        kept
        and writes_bytes
        and all(token["special"] for token in description["added_tokens"])
        and not merges_into({boundary, *(token["id"] for token in description["added_tokens"])}, description["model"])
        and keeps_ids(description["post_processor"])
    )


def merges_into(tokens: set[int], model: dict[str, Any]) -> bool:
    """Whether a byte-level BPE makes one of these tokens of a text."""
    vocabulary = model["vocab"]
    if model["ignore_merges"]:
        return not tokens.isdisjoint(vocabulary.values())
    ends = [*byte_alphabet(), *(left + right for left, right in model["merges"])]
    return any(vocabulary[end] in tokens for end in ends)


def keeps_ids(post_processor: dict[str, Any] | None) -> bool:
    """Whether a text's tokens stay as they are where no special tokens are asked for: a template may drop or repeat
    them."""
    return all(
        [piece["Sequence"]["id"] for piece in step["single"] if "Sequence" in piece] == ["A"]
        if step["type"] == "TemplateProcessing"
        else step["type"] in ("ByteLevel", "BertProcessing", "RobertaProcessing")
        for step in flattened(post_processor, "processors")
    )


def flattened(step: dict[str, Any] | None, inside: str) -> list[dict[str, Any]]:
    """The steps of a sequence, or of what may be one."""
    if step is None:
        return []
    if step["type"] != "Sequence":
        return [step]
    return [part for inner in step[inside] for part in flattened(inner, inside)]
