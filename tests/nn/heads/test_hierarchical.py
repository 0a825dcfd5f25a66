"""Trees and classes: the cheapest tree, paths that lead to their words, classes of equal shares."""

import heapq

import numpy as np
import pytest
import torch

from foretell.nn.heads.hierarchical import HierarchicalHeadConfig, HuffmanHead, class_cutoffs, huffman

WEIGHTS = np.array([5.0, 9.0, 12.0, 13.0, 16.0, 45.0])


def depths(parents: np.ndarray, leaves: int) -> list[int]:
    found = []
    for leaf in range(leaves):
        steps, node = 0, leaf
        while node < len(parents):
            node, steps = int(parents[node]), steps + 1
        found.append(steps)
    return found


def test_the_textbook_tree() -> None:
    """Cormen et al., Introduction to Algorithms, figure 16.5: code lengths 4 4 3 3 3 1."""
    assert depths(huffman(WEIGHTS), 6) == [4, 4, 3, 3, 3, 1]


@pytest.mark.parametrize("leaves", [2, 3, 10, 57])
def test_no_tree_has_less_expected_depth(leaves: int) -> None:
    """The sum of the weights of all inner nodes, by a heap."""
    weights = np.random.default_rng(leaves).random(leaves)
    heap, least = weights.tolist(), 0.0
    heapq.heapify(heap)
    while len(heap) > 1:
        both = heapq.heappop(heap) + heapq.heappop(heap)
        least += both
        heapq.heappush(heap, both)
    assert weights @ np.array(depths(huffman(weights), leaves)) == pytest.approx(least)


def test_a_word_is_the_product_of_its_decisions() -> None:
    torch.manual_seed(0)
    counts = np.array([3, 0, 8, 1, 20])
    head = HierarchicalHeadConfig().build(4, 5, None, counts).double().requires_grad_(False)
    assert isinstance(head, HuffmanHead)
    hidden = torch.randn(4, dtype=torch.float64)
    parents = huffman((counts + 1) / (counts + 1).sum())
    for word in range(5):
        probability, node = 1.0, word
        while node < len(parents):
            above = int(parents[node])
            left = torch.sigmoid(head.weight[above - 5] @ hidden + head.bias[above - 5])
            first = parents.tolist().index(above) == node  # of two children the first made goes by the sign -1
            probability, node = probability * (1 - left if first else left), above
        assert head.log_probs(hidden)[word].exp().item() == pytest.approx(float(probability), abs=1e-12)


def test_frequent_words_take_few_decisions() -> None:
    counts = (1e6 / np.arange(1, 1001)).astype(np.int64)
    head = HierarchicalHeadConfig().build(4, 1000, None, counts)
    lengths = head.starts.diff()
    assert lengths[0] <= 3 and lengths[-1] >= 10
    share = torch.from_numpy(counts / counts.sum())
    entropy = float(-(share * share.log2()).sum())
    assert entropy <= float((lengths * share).sum()) < entropy + 1  # Huffman's bound


@pytest.mark.parametrize("number", [1, 2, 7, 99, 100])
def test_classes_have_about_equal_sums_of_roots_and_none_is_empty(number: int) -> None:
    shares = 1 / np.arange(1.0, 101)
    cuts = (0, *class_cutoffs(shares, number), 100)
    assert len(cuts) == number + 1 and (np.diff(cuts) > 0).all()
    if number == 7:
        sums = np.add.reduceat(np.sqrt(shares), cuts[:-1])
        assert sums.max() < 1.5 * sums.mean()
