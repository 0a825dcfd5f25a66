"""Sums between two records, against weighted means."""

import math

import numpy as np
import pytest
import torch

from foretell.training.log_sums import LogSums

LOSSES, TOKENS = [3.0, 1.0, 2.5], [10, 30, 5]
MEAN = float(np.average(LOSSES, weights=TOKENS))


def test_the_loss_is_the_mean_over_tokens() -> None:
    sums = LogSums()
    for loss, tokens in zip(LOSSES, TOKENS, strict=True):
        sums.add(torch.tensor(loss), tokens, {"loss": torch.tensor(loss * tokens)}, {"loss": tokens})
    assert sums.losses(4.0) == pytest.approx({"loss": MEAN, "bits_per_byte": MEAN / 4 / math.log(2)})
    assert sums.losses(None)["bits_per_byte"] is None
    assert sums.tokens == 45


def test_each_of_several_terms_is_a_mean_over_its_targets() -> None:
    """A term may come in later, and may have had no targets at all."""
    sums = LogSums()
    sums.add(torch.tensor(2.0), 8, {"mask": torch.tensor(6.0), "none": torch.tensor(0.0)}, {"mask": 3, "none": 0})
    sums.add(torch.tensor(1.0), 8, {"mask": torch.tensor(1.0), "pair": torch.tensor(4.0)}, {"mask": 1, "pair": 2})
    found = sums.losses(None)
    assert found == {"loss": 1.5, "bits_per_byte": None, "mask_loss": 7 / 4, "pair_loss": 2.0}


def test_what_is_kept_in_a_checkpoint_goes_on() -> None:
    one, sums = LogSums(), LogSums(seconds=1.5)
    for step in range(4):
        for each in (one, sums):
            each.add(
                torch.tensor(step / 3), 7, {"a": torch.tensor(1.0 * step), "b": torch.tensor(2.0)}, {"a": 2, "b": 1}
            )
        sums = LogSums(**sums.state_dict())
        assert all(isinstance(value, float) for value in (sums.loss, *sums.terms.values()))
    assert sums.losses(2.0) == pytest.approx(one.losses(2.0))
    assert (sums.seconds, sums.counts) == (1.5, {"a": 8, "b": 4})
