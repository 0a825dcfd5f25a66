"""Examples as rows: marks, cuts, batches as a pure function of seed and number."""

from pathlib import Path

import numpy as np
import pytest
import torch
from builders import assert_same
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import ByteLevelBPETokenizer
from transformers import RobertaTokenizerFast

from foretell.data.batches.framing import ExamplesConfig, Framing, Reading, Row, balanced, by_length, collate, sizes
from foretell.data.tokenizers.kinds import ByteConfig, SpecialsName, Tokenizer, WordConfig
from foretell.data.tokenizers.tokenizer import load_tokenizer
from foretell.errors import ConfigError


def tokenizer(specials: SpecialsName) -> Tokenizer:
    return WordConfig(specials=specials).train(["a b c d e f g\n"])


def spelled(framing: Framing, *texts: str) -> str:
    reading = framing.frame(*framing.encode(list(texts)))
    return " ".join(framing.tokenizer.token(token) for token in reading.tokens.tolist())


@pytest.mark.parametrize(
    ("specials", "one", "two", "second"),
    [
        ("none", "<eos> a b <eos>", "<eos> a b <eos> c <eos>", 4),
        ("bert", "[CLS] a b [SEP]", "[CLS] a b [SEP] c [SEP]", 4),
        ("roberta", "<s> a b </s>", "<s> a b </s> </s> c </s>", 0),
        ("gpt", "<start> a b <extract>", "<start> a b <delimiter> c <extract>", 4),
    ],
)
def test_the_marks_are_those_of_the_vocabulary(specials: SpecialsName, one: str, two: str, second: int) -> None:
    framing = Framing(tokenizer(specials), 20)
    assert spelled(framing, "a b") == one
    assert spelled(framing, "a b", "c") == two
    assert framing.frame(*framing.encode(["a b", "c"])).second == second
    assert framing.frame(*framing.encode(["a b"])).second == 0


def test_what_does_not_fit_is_cut() -> None:
    assert spelled(Framing(tokenizer("bert"), 5), "a b c d e") == "[CLS] a b c [SEP]"
    assert spelled(Framing(tokenizer("bert"), 5, "beginning"), "a b c d e") == "[CLS] c d e [SEP]"
    assert spelled(Framing(tokenizer("bert"), 8), "a b c d e", "f g") == "[CLS] a b c [SEP] f g [SEP]"
    assert spelled(Framing(tokenizer("bert"), 8), "f g", "a b c d e") == "[CLS] f g [SEP] a b c [SEP]"
    with pytest.raises(ConfigError, match="leaves no room"):
        spelled(Framing(tokenizer("bert"), 4), "a", "b")


def test_pairs_of_roberta_are_those_of_transformers(tmp_path: Path) -> None:
    """The same ids, whole and cut, and no segment but the first."""
    pairs = [("a quiet, lovely film", "no film"), ("é", "☃ in a long, long text"), ("one", "two")]
    library = ByteLevelBPETokenizer()
    marks = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    library.train_from_iterator([text for pair in pairs for text in pair] * 3, 300, special_tokens=marks)
    library.save_model(str(tmp_path))
    merges = [tuple(line.split()) for line in (tmp_path / "merges.txt").read_text().splitlines()[1:]]
    theirs = RobertaTokenizerFast(vocab=library.get_vocab(), merges=merges)
    theirs.save_pretrained(tmp_path)
    ours = load_tokenizer(tmp_path / "tokenizer.json")
    for length in (60, 12):
        framing = Framing(ours, length)
        for pair in pairs:
            expected = theirs(*pair, truncation="longest_first", max_length=length)["input_ids"]
            reading = framing.frame(*framing.encode(pair))
            assert reading.tokens.tolist() == expected
            batch = collate([Row(0, (reading,), None)], ours.specials)
            assert batch.inputs.segments is None
            alone = theirs(pair[0], truncation=True, max_length=length)["input_ids"]
            assert framing.frame(*framing.encode(pair[:1])).tokens.tolist() == alone


@given(st.integers(0, 30), st.integers(0, 30), st.integers(2, 40))
def test_the_longer_text_loses(first: int, second: int, room: int) -> None:
    """Token by token from the longer one, of equals from the second, as BERT's code does (_truncate_seq_pair)."""
    found = sizes([np.zeros(first), np.zeros(second)], room)
    lengths = [first, second]
    while sum(lengths) > room:
        lengths[0 if lengths[0] > lengths[1] else 1] -= 1
    assert found == lengths


def rows(count: int = 23) -> list[Row]:
    return [Row(i, (Reading(np.arange(1, 3 + i % 7)),), np.array(i)) for i in range(count)]


SPECIALS = tokenizer("bert").specials


@pytest.mark.parametrize("config", [ExamplesConfig(batch=4), ExamplesConfig(tokens=20)])
def test_batches_are_a_function_of_seed_and_number(config: ExamplesConfig) -> None:
    one, other = (config.arrange(rows(), SPECIALS, seed=3) for _ in range(2))
    count = len(one) + one.size(1)
    torch.manual_seed(5)
    for k in reversed(range(count)):
        assert_same(one[k], other[k])
    orders = [torch.cat([one[k].labels for k in part]).tolist() for part in (range(len(one)), range(len(one), count))]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(23))
    assert orders[0] != orders[1]
    assert torch.cat([config.arrange(rows(), SPECIALS, 4)[k].labels for k in range(len(one))]).tolist() != orders[0]
    sizes = [one[k].targets.shape for k in range(len(one))]
    assert all(b <= 4 for b, _ in sizes) if config.tokens is None else all(b * t <= 20 for b, t in sizes)


def test_reading_once_goes_from_long_to_short() -> None:
    lengths = np.array([3, 9, 5, 1, 9])
    groups = [group.tolist() for group in by_length(lengths, 10)]
    assert groups == [[1], [4], [2, 0], [3]]


def test_padding_is_no_target() -> None:
    readings = [
        (Reading(np.array([5, 6, 7]), 2), Reading(np.array([8, 9]))),
        (Reading(np.array([4])), Reading(np.array([3]))),
    ]
    batch = collate([Row(i, pair, None) for i, pair in enumerate(readings)], SPECIALS)
    pad = SPECIALS.padding
    assert batch.inputs.tokens.tolist() == [[[5, 6, 7], [8, 9, pad]], [[4, pad, pad], [3, pad, pad]]]
    assert batch.inputs.lengths.tolist() == [[3, 2], [1, 1]]
    assert batch.inputs.segments.tolist() == [[[0, 0, 1], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]]]
    assert batch.targets.tolist() == [[[6, 7, -100], [9, -100, -100]], [[-100] * 3, [-100] * 3]]
    assert batch.labels is None and batch.tokens == 7


def test_labels_of_places_are_padded() -> None:
    found = collate(
        [Row(0, (Reading(np.arange(3)),), np.array([1, 2, 0])), Row(1, (Reading(np.arange(2)),), np.array([4, -100]))],
        SPECIALS,
    )
    assert found.labels.tolist() == [[1, 2, 0], [4, -100, -100]]


def test_balanced_epochs_have_as_many_of_each_class_and_leave_none_out() -> None:
    classes = np.array([0] * 90 + [1] * 9 + [2])
    epochs = [balanced(classes, 3, epoch) for epoch in range(3)]
    for drawn in epochs:
        assert np.bincount(classes[drawn]).tolist() == [34, 34, 34]
    assert set(np.concatenate(epochs)) == set(range(100))  # 3 x 34 draws cover 90 texts
    rare = np.bincount(np.concatenate(epochs), minlength=100)[90:99]
    assert rare.max() - rare.min() <= 1
    assert np.array_equal(epochs[1], balanced(classes, 3, 1)) and not np.array_equal(epochs[1], balanced(classes, 4, 1))


def test_balanced_batches_are_those_rows() -> None:
    rows = [Row(i, (Reading(np.arange(2 + i % 3)),), np.array(min(i % 8, 1))) for i in range(24)]
    batches = ExamplesConfig(batch=4, sampling="balanced").arrange(rows, ByteConfig().train([]).specials, 1)
    labels = np.concatenate([batches[k].labels.numpy() for k in range(batches.size(0))])
    assert np.bincount(labels).tolist() == [12, 12]
    with pytest.raises(ConfigError, match="one class each"):
        scores = [Row(0, rows[0].readings, np.array(0.5))]
        ExamplesConfig(sampling="balanced").arrange(scores, ByteConfig().train([]).specials, 1)
