"""What a description of the `tokenizers` library is: of which of our kinds, and whether it keeps all of a text."""

from __future__ import annotations

import json
from typing import Any

from foretell.data.text_files import BOUNDARY
from foretell.data.tokenizers.spelling import byte_alphabet

UNKNOWN = "<unk>"
END_OF_LINE = "<eos>"
LOWERING = {
    "type": "Sequence",
    "normalizers": [{"type": "NFD"}, {"type": "Lowercase"}, {"type": "StripAccents"}],
}
WORD_PIECES = {"type": "WordPiece", "prefix": "##", "cleanup": False}
METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": True}


def kind_of(description: dict[str, Any]) -> str:
    """The kind of config that makes such a tokeniser, `file` if none does."""
    model, splitter = description["model"], description["pre_tokenizer"] or {}
    plain = description["normalizer"] is None
    decoder = (description["decoder"] or {}).get("type")
    vocabulary = model["vocab"]
    if model["type"] == "WordLevel" and UNKNOWN in vocabulary:
        if splitter.get("type") == "WhitespaceSplit" and END_OF_LINE in vocabulary:
            return "word"
        if splitter.get("type") == "Split" and vocabulary.get(BOUNDARY) == 0 and plain:
            return "character"
    if model["type"] == "BPE" and decoder == "ByteLevel" and plain:
        whole = byte_alphabet().keys() <= vocabulary.keys()
        affixes = model.get("continuing_subword_prefix") or model.get("end_of_word_suffix")
        if whole and not affixes and '"add_prefix_space": true' not in json.dumps(splitter):
            return "bpe" if model["merges"] or len(vocabulary) != 257 else "byte"
    plain = plain or description["normalizer"] == LOWERING  # which loses text, but spells tokens as ever
    if (
        model["type"] == "WordPiece"
        and splitter.get("type") == "BertPreTokenizer"
        and description["decoder"] == WORD_PIECES
        and model["continuing_subword_prefix"] == "##"
        and plain
    ):
        return "wordpiece" if BOUNDARY in vocabulary else "file"
    if model["type"] == "Unigram" and description["decoder"] == METASPACE and plain:
        return "unigram" if vocabulary and vocabulary[0][0] == BOUNDARY else "file"
    return "file"


def is_padded(description: dict[str, Any]) -> bool:
    """Whether a tokeniser of words puts blanks at the ends of lines too."""
    return '"content": " \\n"' in json.dumps(description["decoder"])


def keeps_all(description: dict[str, Any]) -> bool:
    """Whether a byte-level BPE cannot but keep every byte: its pre-tokenizers remove nothing, the last of them writes
    bytes, and no added token is looked for in the text, which could take the blanks around it along."""
    steps = flattened(description["pre_tokenizer"])
    kept = all(
        step["type"] in ("ByteLevel", "Digits", "UnicodeScripts")
        or (step["type"] in ("Split", "Punctuation") and step["behavior"] != "Removed")
        for step in steps
    )
    writes_bytes = [step["type"] for step in steps].count("ByteLevel") == 1 and steps[-1]["type"] == "ByteLevel"
    return kept and writes_bytes and all(token["special"] for token in description["added_tokens"])


def flattened(step: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The pre-tokenizers of a sequence, or of what may be one."""
    if step is None:
        return []
    if step["type"] != "Sequence":
        return [step]
    return [part for inner in step["pretokenizers"] for part in flattened(inner)]
