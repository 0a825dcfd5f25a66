"""Rows of one text or two: what is in them, what becomes of every token, and how often each kind of pair comes."""

from collections import Counter
from itertools import chain, pairwise

import numpy as np
import pytest
from builders import FakeText, assert_same, fake_text

from foretell.data.batches.packing import (
    DocConfig,
    FullConfig,
    Passages,
    RowsConfig,
    SegmentPairConfig,
    SentencePairConfig,
    covered,
)
from foretell.data.tokenizers.specials import Specials
from foretell.errors import ConfigError

SPECIALS = Specials(boundary=9, mask=1, begin=2, separator=3, padding=4)
FIRST = 10
"""the first token of text: those below are special"""


def book(documents: int = 60, seed: int = 0, *, shortest: int = 1) -> FakeText:
    """Documents of lines of different lengths, ended by boundaries; token i is FIRST + i, so tells its place."""
    random = np.random.default_rng(seed)
    tokens, lines, ends = [], [0], [0]
    for _ in range(documents):
        for _ in range(random.integers(shortest, 12)):
            length = int(random.integers(2, 30))
            tokens += [FIRST + len(tokens) + i for i in range(length)]
            lines.append(len(tokens))
        tokens.append(SPECIALS.boundary)
        lines[-1] = len(tokens)
        ends.append(len(tokens))
    return FakeText(np.array(tokens, np.uint32), np.array(ends), np.array(lines))


KINDS: list[RowsConfig] = [
    FullConfig(batch=4, length=40),
    FullConfig(batch=4, length=40, ends="anywhere"),
    DocConfig(batch=4, length=40),
    DocConfig(batch=4, length=40, ends="anywhere"),
    SegmentPairConfig(batch=4, length=40),
    SegmentPairConfig(batch=4, length=40, fill="beyond", alone="random"),
    SegmentPairConfig(batch=4, length=40, pairs="sop"),
    SegmentPairConfig(batch=4, length=40, pairs="none"),
    SentencePairConfig(batch=4, length=40),
    SentencePairConfig(batch=4, length=40, pairs="sop", copies=2),
]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=repr)


def rows_of(passages: Passages, epoch: int = 0) -> list[list[int]]:
    """All rows of an epoch without their padding."""
    before = sum(passages.size(e) for e in range(epoch))
    found = []
    for k in range(before, before + passages.size(epoch)):
        batch = passages[k]
        lengths = [batch.targets.shape[1]] * len(batch.targets)
        lengths = lengths if batch.inputs.lengths is None else batch.inputs.lengths.tolist()
        found += [row[:length] for row, length in zip(batch.inputs.tokens.tolist(), lengths, strict=True)]
    return found


@every_kind
def test_rows_are_text_between_special_tokens(kind: RowsConfig) -> None:
    passages = kind.build(book(), SPECIALS, 1)
    two = 0
    for row in rows_of(passages):
        assert row[0] == SPECIALS.begin and row[-1] == SPECIALS.separator
        assert 3 <= len(row) <= kind.length
        middle = row.index(SPECIALS.separator)
        texts = [row[1:middle], row[middle + 1 : -1]]
        two += bool(texts[1])
        for text in texts:  # running text: neighbours in the row are neighbours there, boundaries apart
            places = [token for token in text if token >= FIRST]
            assert all(0 < b - a <= 2 for a, b in pairwise(places))
            assert text == [] or (text[0] >= FIRST and text[-1] >= FIRST)
    assert (two > 0) == ("pair" in kind.kind)


@every_kind
def test_every_token_is_accounted_for(kind: RowsConfig) -> None:
    text = book()
    passages = kind.build(text, SPECIALS, 1)
    for epoch in range(3):
        rows, account = rows_of(passages, epoch), passages.accounting(epoch)
        seen = Counter(token for row in rows for token in row if token >= FIRST or token == SPECIALS.boundary)
        boundaries_kept = seen.pop(SPECIALS.boundary, 0)
        real = sum(map(len, rows))
        assert account.text == len(text.tokens)
        assert account.rows == len(rows)
        assert account.kept == len(seen) + boundaries_kept
        assert account.repeated == seen.total() - len(seen)
        assert account.boundaries == 60 - boundaries_kept
        assert account.kept + account.dropped + account.boundaries == account.text
        assert account.special == sum(token in (SPECIALS.begin, SPECIALS.separator) for token in chain(*rows))
        assert account.padded == sum(passages[k].inputs.tokens.numel() for k in epoch_of(passages, epoch)) - real
        if getattr(kind, "fill", "within") == "within":
            assert account.dropped == 0
        else:
            assert account.dropped > 0


def epoch_of(passages: Passages, epoch: int) -> range:
    begin = sum(passages.size(e) for e in range(epoch))
    return range(begin, begin + passages.size(epoch))


@every_kind
def test_a_batch_is_about_so_many_tokens_and_little_padding(kind: RowsConfig) -> None:
    kind = kind.model_copy(update={"batch": 16})
    passages = kind.build(book(600), SPECIALS, 1)
    sizes = [passages[k].inputs.tokens.numel() for k in range(len(passages))]
    assert max(sizes) <= 16 * 40
    assert np.median(sizes) > 0.9 * 16 * 40
    assert passages.accounting().padding <= 0.05


@every_kind
def test_random_access_is_sequential_access(kind: RowsConfig) -> None:
    one, other = kind.build(book(), SPECIALS, 3), kind.build(book(), SPECIALS, 3)
    in_order = [other[k] for k in range(2 * len(other))]
    for k in np.random.default_rng(0).permutation(len(in_order)).tolist():
        assert_same(one[k], in_order[k])
    assert one[0].inputs.tokens.tolist() != kind.build(book(), SPECIALS, 4)[0].inputs.tokens.tolist()


def test_copies_repeat_in_another_order() -> None:
    kind = SegmentPairConfig(batch=4, length=40, copies=2)
    passages = kind.build(book(), SPECIALS, 1)
    epochs = [rows_of(passages, epoch) for epoch in range(4)]
    assert sorted(epochs[0]) == sorted(epochs[2]) and epochs[0] != epochs[2]
    assert sorted(epochs[1]) == sorted(epochs[3])
    assert sorted(epochs[0]) != sorted(epochs[1])


# --- packing --------------------------------------------------------------------------------------


def test_running_text_is_packed_as_by_hand() -> None:
    """Room for 5: lines of 2, 2, 4 | 7, 1 | 5 tokens in three documents."""
    sizes = [[2, 2, 4], [7, 1], [5]]
    tokens, lines, documents = [], [0], [0]
    for document in sizes:
        for size in document:
            tokens += [FIRST + len(tokens) + i for i in range(size)]
            lines.append(len(tokens))
        tokens.append(SPECIALS.boundary)
        lines[-1] = len(tokens)
        documents.append(len(tokens))
    text = FakeText(np.array(tokens), np.array(documents), np.array(lines))
    t = lambda begin, end: list(range(FIRST + begin, FIRST + end))  # noqa: E731
    b = [SPECIALS.boundary]

    def packed(config: RowsConfig) -> list[list[int]]:
        return sorted(row[1:-1] for row in rows_of(config.build(text, SPECIALS, 0)))

    # the text is 0-7, boundary at 8, 9-15, 16, boundary at 17, 18-22, boundary at 23
    assert packed(FullConfig(length=7)) == [t(0, 4), t(4, 8), t(9, 14), [*t(14, 17)], t(18, 23)]
    assert packed(DocConfig(length=7)) == [t(0, 4), t(4, 8), t(9, 14), t(14, 17), t(18, 23)]
    assert packed(FullConfig(length=12)) == [t(0, 8), [*t(9, 17)], t(18, 23)]
    assert packed(FullConfig(length=20)) == [[*t(0, 8), *b, *t(9, 17)], t(18, 23)]
    assert packed(FullConfig(length=30)) == [[*t(0, 8), *b, *t(9, 17), *b, *t(18, 23)]]
    assert packed(DocConfig(length=30)) == [t(0, 8), t(9, 17), t(18, 23)]


def test_a_text_without_special_tokens_is_packed_too() -> None:
    passages = DocConfig(length=10).build(fake_text(), Specials(boundary=99), 0)
    assert sorted(chain(*rows_of(passages))) == list(range(53))


def test_documents_apart_in_a_row() -> None:
    """Numbered from 0 in each row; a boundary belongs to the document it ends."""
    text = book(20)
    document = np.searchsorted(text.documents, np.arange(len(text.tokens)), side="right")
    passages = FullConfig(batch=4, length=120, documents="apart").build(text, SPECIALS, 1)
    several = 0
    for k in range(len(passages)):
        inputs = passages[k].inputs
        for row, numbers in zip(inputs.tokens.tolist(), inputs.documents.tolist(), strict=True):
            places = {t: document[token - FIRST] for t, token in enumerate(row) if token >= FIRST}
            first = places[1]
            assert all(numbers[t] == place - first for t, place in places.items())
            assert numbers[0] == 0 and numbers[max(places) + 1] == numbers[max(places)]
            several += max(numbers) > 0
    assert several > 3


# --- pairs ----------------------------------------------------------------------------------------


def halves(batch: object, row: int) -> tuple[list[int], list[int]]:
    tokens, segments = batch.inputs.tokens[row], batch.inputs.segments[row]
    real = tokens.shape[0] if batch.inputs.lengths is None else int(batch.inputs.lengths[row])
    second = tokens[:real][segments[:real] == 1][:-1].tolist()
    first = tokens[:real][segments[:real] == 0][1:].tolist()
    return [token for token in first if token >= FIRST], second


@pytest.mark.parametrize("config", [SegmentPairConfig, SentencePairConfig])
def test_next_sentences(config: type[SegmentPairConfig]) -> None:
    """Label 0: the second text follows the first; 1: it is from another document. Each is as frequent as the other."""
    text = book(3000, shortest=2)
    document = np.searchsorted(text.documents, np.arange(len(text.tokens)), side="right")
    passages = config(batch=64, length=40, pairs="nsp").build(text, SPECIALS, 1)
    labels = Counter[int]()
    for k in range(len(passages)):
        batch = passages[k]
        for row, label in enumerate(batch.labels.tolist()):
            labels[label] += 1
            first, second = halves(batch, row)
            if label == -100:
                assert not second
            elif label == 0:
                assert second[0] == first[-1] + 1
                assert document[first[0] - FIRST] == document[second[0] - FIRST]
            else:
                assert document[first[0] - FIRST] != document[second[0] - FIRST]
    assert labels[0] + labels[1] > 5000
    assert labels[1] / (labels[0] + labels[1]) == pytest.approx(0.5, abs=0.02)
    assert passages.accounting().dropped == 0  # what a random second text takes the place of comes again


@pytest.mark.parametrize("config", [SegmentPairConfig, SentencePairConfig])
def test_the_order_of_sentences(config: type[SegmentPairConfig]) -> None:
    """Label 0: the second text follows the first; 1: the first follows the second. Nothing is read twice."""
    passages = config(batch=64, length=40, pairs="sop").build(book(3000, shortest=2), SPECIALS, 1)
    labels = Counter[int]()
    for k in range(len(passages)):
        batch = passages[k]
        for row, label in enumerate(batch.labels.tolist()):
            labels[label] += 1
            first, second = halves(batch, row)
            if label == 0:
                assert second[0] == first[-1] + 1
            elif label == 1:
                assert first[0] == second[-1] + 1
    assert labels[1] / (labels[0] + labels[1]) == pytest.approx(0.5, abs=0.02)
    assert passages.accounting().repeated == 0


@pytest.mark.parametrize("pairs", ["nsp", "sop"])
def test_passages_of_one_line_as_published(pairs: str) -> None:
    """They get a random second text with label 1, so that this is the more frequent one."""
    text = book(500)
    settings = {"batch": 64, "length": 40, "pairs": pairs}
    alone = SegmentPairConfig(**settings).build(text, SPECIALS, 1).layout(0).label
    random = SegmentPairConfig(**settings, alone="random").build(text, SPECIALS, 1).layout(0).label
    assert (alone == -100).mean() > 0.1
    assert (random == 1).mean() > 0.53 and (random >= 0).all()


@pytest.mark.parametrize("kind", [SegmentPairConfig(), SentencePairConfig()], ids=lambda kind: kind.kind)
def test_what_pairs_need(kind: SegmentPairConfig) -> None:
    with pytest.raises(ConfigError, match=r"only one; set data\.batches\.pairs"):
        kind.build(book(1), SPECIALS, 0)
    with pytest.raises(ConfigError, match="specials"):
        kind.build(book(), Specials(boundary=9, mask=1), 0)
    kind.model_copy(update={"pairs": "sop"}).build(book(1), SPECIALS, 0)


def test_what_rows_need() -> None:
    none = FakeText(np.zeros(0, np.uint16), np.zeros(2, np.int64), np.zeros(2, np.int64))
    with pytest.raises(ConfigError, match="no tokens"):
        FullConfig().build(none, SPECIALS, 0)
    with pytest.raises(ConfigError, match="length"):
        FullConfig(length=2).build(book(), SPECIALS, 0)


def test_places_in_one_span_at_least() -> None:
    spans = np.array([[5, 9], [0, 3], [2, 4], [5, 6], [0, 0], [20, 21]])
    assert covered(spans) == len({place for begin, end in spans for place in range(begin, end)}) == 9
