"""Guessing hidden tokens and judging pairs: the sums by hand, what is seen and what is not."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from builders import ATTENDING, ragged_batch, small, trainer_of

from foretell.config import Config
from foretell.data.batches.packing import SegmentPairConfig
from foretell.errors import ConfigError
from foretell.models.model_spec import ModelSpec
from foretell.models.recurrent import RecurrentConfig
from foretell.models.transformer import TransformerConfig
from foretell.nn.heads import AdaptiveHeadConfig, FullHeadConfig
from foretell.objectives.masked import MaskedConfig, MaskedLM, gather_targets
from foretell.recipe.loading import load_recipe
from foretell.types import IGNORED, Batch

VOCABULARY = 23
BACKBONES: dict[str, Config] = {
    "recurrent": small(RecurrentConfig, direction="both"),
    **{
        name: small(TransformerConfig, **{"embedding_dim": None} | settings)
        for name, settings in ATTENDING.items()
        if settings.get("direction") == "both"
    },
}
every_backbone = pytest.mark.parametrize("name", BACKBONES)


def built(name: str, labels: int = 2, head: Config | None = None, **settings: Any) -> MaskedLM:
    torch.manual_seed(0)
    return MaskedConfig(**settings).build(
        ModelSpec(BACKBONES[name], head or FullHeadConfig(), VOCABULARY, pair_kinds=labels)
    )


def rows(lengths: tuple[int, ...] = (6, 2, 5), share: float = 0.4) -> Batch:
    """Labelled rows with some targets, one of them without any."""
    batch = ragged_batch(VOCABULARY, lengths)
    random = torch.Generator().manual_seed(1)
    hidden = torch.rand(batch.targets.shape, generator=random) > share
    hidden[1] = True
    targets = batch.targets.masked_fill(hidden, IGNORED)
    count = (targets != IGNORED).sum(1)
    places = torch.full((len(targets), int(count.max())), -1)
    for row, target in enumerate(targets):
        places[row, : count[row]] = (target != IGNORED).nonzero()[:, 0]
    return replace(batch, targets=targets, target_positions=places, labels=torch.tensor([1, IGNORED, 0]))


@every_backbone
def test_terms_by_hand(name: str) -> None:
    objective, batch = built(name, pair_weight=0.5).double().eval().requires_grad_(False), rows()
    step = objective(batch, None)
    hidden = objective.backbone(batch.inputs, None).last
    masked = correct = 0.0
    for row, t in (batch.targets != IGNORED).nonzero().tolist():
        log_probs = objective.head.log_probs(hidden[row, t])
        masked -= float(log_probs[batch.targets[row, t]])
        correct += int(log_probs.argmax()) == int(batch.targets[row, t])
    assert float(step.terms["masked"].total) == pytest.approx(masked)
    assert int(step.metrics["masked"]) == correct
    scores = objective.pair(torch.tanh(objective.pooler(hidden[[0, 2], 0])))
    assert float(step.terms["pair"].total) == pytest.approx(float(F.cross_entropy(scores, torch.tensor([1, 0])) * 2))
    assert step.terms["pair"].weight == 0.5
    assert objective.counts(batch) == {"masked": int((batch.targets != IGNORED).sum()), "pair": 2}


@every_backbone
@pytest.mark.parametrize("parts", [2, 3])
def test_micro_batches_are_one_batch(name: str, parts: int) -> None:
    """Two terms with counts of their own, of which a part may have nothing."""
    found = []
    for micro in (1, parts):
        objective, batch = built(name).double(), rows()
        trainer = trainer_of(objective, micro_batches=micro)
        loss, terms, _ = trainer.backward(batch, None, objective.counts(batch))
        found.append((loss, {n: p.grad for n, p in objective.named_parameters() if p.grad is not None}, terms))
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-9)
    loss, gradients, terms = found[0]
    counts = objective.counts(batch)
    assert float(loss) == pytest.approx(float(terms["masked"] / counts["masked"] + terms["pair"] / counts["pair"]))
    assert {"pooler.weight", "pair.bias"} <= gradients.keys()


@pytest.mark.parametrize("labels", [0, 2])
def test_weights_of_zero_guess_blindly(labels: int) -> None:
    objective, batch = built("recurrent", labels, pair_weight=0.5), rows()
    for parameter in objective.parameters():
        parameter.data.zero_()
    loss, *_ = trainer_of(objective).backward(batch, None, objective.counts(batch))
    assert float(loss) == pytest.approx(objective.uniform_loss())


def test_places_and_targets_say_the_same() -> None:
    """Where counting would wait for the device, the places are taken instead: more of them, the same losses."""
    batch = rows()
    vectors = torch.randn(3, 6, 4)
    here, targets = gather_targets(vectors, batch)

    class Elsewhere:
        """Targets that say they are on another device."""

        device = torch.device("cuda")

        def gather(self, *arguments: Any) -> torch.Tensor:
            return batch.targets.gather(*arguments)

        shape = batch.targets.shape

    there, padded = gather_targets(vectors, replace(batch, targets=Elsewhere()))
    assert torch.equal(there[padded != IGNORED], here)
    assert torch.equal(padded[padded != IGNORED], targets)
    assert len(padded) == batch.target_positions.numel()


@every_backbone
def test_both_sides_are_seen_and_padding_is_not(name: str) -> None:
    objective, batch = built(name).double().eval().requires_grad_(False), rows((6, 4, 5))
    one = replace(batch, targets=torch.full_like(batch.targets, IGNORED))
    one.targets[1, 2] = 5

    def loss(tokens: torch.Tensor) -> float:
        return float(objective(replace(one, inputs=replace(one.inputs, tokens=tokens)), None).terms["masked"].total)

    tokens = one.inputs.tokens
    first = loss(tokens)
    for place in (0, 1, 3):  # before it and behind it
        assert loss(changed(tokens, 1, place)) != first
    for row, place in ((1, 4), (1, 5), (0, 2), (2, 2)):  # padding, other rows
        assert loss(changed(tokens, row, place)) == first


def changed(tokens: torch.Tensor, row: int, place: int) -> torch.Tensor:
    other = tokens.clone()
    other[row, place] = (other[row, place] + 1) % VOCABULARY
    return other


def test_heads_that_are_no_softmax_work_too() -> None:
    objective = built("bert", head=AdaptiveHeadConfig(cutoffs=(5,))).requires_grad_(False)
    assert float(objective(rows(), None).terms["masked"].total) > 0


def test_without_pairs_there_is_no_judge_of_pairs() -> None:
    objective = built("bert", labels=0)
    assert not any(name.startswith(("pooler", "pair")) for name, _ in objective.named_parameters())
    assert objective(rows(), None).terms.keys() == objective.counts(rows()).keys() == {"masked"}


def test_a_batch_without_targets_is_a_step_all_the_same() -> None:
    objective, batch = built("bert").requires_grad_(False), rows()
    none = replace(
        batch, targets=torch.full_like(batch.targets, IGNORED), target_positions=torch.zeros(3, 0, dtype=torch.int64)
    )
    assert objective.counts(none)["masked"] == 0
    assert float(objective(none, None).terms["masked"].total) == 0


@pytest.mark.parametrize(
    ("model", "expected"),
    [(small(RecurrentConfig), "bidirectional"), (small(TransformerConfig, embedding_dim=None), "bidirectional")],
    ids=["recurrent", "transformer"],
)
def test_models_that_read_one_way_are_refused(model: Config, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        MaskedConfig().build(ModelSpec(model, FullHeadConfig(), VOCABULARY))


ROWS = {"kind": "full", "length": 16}
BOTH = {"kind": "recurrent", "direction": "both"}
BERT = {"kind": "bpe", "specials": "bert"}


# --- recipes --------------------------------------------------------------------------------------


def test_the_labels_of_a_recipe_make_the_judge_of_pairs() -> None:
    settings = {
        "objective": "masked",
        "model": BOTH,
        "data": {"tokenizer": BERT, "batches": SegmentPairConfig(pairs="sop").model_dump()},
    }
    with torch.device("meta"):
        assert load_recipe(settings).build(50).pair is not None
        assert load_recipe(settings, {"data.batches.pairs": "none"}).build(50).pair is None
