"""Words and their tokens; sentences that are read in parts; spans with places in the text."""

import logging

import numpy as np
import pytest

from foretell.data.batches.framing import Framing
from foretell.data.labelled.examples import Tagged
from foretell.data.tokenizers.kinds import ByteConfig, WordPieceConfig
from foretell.errors import ConfigError
from foretell.tasks.tagging import TaggingConfig, parts_of, token_ranges

WORDS = ("Angela", "Merkel", "visited", "Rome", ".")
TAGS = ("B-PER", "I-PER", "O", "B-LOC", "O")
NAMES = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
SENTENCE = Tagged(WORDS, TAGS)
WORDPIECE = WordPieceConfig(size=60, specials="bert").train(["Angela Merkel visited Rome .\n"] * 9)


@pytest.mark.parametrize("at", ["first", "last"])
@pytest.mark.parametrize("length", [64, 9, 5])
@pytest.mark.parametrize("tokenizer", [WORDPIECE, ByteConfig().train([])], ids=["wordpiece", "byte"])
def test_every_word_is_told_once_where_it_stands(at: str, length: int, tokenizer: object) -> None:
    task = TaggingConfig(at=at)
    rows = task.rows([SENTENCE], Framing(tokenizer, length), NAMES)
    told = [word for row in rows for word in row.places[0].tolist()]
    assert told == list(range(len(WORDS)))
    for row in rows:
        assert row.length <= length
        tokens, labels = row.readings[0].tokens, row.label
        assert np.flatnonzero(labels != -100).tolist() == row.places[1].tolist()
        for word, place in zip(*row.places, strict=True):
            assert NAMES[labels[place]] == TAGS[word]
            piece = tokenizer.decode([int(tokens[place])]).strip()
            assert piece and (WORDS[word].startswith(piece) if at == "first" else piece in WORDS[word])
            if length == 64 and at == "last":
                assert WORDS[word].endswith(piece)


def test_tokens_of_words() -> None:
    """Of `ab cde ☃ f` with the tokens a, b, a blank, cde, f."""
    spans = np.array([(0, 1), (1, 2), (3, 3), (3, 6), (9, 10)])
    firsts, lasts = token_ranges(["ab", "cde", "☃", "f"], spans)
    assert firsts.tolist() == [0, 3, -1, 4] and lasts.tolist() == [1, 3, -1, 4]


def test_parts_fit_and_a_longer_word_is_cut() -> None:
    firsts, lasts = np.array([0, 2, -1, 3, 9]), np.array([1, 2, -1, 8, 9])
    parts = [(words.tolist(), begin, end) for words, begin, end in parts_of(firsts, lasts, 4)]
    assert parts == [([0, 1], 0, 3), ([3], 3, 7), ([4], 9, 10)]


def test_spans_have_places_in_the_text() -> None:
    task = TaggingConfig()
    line = "  Angela  Merkel visited Rome ."
    (found,) = [task.prediction(task.parse_line(line, "line 1"), TAGS, (0.5, 0.5, 1.0, 0.9, 1.0))]
    person, place = found.entities
    assert line[person.start : person.end] == person.text == "Angela  Merkel" and person.label == "PER"
    assert person.probability == 0.25 and place.probability == 0.9
    assert line[place.start : place.end] == "Rome"
    assert found.line() == "2:16 PER Angela Merkel\t25:29 LOC Rome"
    assert [line[start:end] for start, end in found.offsets] == list(WORDS)
    plain = task.prediction(SENTENCE, TAGS, (1.0,) * 5).entities
    assert [" ".join(WORDS)[one.start : one.end] for one in plain] == ["Angela Merkel", "Rome"]


def test_punctuation_is_split_from_words_unless_the_text_is_tokenised() -> None:
    line, task = "Angela Merkel visited Rome.", TaggingConfig(scheme="none", metric="accuracy")
    example = task.parse_line(line, "line 1")
    assert example.words == WORDS
    found = task.prediction(example, ("NNP", "NNP", "VBD", "NNP", "."), (1.0,) * 5)
    assert found.line().split("\t")[-2:] == ["22:26 NNP Rome", "26:27 . ."]
    assert task.splitting("whitespace").parse_line(line, "line 1").words == ("Angela", "Merkel", "visited", "Rome.")


def test_what_is_learnt_as_bioes_comes_out_as_iob2() -> None:
    task = TaggingConfig(scheme="bioes")
    labels = task.labels([SENTENCE])
    assert labels == ("O", *(f"{mark}-{kind}" for kind in ("LOC", "PER") for mark in "BIES"))
    assert task.as_learned(TAGS) == ("B-PER", "E-PER", "O", "S-LOC", "O")
    assert task.prediction(SENTENCE, task.as_learned(TAGS), (1.0,) * 5).tags == TAGS


@pytest.mark.parametrize("scheme", ["iob2", "none"])
def test_tags_that_look_alike_are_told(scheme: str, caplog: pytest.LogCaptureFixture) -> None:
    task = TaggingConfig.model_validate({"scheme": scheme, "metric": "entity_f1" if scheme == "iob2" else "accuracy"})
    kinds = ("B-PER", "B-PER\u200b") if scheme == "iob2" else ("noun", "Noun")
    with caplog.at_level(logging.WARNING, "foretell"):
        task.labels([Tagged(("a", "b"), kinds)])
    told = "'PER', 'PER\\u200b'" if scheme == "iob2" else "'Noun', 'noun'"
    assert caplog.messages == [f"the labels {told} are 2 classes; spell them alike if they are one"]


def test_mistakes_are_spans_in_their_sentence() -> None:
    task = TaggingConfig()
    found = task.prediction(SENTENCE, ("B-PER", "O", "O", "B-PER", "B-LOC"), (0.5, 0.5, 1.0, 0.8, 0.25))
    mistakes = {(one.gold, one.predicted, one.text): one.probability for one in task.mistakes([SENTENCE], [found])}
    assert mistakes == {
        ("PER", "O", "[Angela Merkel] visited Rome ."): 0.25,
        ("O", "PER", "[Angela] Merkel visited Rome ."): 0.5,
        ("LOC", "PER", "Angela Merkel visited [Rome] ."): 0.8,
        ("O", "LOC", "Angela Merkel visited Rome [.]"): 0.25,
    }
    assert task.confused([SENTENCE], [found]) == [
        ("PER", "PER"), ("PER", "O"), ("O", "O"), ("LOC", "PER"), ("O", "LOC"),
    ]  # fmt: skip
    assert task.confidences([SENTENCE], [found])[:2] == [(0.5, True), (0.5, False)]


def test_classes_are_counted_and_not_learned_as_spans() -> None:
    assert TaggingConfig(scheme="none").metric == "accuracy" and TaggingConfig().metric == "entity_f1"
    with pytest.raises(ValueError, match="has no spans to measure"):
        TaggingConfig(scheme="none", metric="entity_f1")
    words = [Tagged(("a", "b"), ("NOUN", "VERB"))]
    assert TaggingConfig(scheme="none").labels(words) == ("NOUN", "VERB")
    with pytest.raises(ConfigError, match=r"plain classes, such as 'NOUN'.*learns spans; set objective\.scheme"):
        TaggingConfig().labels(words)
