"""Tasks on one vector of a text or a pair."""

import pytest
import torch
from builders import assert_same, small

from foretell.data.batches.framing import Framing
from foretell.data.labelled.examples import Labelled
from foretell.data.tokenizers.kinds import WordConfig
from foretell.models.model_spec import ModelSpec
from foretell.models.recurrent import RecurrentConfig
from foretell.nn.heads import FullHeadConfig
from foretell.nn.pooling import ConcatConfig, MeanConfig, PoolingConfig
from foretell.tasks.pooled import Pooled
from foretell.tasks.similarity import SimilarityConfig
from foretell.types import Inputs

FRAMING = Framing(WordConfig(specials="bert").train(["a b c d e\n"]), length=9)


def words(text: str) -> list[int]:
    return FRAMING.encode([text])[0].tolist()


def test_pairs_are_read_in_one_row_in_both_orders_or_apart() -> None:
    examples = [Labelled(("a b", "c"), None), Labelled(("d", "e e"), None)]
    begin, (between,), end = FRAMING.marks
    given = SimilarityConfig().readings(examples, FRAMING)
    both = SimilarityConfig(pairs="both-orders").readings(examples, FRAMING)
    apart = SimilarityConfig(pairs="apart").readings(examples, FRAMING)
    for example, one, two, alone in zip(examples, given, both, apart, strict=True):
        first, second = map(words, example.texts)
        forward = [begin, *first, between, *second, end]
        assert [reading.tokens.tolist() for reading in one] == [forward]
        assert [reading.tokens.tolist() for reading in two] == [forward, [begin, *second, between, *first, end]]
        assert [reading.tokens.tolist() for reading in alone] == [[begin, *first, end], [begin, *second, end]]
    single = SimilarityConfig().readings([Labelled(("a b",), None)], FRAMING)
    assert single[0][0].tokens.tolist() == [begin, *words("a b"), end]


@pytest.mark.parametrize(
    ("texts", "pairs", "fault"),
    [
        (("a",), "joined", ""),
        (("a", "b"), "both-orders", ""),
        (("a",), "both-orders", 'one text, and objective.pairs = "both-orders" takes two; leave that out'),
        (("a",), "apart", 'one text, and objective.pairs = "apart" takes two; leave that out'),
        ((), "joined", "0 texts, where one or two are read"),
        (("a", "b", "c"), "joined", "3 texts, where one or two are read"),
        (("a", " "), "joined", "an empty text"),
    ],
)
def test_texts_that_are_not_read(texts: tuple[str, ...], pairs: str, fault: str) -> None:
    assert SimilarityConfig(pairs=pairs).example_fault(Labelled(texts, 1.0), ("0.0", "1.0")) == fault


def test_a_line_is_a_text_or_two() -> None:
    task = SimilarityConfig()
    assert task.parse_line("a b", "-:1") == Labelled(("a b",), None)
    assert task.parse_line("a\tb", "-:2").texts == ("a", "b")
    assert task.parse_line("a\tb", "-:2").where == "-:2"


@pytest.mark.parametrize("pooling", [MeanConfig(), MeanConfig(dense=True), ConcatConfig()], ids=repr)
def test_vectors_are_pooled_reading_by_reading(pooling: PoolingConfig) -> None:
    torch.manual_seed(0)
    spec = ModelSpec(small(RecurrentConfig), FullHeadConfig(), vocabulary=11)
    task = SimilarityConfig(pooling=pooling).build(spec)
    assert isinstance(task, Pooled)
    width = task.backbone.dim
    tokens, lengths = torch.zeros(3, 2, 5, dtype=torch.int64), torch.tensor([[5, 1], [2, 3], [4, 5]])
    vectors = torch.randn(6, 5, width)
    found = task.pooled(vectors, Inputs(tokens=tokens, lengths=lengths))
    assert found.shape == (3, 2, width * pooling.times)
    for b in range(3):
        for n in range(2):
            alone = pooling.pool(vectors[2 * b + n, None, : int(lengths[b, n])], None)
            if pooling.dense:
                alone = torch.tanh(alone @ task.pooler.weight.T + task.pooler.bias)
            assert_same(found[b, n], alone[0], 1e-6)
