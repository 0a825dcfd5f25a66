"""Discriminators: losses and counts by hand, in double precision."""

import math
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from electra import VOCABULARY, compose, masked_batch, seen_by

from foretell.objectives.electra.discriminators import originals
from foretell.types import Inputs


@pytest.mark.parametrize("positions", ["all", "chosen"])
def test_discriminating_by_hand(positions: str) -> None:
    built, batch = compose(positions=positions).double().eval(), masked_batch()
    built.requires_grad_(False)
    step = built(batch, None)
    tokens = seen_by(built, batch)
    vectors = built.backbone(Inputs(tokens=tokens, lengths=batch.inputs.lengths), None).last
    total, right, number, pairs = 0.0, 0, 0, Counter[tuple[bool, bool]]()
    for row, length in enumerate(batch.inputs.lengths.tolist()):
        for place in range(length):
            if positions == "chosen" and batch.targets[row, place] == -100:
                continue
            inner = F.gelu(built.discriminator.dense(vectors[row, place]))
            score = float(built.discriminator.prediction(inner))
            replaced = bool(tokens[row, place] != originals(batch)[row, place])
            total += math.log1p(math.exp(-score if replaced else score))
            right += (score > 0) == replaced
            number += 1
            pairs[replaced, score > 0] += 1
    assert step.terms["replaced"].total.item() == pytest.approx(total, rel=1e-9)
    assert step.terms["replaced"].weight == 50
    assert step.metrics["replaced"] == right
    ratios = built.ratios({name: int(count) for name, count in step.metrics.items()}, built.counts(batch))
    assert ratios["replaced_accuracy"] == right / number
    assert ratios["replaced_precision"] == pairs[True, True] / (pairs[True, True] + pairs[False, True])
    assert ratios["replaced_recall"] == pairs[True, True] / (pairs[True, True] + pairs[True, False])
    assert built.counts(batch)["replaced"] == number
    assert positions == "chosen" or number == int(batch.inputs.lengths.sum())


@pytest.mark.parametrize("positions", ["all", "chosen"])
def test_telling_the_original(positions: str) -> None:
    """Replace MLM, and all-tokens MLM with D of its probability on the token that is there."""
    built, batch = compose(target="original", positions=positions).double().eval(), masked_batch()
    step, tokens = built(batch, None), seen_by(built, batch)
    vectors = built.backbone(Inputs(tokens=tokens, lengths=batch.inputs.lengths), None).last
    probabilities = built.head.log_probs(vectors).exp()  # [B, T, V]
    where = batch.targets != -100
    if positions == "all":
        copying = built.discriminator.copies(vectors).sigmoid()
        probabilities = copying * F.one_hot(tokens, VOCABULARY) + (1 - copying) * probabilities
        where = torch.arange(8) < batch.inputs.lengths[:, None]
    told, wanted = probabilities[where], originals(batch)[where]
    expected = -told.gather(1, wanted[:, None]).log().sum().item()
    assert step.terms["original"].total.item() == pytest.approx(expected, rel=1e-9)
    assert step.terms["original"].weight == 1
    assert step.metrics["original"] == (told.argmax(-1) == wanted).sum()
    assert built.counts(batch)["original"] == where.sum()
