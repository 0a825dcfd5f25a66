"""Words of raw text, with their offsets.

Punctuation is split from words, as in the Penn Treebank, CoNLL-2003 and spaCy. In order of precedence, a word is

* a URL or an e-mail address, without the punctuation after it;
* a mention or a hashtag: `@name`, `#topic`;
* a number with its decimals, thousands, times and dates: `3.14`, `1,000`, `10:30`, `2024-05-01`;
* an abbreviation of single letters: `U.N.`, `e.g.`;
* `'s` after a letter or digit: `Rome's` is `Rome` and `'s`;
* letters and digits with hyphens, apostrophes, dots and ampersands between them: `well-known`, `don't`, `AT&T`;
* a Chinese character (as in BERT), or a run of dots or hyphens: `...`, `--`;
* any other character that is not whitespace.

Marks such as accents and vowel signs belong to the letter before them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from itertools import islice
from typing import Literal, NamedTuple

Splitting = Literal["punctuation", "whitespace"]
MARK, JOINER = "\ue000", "\ue001"
HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd"
LETTER = f"(?:(?![{HAN}])\\w[{MARK}{JOINER}]*)"
POSSESSIVE = rf"['\u2019][sS](?!{LETTER})"
TONES = "\U0001f3fb-\U0001f3ff"
SYMBOL = f"(?:[^\\w\\s][{MARK}{TONES}]*)"
WORD = re.compile(
    rf"""
      (?:https?://|www\.)\S*[^\s.,;:!?'"\u2019\u201d)\]}}>]
    | [\w.+-]{{1,64}}@\w[\w-]*(?:\.\w[\w-]*)+
    | [@\#]{LETTER}+
    | \d+(?:[.,:/-]\d+)*(?!{LETTER})
    | (?:(?!\d){LETTER}\.){{2,}}(?!{LETTER})
    | (?<=\w){POSSESSIVE}
    | {LETTER}+(?:(?!{POSSESSIVE})(?:[-'\u2019&\u2010\u2011]|\.(?=[a-z\d])){LETTER}+)*
    | [{HAN}][{MARK}]*
    | \.{{2,}} | -{{2,}}
    | {SYMBOL}(?:{JOINER}{SYMBOL})*
    | \S
    """,
    re.VERBOSE,
)
CHUNK = re.compile(r"\S+")
UNSPACED = re.compile(f"[{HAN}\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\uff66-\uff9d]")
"""letters of scripts without blanks between words: Chinese, Thai, Lao, Tibetan, Burmese, Khmer, Japanese"""
SAMPLED = 1000
"""texts that show whether a language has blanks between words"""


class Word(NamedTuple):
    """A word; `end` is one past its last character."""

    text: str
    start: int
    end: int


def split_words(text: str, at: Splitting = "punctuation") -> list[Word]:
    """The words of a text: `text[start:end]`; no word contains whitespace, and only whitespace is left out.

    `at = "whitespace"` is for text that is tokenised already.
    """
    pattern, seen = (CHUNK, text) if at == "whitespace" else (WORD, with_marks(text))
    return [Word(text[match.start() : match.end()], *match.span()) for match in pattern.finditer(seen)]


def is_unspaced(texts: Iterable[str]) -> bool:
    """Whether texts are in a language without blanks between words, as most of their letters are of such a script."""
    sample = "".join(islice(texts, SAMPLED))
    unspaced = len(UNSPACED.findall(sample))
    return 2 * unspaced > sum(map(str.isalpha, sample))


def with_marks(text: str) -> str:
    """The text with one character for all marks, and another for joiners, which `re` has no class for."""
    if text.isascii():
        return text
    return "".join(JOINER if c in "\u200c\u200d" else MARK if unicodedata.category(c)[0] == "M" else c for c in text)
