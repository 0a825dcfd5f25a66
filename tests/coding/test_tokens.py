"""Any token can be coded, at its probability; decoding reads what encoding read."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from foretell.coding.range_coder import TOTAL
from foretell.coding.tokens import StepwiseCoder, one_thread, quantised
from foretell.errors import ConfigError
from foretell.types import no_progress

CPU = torch.device("cpu")


class Bigram:
    """Predicts by the last token; remembers what it was given."""

    def __init__(self, logp: Tensor) -> None:
        self.logp, self.read = logp, list[tuple[list[list[int]], bool]]()

    def begin(self, rows: int, tokens: int) -> Any:
        return None

    def next(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        self.read.append((tokens.tolist(), state is None))
        return self.logp[tokens[:, -1]], torch.zeros(1)


def test_frequencies_are_the_probabilities_and_never_0() -> None:
    logp = torch.log_softmax(5 * torch.randn(50_000, generator=torch.Generator().manual_seed(1)), 0)
    logp[7] = -math.inf
    frequencies = quantised(logp)
    assert frequencies.min() == 1 == frequencies[7] and TOTAL - 50_001 <= frequencies.sum() <= TOTAL
    p = logp.double().exp().numpy()
    lost = float(p @ -np.log2(frequencies / TOTAL)) - float(p[p > 0] @ -np.log2(p[p > 0]))
    assert lost < 5e-5  # bits a token


def test_probabilities_that_do_not_sum_to_1_are_scaled_and_nan_refused() -> None:
    assert quantised(torch.log(torch.tensor([0.5, 0.5, 0.5]))).tolist() == [TOTAL // 3] * 3
    with pytest.raises(ConfigError, match="not numbers"):
        quantised(torch.tensor([math.nan, 0.0]))


def test_a_message_has_the_bits_of_its_tokens_and_comes_back() -> None:
    generator = torch.Generator().manual_seed(2)
    bigram = Bigram(torch.log_softmax(3 * torch.randn(20, 20, generator=generator), -1))
    tokens = torch.randint(20, (500,), generator=generator).numpy().astype(np.uint16)
    coder = StepwiseCoder(bigram, 4, CPU)
    message = coder.encode(tokens, no_progress)
    bits = -float(bigram.logp.double()[[4, *tokens[:-1].tolist()], tokens.tolist()].sum()) / math.log(2)
    assert abs(8 * len(message) - bits) < 16
    read, bigram.read = bigram.read, []
    np.testing.assert_array_equal(coder.decode(message, 500, no_progress), tokens)
    assert bigram.read == read


def test_a_model_of_lines_starts_afresh_after_each() -> None:
    bigram = Bigram(torch.zeros(5, 5).log_softmax(-1))
    ends = np.array([False, False, True, False, False])
    coder = StepwiseCoder(bigram, 0, CPU, ends)
    message = coder.encode(np.array([1, 2, 3, 2, 4], np.uint16), no_progress)
    assert bigram.read == [([[0]], True), ([[1]], False), ([[0]], True), ([[3]], False), ([[0]], True)]
    assert coder.decode(message, 5, no_progress).tolist() == [1, 2, 3, 2, 4]


def test_threads_are_as_before() -> None:
    before = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
