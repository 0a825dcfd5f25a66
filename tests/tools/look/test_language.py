"""Hints of languages, on sentences of well-known books."""

from collections import Counter

import pytest

from foretell.tools.look.language import hints


@pytest.mark.parametrize(
    ("text", "language", "script"),
    [
        ("It was the best of times, it was the worst of times, it was the age of wisdom in that", "English", "Latin"),
        (
            "Als Gregor Samsa eines Morgens aus unruhigen Träumen erwachte, fand er sich in dem Bett zu",
            "German",
            "Latin",
        ),
        ("En un lugar de la Mancha, de cuyo nombre no quiero acordarme, no ha mucho tiempo", "Spanish", "Latin"),
        ("Longtemps, je me suis couché de bonne heure. Parfois, à peine ma bougie éteinte, mes", None, "Latin"),
        ("начале июля, чрезвычайно жаркое время, под вечер, один молодой человек", None, "Cyrillic"),
        ("吾輩は猫である", None, "Hiragana"),
        ("12 34", None, None),
    ],
)
def test_a_language_is_named_where_its_words_are_clear(text: str, language: str | None, script: str | None) -> None:
    found = hints(Counter(text), Counter(text.split()))
    assert found["language"] == language
    assert next(iter(found["scripts"]), None) == script


def test_scripts_have_shares_of_the_letters() -> None:
    assert hints({"a": 3, "я": 1, "1": 50, " ": 9}, {})["scripts"] == {"Latin": 0.75, "Cyrillic": 0.25}
