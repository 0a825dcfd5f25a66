"""Pseudo-likelihood: each token masked alone, by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from builders import ATTENDING, SPECIALS, small

from foretell.data.batches.packing import DocConfig, FullConfig
from foretell.evaluate import pseudo_likelihood as pseudo
from foretell.evaluate.pseudo_likelihood import pseudo_likelihood
from foretell.models.model_spec import ModelSpec
from foretell.models.recurrent import RecurrentConfig
from foretell.models.transformer import TransformerConfig
from foretell.nn.heads import FullHeadConfig
from foretell.objectives.masked import MaskedConfig, MaskedLM
from foretell.types import Inputs

VOCABULARY = 23


def built(name: str) -> MaskedLM:
    torch.manual_seed(0)
    model = small(RecurrentConfig, direction="both")
    if name != "recurrent":
        model = small(TransformerConfig, **{"embedding_dim": None} | ATTENDING[name])
    return MaskedConfig().build(ModelSpec(model, FullHeadConfig(), VOCABULARY))


@pytest.mark.parametrize("name", ["recurrent", "bert"])
def test_pseudo_likelihood_by_hand(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each token of each row hidden alone, one after the other."""
    objective = built(name).double().eval().requires_grad_(False)
    specials = replace(SPECIALS, boundary=9, mask=1, begin=2, separator=3)

    class Text:
        tokens = np.array([4, 5, 6, 7, 9, 11, 12, 13, 14, 15, 9], np.uint16)
        documents = lines = np.array([0, 5, 11])

    rows = DocConfig(length=16).build(Text(), specials, 0)
    expected = []
    for text in ([4, 5, 6, 7], [11, 12, 13, 14, 15]):
        row = [2, *text, 3]
        for place in range(1, len(row) - 1):
            hidden = torch.tensor([row])
            hidden[0, place] = 1
            vector = objective.backbone(Inputs(tokens=hidden), None).last[0, place]
            expected.append(-float(objective.head.log_probs(vector)[row[place]]))
    for at_once in (1, 13, 1000):
        monkeypatch.setattr(pseudo, "TOKENS_AT_ONCE", at_once)
        found = pseudo_likelihood(objective, rows, specials, 1000, torch.device("cpu"))
        assert found["pseudo_loss"] == pytest.approx(np.mean(expected), abs=1e-6)
        assert found["pseudo_perplexity"] == pytest.approx(np.exp(np.mean(expected)), rel=1e-6)
        assert (found["pseudo_tokens"], found["pseudo_rows"]) == (9, 2)
    assert pseudo_likelihood(objective, rows, specials, 3, torch.device("cpu"))["pseudo_tokens"] == 3


def test_pseudo_likelihood_does_not_look_into_other_documents() -> None:
    """Documents that share a row are guessed as if each had a row of its own."""
    objective = built("bert").double().eval().requires_grad_(False)
    specials = replace(SPECIALS, boundary=9, mask=1, begin=2, separator=3)

    class Text:
        tokens = np.array([4, 5, 6, 7, 9, 11, 12, 13, 14, 15, 9], np.uint16)
        documents = lines = np.array([0, 5, 11])

    rows = FullConfig(length=16, documents="apart").build(Text(), specials, 0)
    expected = []
    for part in ([2, 4, 5, 6, 7, 9], [11, 12, 13, 14, 15, 3]):
        for place, token in enumerate(part):
            if token not in specials.marks:
                hidden = torch.tensor([part])
                hidden[0, place] = 1
                vector = objective.backbone(Inputs(tokens=hidden), None).last[0, place]
                expected.append(-float(objective.head.log_probs(vector)[token]))
    found = pseudo_likelihood(objective, rows, specials, 1000, torch.device("cpu"))
    assert (found["pseudo_tokens"], found["pseudo_rows"]) == (9, 1)
    assert found["pseudo_loss"] == pytest.approx(np.mean(expected), abs=1e-6)
