"""The one rule for ranks by bits per byte."""

from foretell.evaluate.ranking import Standing, ranked


def test_lossy_models_are_ranked_only_among_models_with_the_same_tokens() -> None:
    words, other, bytes_ = Standing("words", True), Standing("other words", True), Standing("bytes", False)
    assert ranked([words, words]) == [True, True]
    assert ranked([words, bytes_]) == [False, True]
    assert ranked([words, other]) == [False, False]
    assert ranked([bytes_, Standing("bpe", False)]) == [True, True]
    assert ranked([words]) == [True] and ranked([]) == []


def test_figures_that_flatter_are_never_ranked() -> None:
    assert ranked([Standing("bytes", False, flattered=True), Standing("bytes", False)]) == [False, True]
