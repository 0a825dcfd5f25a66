"""Words of raw text: every kind of word, and offsets that give the text back."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretell.data.labelled.words import is_unspaced, split_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Rome, Paris (and Bonn).", "Rome , Paris ( and Bonn ) ."),
        ("Don't ask O'Brien's dog!", "Don't ask O'Brien 's dog !"),
        ("l\u2019homme d'État — «oui»", "l\u2019homme d'État — « oui »"),
        ("the U.N. office, e.g. here. No.", "the U.N. office , e.g. here . No ."),
        ("3.14 or 1,000 at 10:30 on 2024-05-01", "3.14 or 1,000 at 10:30 on 2024-05-01"),
        ("5% of $5.00, the 3rd in 1990s.", "5 % of $ 5.00 , the 3rd in 1990s ."),
        ("See https://a.b/c?d=e, or (www.x.org).", "See https://a.b/c?d=e , or ( www.x.org ) ."),
        ("mail me@x.co.uk; @user #topic", "mail me@x.co.uk ; @user #topic"),
        ("state-of-the-art -- wait...", "state-of-the-art -- wait ..."),
        ("AT&T and/or node.js end.Next", "AT&T and / or node.js end . Next"),
        ("naïve cafe\u0301s हिन्दी में!", "naïve cafe\u0301s हिन्दी में !"),
        ("東京 です。", "東 京 です 。"),
        ("\U0001f469\u200d\U0001f4bb ok\U0001f44d\U0001f3fd", "\U0001f469\u200d\U0001f4bb ok \U0001f44d\U0001f3fd"),
    ],
)
def test_words_of_every_kind(text: str, words: str) -> None:
    assert [word.text for word in split_words(text)] == words.split(" ")


def test_tokenised_text_is_split_at_whitespace_only() -> None:
    assert [word.text for word in split_words("do n't  Rome's .", "whitespace")] == ["do", "n't", "Rome's", "."]


@settings(max_examples=200, deadline=None)
@given(
    st.text(alphabet=st.sampled_from("aÉé1 .,-'\u2019s@#:/&\u0301\u200d\t\u00a0東क\u093f\U0001f44d!"), max_size=30)
    | st.text()
)
def test_only_whitespace_is_left_out(text: str) -> None:
    words = split_words(text)
    assert "".join(word.text for word in words) == "".join(text.split())
    assert all(text[word.start : word.end] == word.text for word in words)
    assert all(one.end <= other.start for one, other in itertools.pairwise(words))


@pytest.mark.parametrize(
    ("texts", "unspaced"),
    [
        (["我们昨天去了那家店。", "很好吃"], True),
        (["昨日はあの店に行きました。", "美味しかったです"], True),
        (["เมื่อวานเราไปร้านนั้น"], True),
        (["어제 우리는 그 가게에 갔다."], False),
        (["Yesterday we went to 东京.", "It was fine."], False),
        (["iPhone很好用。我很喜欢这个手机的屏幕。"], True),
        (["123", ""], False),
        ([], False),
    ],
)
def test_languages_without_blanks_between_words(texts: list[str], unspaced: bool) -> None:
    assert is_unspaced(texts) == unspaced
