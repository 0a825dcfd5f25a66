"""Dynamic evaluation against a plain loop in float64, written from the equations alone."""

import copy
import math
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from builders import BOUNDARY, SPECIALS, FakeText, assert_same, fake_text, members, name_of, small, small_models
from torch import Tensor

from foretell import config
from foretell.data.batches.streams import StreamsConfig, Windows
from foretell.data.tokenizers.specials import Specials
from foretell.evaluate.adaptation import Adaptation, AdaptationConfig
from foretell.evaluate.dynamic import DynamicConfig, DynamicScorer, root_mean_squares, tune_dynamic, weights_of
from foretell.evaluate.scoring import NeuralScorer, score_tokens, total
from foretell.learning.text import adapting_windows
from foretell.models.backbone import Backbone
from foretell.models.kinds import ModelChoice
from foretell.models.recurrent import RecurrentConfig
from foretell.nn.heads import FullHeadConfig, Head, HeadChoice
from foretell.recipe.loading import load_recipe
from foretell.types import Inputs, detach

CPU = torch.device("cpu")
VOCABULARY = BOUNDARY + 1
TEXT = fake_text(53)


def build(model: Any = None, *, tied: bool = True, head: Any = None) -> tuple[Backbone, Head]:
    torch.manual_seed(1)
    model = model or RecurrentConfig(embedding_dim=6, hidden=6, layers=2, dropout={"weight": 0.5, "output": 0.5})
    counts = np.bincount(TEXT.tokens, minlength=VOCABULARY)
    backbone = model.build(VOCABULARY, counts)
    head = head or FullHeadConfig(tied=tied and backbone.dim == backbone.embedding.width)
    head = head.build(backbone.dim, VOCABULARY, backbone.embedding, counts)
    both = torch.nn.ModuleList([backbone, head]).double().eval().requires_grad_(False)
    for weight in both.parameters():  # large enough for probabilities that differ
        weight.uniform_(-0.5, 0.5, generator=torch.Generator().manual_seed(weight.numel()))
    return backbone, head


def windows(length: int = 1000, columns: int = 1) -> Windows:
    return StreamsConfig(batch=columns, length=length).build(TEXT, SPECIALS, seed=0)


def dynamic(**settings: Any) -> DynamicConfig:
    return DynamicConfig(**{"learning_rate": 0.01, "decay": 0.1, "epsilon": 1e-3} | settings)


def squares_of(backbone: Backbone, head: Head) -> list[Tensor]:
    return root_mean_squares(backbone, head, [windows(5)[k] for k in range(4)], CPU)[0]


def fresh_copy(backbone: Backbone, head: Head) -> tuple[Backbone, Head, dict[str, Tensor]]:
    both = copy.deepcopy(torch.nn.ModuleList([backbone, head])).requires_grad_(True)
    return both[0], both[1], dict(both.named_parameters())


def plain_loop(backbone: Backbone, head: Head, config: DynamicConfig, squares: dict[str, Tensor]) -> list[float]:
    """One token of loss after the other; one weight tensor after the other."""
    backbone, head, weights = fresh_copy(backbone, head)
    start = {name: weight.detach().clone() for name, weight in weights.items()}
    tokens = [BOUNDARY, *(int(token) for token in TEXT.tokens)]
    state, logp = None, []
    if config.mean == "tensors":
        mean = sum(square.mean().item() for square in squares.values()) / len(squares)
    else:
        mean = torch.cat([square.flatten() for square in squares.values()]).mean().item()
    for begin in range(0, len(tokens) - 1, config.segment):
        given = torch.tensor([tokens[begin : begin + config.segment]])
        wanted = tokens[begin + 1 : begin + 1 + config.segment]
        given = given[:, : len(wanted)]
        hidden = backbone(Inputs(tokens=given), state)
        state = detach(hidden.state)
        distribution = head.log_probs(hidden.last)[0]
        losses = [-distribution[t, word] for t, word in enumerate(wanted)]
        logp += [-loss.item() for loss in losses]
        for weight in weights.values():
            weight.grad = None
        (sum(losses) / config.segment).backward()
        with torch.no_grad():
            for name, weight in weights.items():
                gradient = torch.zeros_like(weight) if weight.grad is None else weight.grad
                back = start[name] - weight
                if config.rule == "sgd":
                    weight += config.decay * back - config.learning_rate * gradient
                    continue
                share = torch.minimum(squares[name] / mean, torch.tensor(1 / config.decay, dtype=torch.float64))
                step = config.learning_rate * gradient / (squares[name] + config.epsilon)
                weight += config.decay * share * back - step
    return logp


SETTINGS = [
    {"segment": 5},
    {"segment": 7, "mean": "elements"},
    {"segment": 40},
    {"segment": 4, "decay": 0.9},
    {"segment": 5, "rule": "sgd", "learning_rate": 0.5},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_equal_to_a_plain_loop(settings: dict[str, Any]) -> None:
    backbone, head = build()
    config = dynamic(**settings)
    squares = squares_of(backbone, head)
    named = dict(zip(fresh_copy(backbone, head)[2], squares, strict=True))
    expected = plain_loop(backbone, head, config, named)
    scorer = DynamicScorer(backbone, head, config, squares)
    found = score_tokens(scorer, windows(), CPU)
    assert found.rank is None
    assert_same(torch.from_numpy(found.logp), torch.tensor(expected, dtype=torch.float64), 1e-10)
    static = total(NeuralScorer(backbone, head, ranks=False), windows(), CPU)
    assert abs(static.nats + sum(expected)) > 0.1, "the weights have to move for this to mean something"
    assert_same(torch.from_numpy(score_tokens(scorer, windows(), CPU).logp), torch.from_numpy(found.logp))  # again


NEURAL = [model for model in small_models(ModelChoice) if not model.counted]


@pytest.mark.parametrize(
    ("tied", "model"),
    [(tied, m) for tied in (True, False) for m in NEURAL if not tied or m.embedding.kind != "adaptive"],
    ids=name_of,  # an adaptive head alone can share adaptive vectors
)
def test_every_model_learns_as_a_plain_loop_does(model: Any, tied: bool) -> None:
    assert_learns_as_a_plain_loop_does(*build(model, tied=tied))


@pytest.mark.parametrize("head", [small(member) for member in members(HeadChoice)], ids=name_of)
def test_every_head_learns_as_a_plain_loop_does(head: Any) -> None:
    assert_learns_as_a_plain_loop_does(*build(head=head))


def assert_learns_as_a_plain_loop_does(backbone: Backbone, head: Head) -> None:
    config = dynamic(segment=5)
    squares = squares_of(backbone, head)
    named = dict(zip(fresh_copy(backbone, head)[2], squares, strict=True))
    expected = plain_loop(backbone, head, config, named)
    found = score_tokens(DynamicScorer(backbone, head, config, squares), windows(), CPU)
    assert_same(torch.from_numpy(found.logp), torch.tensor(expected, dtype=torch.float64), 1e-10)


def test_windows_of_whole_segments_do_not_matter() -> None:
    backbone, head = build()
    scorer = DynamicScorer(backbone, head, dynamic(segment=5), squares_of(backbone, head))
    one, other = (torch.from_numpy(score_tokens(scorer, windows(length), CPU).logp) for length in (1000, 15))
    assert_same(one, other, 1e-12)


@pytest.mark.parametrize("rule", ["rms", "sgd"])
def test_without_a_step_it_is_the_static_result(rule: Any) -> None:
    backbone, head = build()
    config = dynamic(rule=rule, learning_rate=0.0, segment=5)
    learning = score_tokens(DynamicScorer(backbone, head, config, squares_of(backbone, head)), windows(), CPU)
    static = score_tokens(NeuralScorer(backbone, head, ranks=False), windows(5), CPU)
    assert_same(torch.from_numpy(learning.logp), torch.from_numpy(static.logp))


def test_the_statistics_by_hand() -> None:
    backbone, head = build()
    batches = [windows(7)[k] for k in range(3)]
    copied, copied_head, weights = fresh_copy(backbone, head)
    state, sums = None, {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for batch in batches:
        hidden = copied(batch.inputs, state)
        state = detach(hidden.state)
        loss = -copied_head.log_probs(hidden.last)[0].gather(1, batch.targets[0][:, None]).mean()
        for (name, _), gradient in zip(
            weights.items(), torch.autograd.grad(loss, list(weights.values()), allow_unused=True), strict=True
        ):
            sums[name] += 0 if gradient is None else gradient**2
    found, tokens = root_mean_squares(backbone, head, batches, CPU)
    assert tokens == 21
    for mine, name in zip(found, weights, strict=True):
        assert_same(mine, (sums[name] / 3).sqrt(), 1e-12)


def test_the_model_given_is_never_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, head = build()
    before = [weight.clone() for weight in weights_of(backbone, head)]
    scorer = DynamicScorer(backbone, head, dynamic(), squares_of(backbone, head))
    score_tokens(scorer, windows(), CPU)
    copied: Any = scorer
    assert copied.head.weight is copied.backbone.embedding.weight, "what was tied is tied in the copy"
    assert len(scorer.weights) == len(before)
    assert any(bool((now != then).any()) for now, then in zip(scorer.weights, before, strict=True))
    monkeypatch.setattr(DynamicScorer, "learn", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        score_tokens(scorer, windows(), CPU)
    assert_same(weights_of(backbone, head), before)
    assert not any(weight.requires_grad for weight in weights_of(backbone, head))
    scorer.next(torch.tensor([[1]]), None)
    assert_same([weight.detach() for weight in scorer.weights], before)


def test_rows_that_start_anew_begin_from_the_trained_weights() -> None:
    backbone, head = build()
    scorer = DynamicScorer(backbone, head, dynamic(), squares_of(backbone, head))
    batch = windows(20)[0]
    first, state = scorer.score(batch.inputs, batch.targets, None)
    going_on, _ = scorer.score(Inputs(tokens=batch.inputs.tokens), batch.targets, state)
    fresh, _ = scorer.score(Inputs(tokens=batch.inputs.tokens, fresh=torch.tensor([True])), batch.targets, state)
    assert_same(fresh.logp, first.logp)
    assert not torch.allclose(going_on.logp, first.logp)


def test_columns_share_the_mean_of_their_gradients() -> None:
    backbone, head = build()
    squares = squares_of(backbone, head)
    batch = windows(10)[0]
    inputs = Inputs(tokens=batch.inputs.tokens.repeat(3, 1))
    alone, _ = DynamicScorer(backbone, head, dynamic(), squares).score(
        Inputs(tokens=batch.inputs.tokens), batch.targets, None
    )
    together, _ = DynamicScorer(backbone, head, dynamic(), squares).score(inputs, batch.targets.repeat(3, 1), None)
    for row in together.logp:
        assert_same(row, alone.logp[0], 1e-10)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_the_library_keeps_what_the_backward_pass_needs(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """cuDNN computes no gradients of a call that was not told to train, in evaluation mode too."""
    told: list[bool] = []
    name = {"rnn": "rnn_tanh"}.get(cell, cell)
    original = getattr(torch, name)
    monkeypatch.setattr(torch, name, lambda *given: told.append(given[6]) or original(*given))
    backbone, head = build(config.validate(RecurrentConfig, {"cell": cell, "embedding_dim": 6, "hidden": 6}, "test"))
    scorer = DynamicScorer(backbone, head, dynamic(rule="sgd"))
    batch = windows(5)[0]
    scorer.score(batch.inputs, batch.targets, None)
    assert told and all(told)
    told.clear()
    NeuralScorer(backbone, head).score(batch.inputs, batch.targets, None)
    assert told and not any(told)


def test_ignored_targets_are_not_learnt_from() -> None:
    backbone, head = build()
    scorer = DynamicScorer(backbone, head, dynamic(), squares_of(backbone, head))
    batch = windows(10)[0]
    scores, _ = scorer.score(batch.inputs, torch.full_like(batch.targets, -100), None)
    assert_same(scores.logp, torch.zeros(1, 10, dtype=torch.float64))
    assert_same([weight.detach() for weight in scorer.weights], list(scorer.trained))


# --- tuning ---------------------------------------------------------------------------------------


def test_the_search_starts_from_the_published_grid_scaled_by_the_segment() -> None:
    """lr 3, 4, 5, 6, 7, 10 e-5 and decays 1, 2, 3, 5 e-3 at segment 5; four times as much at 20."""
    tried: list[DynamicConfig] = []

    def loss(config: DynamicConfig) -> float:
        tried.append(config)
        assert config.learning_rate is not None and config.decay is not None
        return abs(math.log(config.learning_rate / 2.4e-4)) + abs(math.log(config.decay / 8e-3))

    best = tune_dynamic(DynamicConfig(segment=20), loss)
    assert best.learning_rate == pytest.approx(2.4e-4) and best.decay == pytest.approx(8e-3)
    rates = [config.learning_rate for config in tried if config.decay == pytest.approx(8e-3)][:6]
    assert rates == pytest.approx([4 * rate * 1e-5 for rate in (3, 4, 5, 6, 7, 10)])
    assert [config.decay for config in tried[6:]] == pytest.approx([4e-3, 8e-3, 12e-3, 20e-3])


def test_what_is_given_is_kept() -> None:
    def loss(config: DynamicConfig) -> float:
        assert config.learning_rate == 1e-4
        return abs((config.decay or 0) - 0.004)

    assert tune_dynamic(DynamicConfig(learning_rate=1e-4), loss).decay == 3e-3
    assert tune_dynamic(DynamicConfig(learning_rate=1e-4, decay=0.5), loss).decay == 0.5


def test_a_larger_step_than_any_published_one_is_found() -> None:
    best = tune_dynamic(DynamicConfig(), lambda config: abs(math.log((config.learning_rate or 1) / 3e-3)))
    assert 1.5e-3 < (best.learning_rate or 0) < 6e-3


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("columns", [1, 2, 3])
def test_all_texts_of_a_size_have_probability_one(size: int, columns: int) -> None:
    """Also where columns share weights that learn at a high rate."""
    torch.manual_seed(0)
    specials, vocabulary = Specials(boundary=0), 3
    backbone = RecurrentConfig(embedding_dim=3, hidden=3, layers=1).build(vocabulary).double()
    head = FullHeadConfig().build(3, vocabulary, backbone.embedding).double()
    settings = AdaptationConfig(dynamic=DynamicConfig(rule="sgd", learning_rate=20.0, decay=0.0, segment=1))
    scorer = DynamicScorer(backbone, head, settings.dynamic)
    total_probability = 0.0
    for tokens in product(range(vocabulary), repeat=size):
        text = FakeText(np.array(tokens, np.uint16), np.array([0, size]), np.array([0, size]))
        read = adapting_windows(load_recipe("awd-lstm-tiny"), Adaptation(settings, None, {}), text, specials, columns)
        total_probability += math.exp(score_tokens(scorer, read, CPU).logp.sum())
    assert total_probability == pytest.approx(1, abs=1e-5)
