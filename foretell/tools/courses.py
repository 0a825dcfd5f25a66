"""How long the course of a shipped recipe, as its file sets it, takes at the speed of a machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from foretell.data.compressed import compression
from foretell.data.opening import open_corpus
from foretell.data.text.holdout import files_of
from foretell.errors import ConfigError
from foretell.recipe.files import kind_in
from foretell.tools.sizes import Size
from foretell.tools.speed import Speed

TOKENS = {
    "ptb": 929_589,
    "ptb-char": 5_017_482,
    "wikitext-2": 2_088_628,
    "wikitext-103": 103_227_021,
    "enwik8": 90_000_000,
    "tinyshakespeare": 1_003_856,
}
"""training tokens of corpora that are the same everywhere, in the tokens of their recipes"""
PACKED = 3.7
"""bytes of text in a byte of a compressed file, about"""
SUBWORD = 4.3
"""bytes of text in a subword, about"""


def course_seconds(recipe: Mapping[str, Any], size: Size, speed: Speed) -> float | None:
    """The time of the course of a recipe, given as a tree; None if its text, its model or the speed is unknown."""
    if seconds := size.course.get("seconds"):
        return seconds
    rate, tokens = speed.tokens(size), size.course.get("tokens")
    if epochs := size.course.get("epochs"):
        epoch = epoch_tokens(recipe.get("data", {})) if rate else None
        tokens = epoch and epochs * epoch
    return tokens / rate if tokens and rate else None


def epoch_tokens(data: Mapping[str, Any]) -> float | None:
    """Training tokens of the text of a recipe, about; None if the text is missing or not in files."""
    corpus = data.get("corpus")
    if not isinstance(corpus, str) or corpus in TOKENS:
        return TOKENS.get(str(corpus))
    try:
        paths = files_of(open_corpus(corpus).source("train"))
    except ConfigError:
        return None
    text = sum(path.stat().st_size * (PACKED if compression(path) else 1) for path in paths)
    return text / (1 if kind_in(data.get("tokenizer")) in ("byte", "character") else SUBWORD) or None
