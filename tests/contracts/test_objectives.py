"""Every objective with every model: it learns, counts its targets, and adds up exactly over micro-batches."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import (
    assert_same,
    leaves,
    members,
    name_of,
    ragged_batch,
    small,
    small_models,
    trainer_of,
    write_corpus,
)
from outside import CosineHeadConfig, PairsConfig, TwofoldConfig
from torch import Tensor

import foretell
from foretell.config import Config
from foretell.errors import ConfigError
from foretell.models.kinds import BackboneChoice
from foretell.models.model_spec import ModelSpec
from foretell.nn.heads import FullHeadConfig, HeadChoice
from foretell.objectives.causal import CausalConfig
from foretell.objectives.electra.objective import ReplacedConfig
from foretell.objectives.kinds import ObjectiveChoice
from foretell.objectives.objective import Objective
from foretell.objectives.penalties import PenaltyChoice
from foretell.recipe.loading import load_recipe
from foretell.training.seeds import step_seed
from foretell.types import Batch, Inputs, detach

VOCABULARY = 11
OUTSIDE_MODEL, OUTSIDE_HEAD, OUTSIDE_OBJECTIVE = PairsConfig(), CosineHeadConfig(), TwofoldConfig()
MODELS = [*small_models(BackboneChoice), OUTSIDE_MODEL]
BOTH_SIDES = [*small_models(BackboneChoice, direction="both"), PairsConfig(reads=("bidirectional", "lengths"))]
HEADS = [*map(small, members(HeadChoice)), OUTSIDE_HEAD]
TWO_MODELS = small(ReplacedConfig, generator={"hidden_share": 1.0})  # a quarter of a width of 4 learns nothing
ONE_MODEL = [small(member) for member in members(ObjectiveChoice) if member is not ReplacedConfig]
OBJECTIVES = [*ONE_MODEL, TWO_MODELS, OUTSIDE_OBJECTIVE]
LABELS = 2
"""kinds of pairs that rows are labelled with, for objectives that read rows"""


def compose(model: Config, head: Config, objective: Config) -> Objective:
    torch.manual_seed(0)
    return objective.build(ModelSpec(model, head, VOCABULARY, pair_kinds=LABELS if reads_rows(objective) else 0))


def reads_rows(objective: Config) -> bool:
    """Whether it hides tokens of rows, or predicts next ones."""
    return getattr(objective, "requires", "next tokens") == "rows"


def models_for(objective: Config) -> list[Config]:
    """Those that read what it needs."""
    return BOTH_SIDES if reads_rows(objective) else MODELS


def batch_for(objective: Config, lengths: Iterable[int] = (6, 2, 0, 5)) -> Batch:
    """Random rows, with labels and numbers to draw by where that is of use."""
    batch = ragged_batch(VOCABULARY, lengths)
    labels = torch.arange(len(batch.targets)) % LABELS
    noise = torch.rand(batch.targets.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    return replace(batch, labels=labels, noise=noise) if reads_rows(objective) else batch


every_objective = pytest.mark.parametrize("objective", OBJECTIVES, ids=name_of)
COMBINATIONS = [
    (model, head, objective)
    for shift, objective in enumerate(OBJECTIVES)
    for place, model in enumerate(models_for(objective))
    for number, head in enumerate(HEADS)
    if isinstance(objective, CausalConfig) or number == (place + shift) % len(HEADS)
]
"""Every pair of two parts: every model with every head under one objective, and under the others each with some."""
USUAL = [(model, HEADS[place % len(HEADS)]) for place, model in enumerate(MODELS)]
"""of that one objective; its other pairs are slow"""


def combination(parts: tuple[Config, Config, Config]) -> Any:
    """The parameter of a test."""
    fast = not isinstance(parts[2], CausalConfig) or parts[:2] in USUAL
    return pytest.param(parts, id="+".join(map(name_of, parts)), marks=() if fast else pytest.mark.slow)


OF_TWO_MODELS = [parts for parts in COMBINATIONS if isinstance(parts[2], ReplacedConfig)]
every_combination_of_one_model, every_combination_of_two_models = (
    pytest.mark.parametrize("parts", [*map(combination, combinations)])
    for combinations in ([parts for parts in COMBINATIONS if parts not in OF_TWO_MODELS], OF_TWO_MODELS)
)


@every_objective
def test_every_part_is_there(objective: Config) -> None:
    found = [(model, head) for model, head, under in COMBINATIONS if under is objective]
    for mine, every in zip(zip(*found, strict=True), (models_for(objective), HEADS), strict=True):
        assert all(part in mine for part in every)


@every_combination_of_one_model
def test_ten_steps_lower_the_loss(parts: tuple[Config, Config, Config]) -> None:
    objective, batch = compose(*parts), batch_for(parts[2])
    trainer, counts = trainer_of(objective), objective.counts(batch)
    assert_ten_steps_help(objective, lambda: trainer.backward(batch, None, counts)[0])


@every_combination_of_two_models
def test_ten_steps_lower_the_loss_of_the_generator(parts: tuple[Config, Config, Config]) -> None:
    objective, batch = compose(*parts), batch_for(parts[2])

    def step() -> Tensor:
        loss = objective(batch, None).terms["masked"].total
        loss.backward()
        return loss.detach()

    assert_ten_steps_help(objective, step)


@pytest.mark.parametrize("model", BOTH_SIDES, ids=name_of)
def test_ten_steps_tell_replaced_tokens_while_the_generator_stands_still(model: Config) -> None:
    objective, batch = compose(model, HEADS[0], TWO_MODELS), batch_for(TWO_MODELS)
    objective.generator.requires_grad_(False)  # its embeddings, which are both models', too
    trainer, counts = trainer_of(objective), objective.counts(batch)
    assert_ten_steps_help(objective, lambda: trainer.backward(batch, None, counts)[0])


def assert_ten_steps_help(objective: Objective, step: Callable[[], Tensor]) -> None:
    """The loss that `step` adds the gradients of and returns falls to less than nine tenths."""
    optimizer = torch.optim.Adam([p for p in objective.parameters() if p.requires_grad], lr=0.05)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        losses.append(float(step()))
        optimizer.step()
    assert losses[-1] < 0.9 * losses[0]


@every_objective
def test_counts_are_the_targets_there_are(objective: Config) -> None:
    built = compose(models_for(objective)[0], HEADS[0], objective)
    counts = dict(built.counts(batch_for(objective, (6, 2, 0, 5))))
    assert counts.pop("pair", 4) == 4
    assert set(counts.values()) == {13}


@every_objective
def test_terms_are_sums_over_targets(objective: Config) -> None:
    """A row twice is twice the total, whatever the padding beside it."""
    built = compose(models_for(objective)[0], HEADS[0], objective).double()
    once = batch_for(objective, (6, 2))
    tokens, targets, lengths = (torch.cat([part, part]) for part in rows(once))
    labels, noise = (None if part is None else torch.cat([part, part]) for part in (once.labels, once.noise))
    doubled = Batch(Inputs(tokens, lengths=lengths), targets, labels, noise=noise)
    single, double = built(once, None), built(doubled, None)
    assert single.terms.keys() == double.terms.keys() == built.counts(once).keys()
    for name, term in single.terms.items():
        assert_same(double.terms[name].total, 2 * term.total, 1e-9)


def rows(batch: foretell.types.Batch) -> list[torch.Tensor]:
    return [batch.inputs.tokens, batch.targets, batch.inputs.lengths]


def with_penalties(objective: Config) -> Config:
    if "penalties" not in type(objective).model_fields:
        return objective
    every = tuple(member() for member in members(PenaltyChoice))
    return objective.model_copy(update={"penalties": every})


@every_objective
@pytest.mark.parametrize("lengths", [(6, 2, 0, 5), (4, 4, 4, 4, 4)], ids=str)
@pytest.mark.parametrize("parts", [2, 3, 4])
def test_micro_batches_are_one_batch(objective: Config, lengths: tuple[int, ...], parts: int) -> None:
    results = []
    for micro in (1, parts):
        built = compose(models_for(objective)[0], HEADS[0], with_penalties(objective)).train()
        batch = batch_for(objective, lengths)
        state = None if reads_rows(objective) else detach(built.backbone(batch.inputs, None).state)
        trainer = trainer_of(built, micro_batches=micro)
        loss, _, after = trainer.backward(batch, state, built.counts(batch))
        assert all(len(part) == len(lengths) for part in leaves(after))
        assert not any(part.requires_grad for part in leaves(after))
        gradients = {name: p.grad for name, p in built.named_parameters() if p.grad is not None}
        results.append((loss, after, gradients))
    assert results[0][2]
    assert_same(results[1], results[0], 2e-7 * max(float(results[0][0]), 5.0))


def test_micro_batches_are_really_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    built = compose(MODELS[0], HEADS[0], CausalConfig())
    seen = []
    built.register_forward_pre_hook(lambda module, given: seen.append(len(given[0].targets)))
    batch = ragged_batch(VOCABULARY, (4, 4, 4, 4, 4))
    trainer_of(built, micro_batches=2).backward(batch, None, built.counts(batch))
    assert seen == [3, 2]


def test_penalties_are_not_part_of_the_loss() -> None:
    batch = ragged_batch(VOCABULARY)
    losses, gradients = [], []
    for objective in (CausalConfig(), with_penalties(CausalConfig())):
        built = compose(MODELS[0], HEADS[0], objective)
        losses.append(trainer_of(built).backward(batch, None, built.counts(batch))[0])
        gradients.append(built.head.weight.grad.clone())
        gradients.append(built.backbone.blocks[-1].weight_ih.grad.clone())
    assert torch.equal(losses[0], losses[1])
    assert torch.equal(gradients[0], gradients[2])  # what is penalised is below the head
    assert not torch.equal(gradients[1], gradients[3])


@every_objective
def test_a_model_that_does_not_read_what_is_needed_is_refused(objective: Config) -> None:
    with pytest.raises(ConfigError, match=r"needs a model that reads (causal|bidirectional); Pairs reads lengths"):
        compose(PairsConfig(reads=("lengths",)), FullHeadConfig(), objective)


# --- classes from outside the package -------------------------------------------------------------

RECIPE = """
limit = "80steps"
[data]
tokenizer = "word"
batches = { kind = "streams", batch = 4, length = 10 }
[model]
kind = "outside:PairsConfig"
width = 12
[head]
kind = "outside:CosineHeadConfig"
[objective]
kind = "outside:TwofoldConfig"
second = 0.25
[optimizer]
kind = "adam"
learning_rate = 0.05
"""


def test_outside_parts_train_by_dotted_path(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text(RECIPE)
    corpus: Any = write_corpus(tmp_path)
    trained = foretell.train(recipe, tmp_path / "run", quiet=True, data__corpus=corpus)
    assert type(trained.objective).__name__ == "Twofold"
    assert trained.recipe.model.width == 12
    assert trained.recipe.objective.second == 0.25
    assert load_recipe(trained.run.recipe_file) == trained.recipe
    losses = [record["loss"] for record in trained.run.metrics() if record["kind"] == "train"]
    assert trained.evaluate("valid")["loss"] < losses[0]
    assert trained.evaluate("valid")["perplexity"] < 7  # of 15 words
    assert len(trained.generate("the", tokens=5).split()) > 0


def test_step_seeds_do_not_repeat() -> None:
    """Dropout is drawn anew in each step of each seed."""
    seeds = {step_seed(seed, step) for seed in range(50) for step in range(1000)}
    assert len(seeds) == 50_000
