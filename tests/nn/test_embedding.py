"""Embeddings: vectors by token, of full width and in bands."""

import numpy as np
import pytest
import torch
from builders import assert_same

from foretell.nn.embedding import AdaptiveEmbedding, AdaptiveEmbeddingConfig, TableConfig
from foretell.nn.frequency_bands import Bands

VOCABULARY, WIDTH = 13, 8
COUNTS = np.array([7, 0, 90, 3, 3, 1, 250, 12, 3, 40, 0, 5, 30])


def test_a_table_is_a_one_hot_product() -> None:
    torch.manual_seed(0)
    embedding = TableConfig().build(VOCABULARY, WIDTH, COUNTS, init_range=0.3)
    tokens = torch.randint(VOCABULARY, (4, 6))
    hot = torch.nn.functional.one_hot(tokens, VOCABULARY).float()
    assert_same(embedding(tokens), hot @ embedding.weight, 1e-6)
    weight = embedding.weight.detach()
    assert 0.25 < float(weight.abs().max()) <= 0.3 and abs(float(weight.mean())) < 0.06
    assert {name: list(rows) for name, rows in embedding.token_rows().items()} == {"table.weight": list(range(13))}


def test_word_vectors_are_rows_of_their_bands_projected() -> None:
    torch.manual_seed(0)
    embedding = AdaptiveEmbeddingConfig(cutoffs=(3, 6), divide=2).build(VOCABULARY, WIDTH, COUNTS).double()
    assert [tuple(table.shape) for table in embedding.words.tables] == [(3, 8), (3, 4), (7, 2)]
    tokens = torch.tensor([[6, 1, 0], [12, 12, 10]])
    order = sorted(range(VOCABULARY), key=lambda token: (-COUNTS[token], token))
    for token, vector in zip(tokens.flatten().tolist(), embedding(tokens).flatten(0, 1), strict=True):
        place = order.index(token)
        band = (place >= 3) + (place >= 6)
        row = embedding.words.tables[band][place - (0, 3, 6)[band]]
        assert_same(vector, embedding.words.projections[band] @ row, 1e-12)


@pytest.mark.parametrize("cutoffs", [(), (1,), (3, 6), tuple(range(1, VOCABULARY))], ids=str)
@pytest.mark.parametrize("tokens", [[[6, 6, 6]], [[1], [10]], [[]]], ids=str)
def test_bands_without_a_token_are_no_problem(cutoffs: tuple[int, ...], tokens: list[list[int]]) -> None:
    embedding = AdaptiveEmbedding(Bands(VOCABULARY, COUNTS, cutoffs), WIDTH, divide=2).double()
    given = torch.tensor(tokens, dtype=torch.int64)
    vectors = embedding(given)
    assert vectors.shape == (*given.shape, WIDTH)
    every = embedding(torch.arange(VOCABULARY)[None])[0]
    assert_same(vectors, every[given], 1e-12)
    vectors.square().sum().backward()


def test_dropped_words_are_zero_in_all_their_places() -> None:
    torch.manual_seed(0)
    embedding = AdaptiveEmbeddingConfig(cutoffs=(3, 6), divide=2).build(VOCABULARY, WIDTH, COUNTS, dropout=0.5)
    tokens = torch.arange(VOCABULARY).repeat(3, 4)
    dropped, whole = embedding(tokens), embedding.eval()(tokens)
    gone = (dropped == 0).all(-1)
    for token in range(VOCABULARY):
        assert len(gone[tokens == token].unique()) == 1
    assert 0 < int(gone.sum()) < gone.numel()
    assert_same(dropped[~gone], 2 * whole[~gone], 1e-6)
