"""The plain reference is a probability distribution, and starts from the values that its settings give."""

import math
import pickle

import pytest

from foretell.models.context_mixing import contexts, selectors
from foretell.models.context_mixing.reference import Reference

CODES, MIXERS = [context.code for context in contexts.ALL], [mixer.code for mixer in selectors.ALL]


def test_the_first_bit_follows_from_the_bias_alone() -> None:
    logit = 0.12 * 0.3  # the start weight times the bias input, averaged over the mixers
    p = 1 / (1 + math.exp(-logit))
    place = (logit + 8) * 2
    low, part = int(place), place - int(place)
    bins = [1 / (1 + math.exp(-(k - 16) / 2)) for k in (low, low + 1)]
    corrected = bins[0] * (1 - part) + bins[1] * part
    found, _ = Reference(CODES, MIXERS, (5,)).predict(Reference(CODES, MIXERS, (5,)).values(), 1, 0)
    assert found == pytest.approx(p / 2 + corrected / 2, abs=1e-12)


def test_probabilities_of_all_tokens_sum_to_one() -> None:
    model = Reference(CODES, MIXERS, (5, 12))
    for token in [*(b + 1 for b in b"abracadabra, abracadabra"), 0, *(b + 1 for b in b"abra")]:
        model.score(token)
    frozen = pickle.dumps(model)  # many times as fast to copy
    total = sum(math.exp(pickle.loads(frozen).score(token)) for token in range(257))
    assert total == pytest.approx(1, abs=1e-9)


def test_what_was_read_becomes_likely() -> None:
    model = Reference(CODES, MIXERS, (5,))
    first = [model.score(b + 1) for b in b"abcdefgh" * 8]
    assert sum(first[-8:]) > -2 and sum(first[:8]) < -30
