"""Hints of the language of a text: its scripts, and the function words of some languages."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping

from foretell.trees import Tree

FUNCTION_WORDS = {
    "English": "the of and to in is that it was for with as his he on be by this which from",
    "German": "der die und das den von zu mit sich des auf ist nicht ein eine dem auch als werden im",
    "French": "de la le et les des en un une du que est dans qui par pour sur pas plus au",
    "Spanish": "de la que el en los se del las un por con no una su para es lo como más",
    "Italian": "di che la il un per una del non con sono della gli nel alla dei è delle si ha",
    "Portuguese": "de que e do da em um para com não uma os no se na por mais dos como ao",
    "Dutch": "de van het een en in is dat op te zijn met voor niet aan er om ook bij door",
    "Swedish": "och att det som en på är av för med den till inte har jag de ett om var vi",
    "Polish": "w i na z się do nie to jest że o jak po od za przez oraz dla był co",
    "Czech": "a se v na je že s z do o to jako za by ve pro jsem ale po jsou",
    "Turkish": "bir ve bu da de için ile çok olarak daha olan gibi ne ama kadar sonra o her mi var",
    "Russian": "и в не на я что с он как это по но к у из за от так же для",  # noqa: RUF001
    "Ukrainian": "і в не на що я з у до це як за та й про але від він для його",  # noqa: RUF001
}
"""the most frequent words of each language that carry little meaning"""
CLEAR = 1.3
"""ratio of the share of function words of the best language to the second that names it"""
LEAST = 0.1
"""share of function words below which no language is named"""


def hints(characters: Mapping[str, int], words: Mapping[str, int]) -> Tree:
    """The shares of scripts among the letters, and the language if one is clear; from counts of a text."""
    scripts: Counter[str] = Counter()
    for character, count in characters.items():
        if character.isalpha():
            scripts[script_of(character)] += count
    total = max(scripts.total(), 1)
    shares = {name: round(count / total, 4) for name, count in scripts.most_common(3) if count >= 0.01 * total}
    return {"scripts": shares, "language": language_of(words)}


def script_of(letter: str) -> str:
    """The script of a letter, from its name in Unicode."""
    word = unicodedata.name(letter, "unknown").split()[0].split("-")[0]
    return {"CJK": "Han", "LATIN": "Latin"}.get(word, word.capitalize())


def language_of(words: Mapping[str, int]) -> str | None:
    """The language whose function words are clearly the largest share of the words; None if there is none."""
    lowered: Counter[str] = Counter()
    for word, count in words.items():
        lowered[word.lower().strip(".,;:!?\"'()")] += count
    total = max(lowered.total(), 1)
    shares = {name: sum(lowered[word] for word in listed.split()) / total for name, listed in FUNCTION_WORDS.items()}
    best, second = sorted(shares, key=lambda name: -shares[name])[:2]
    return best if shares[best] > max(LEAST, CLEAR * shares[second]) else None
