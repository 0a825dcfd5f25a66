"""Averages against plain reimplementations and torch's, and what `torch.optim.ASGD` gets wrong."""

import itertools
import json

import pytest
import torch
from builders import assert_same, members, name_of, small
from torch import Tensor, nn

from foretell.config import Amount, Config
from foretell.optim.averaging import (
    Averager,
    AveragingChoice,
    EqualAveragingConfig,
    ExponentialAveragingConfig,
    NoAveragingConfig,
    PeriodicAveragingConfig,
    TriggeredAveragingConfig,
)
from foretell.optim.progress import Progress


def at(step: int) -> Progress:
    """Steps of a quarter of an epoch."""
    return Progress(step, step / 4, 10 * step, float(step), 0.0)


NOW = at(0), at(1)


def parameters(seed: int = 0) -> list[nn.Parameter]:
    torch.manual_seed(seed)
    return [nn.Parameter(torch.randn(3, 2, dtype=torch.float64)), nn.Parameter(torch.randn(4).double())]


def change(weights: list[nn.Parameter]) -> None:
    with torch.no_grad():
        for weight in weights:
            weight.add_(torch.randn_like(weight))


def snapshot(weights: list[nn.Parameter]) -> list[Tensor]:
    return [weight.detach().clone() for weight in weights]


# Validation losses, and after which of them averaging starts. Patience 5, as in the paper: six
# values have to be there before, and the best of the oldest has to be beaten by none but the last five.
TRIGGERS = [
    (5, [6, 5, 4, 3, 2, 1], None),
    (5, [1, 2, 3, 4, 5, 6], None),  # five in the history: none of them is settled yet
    (5, [1, 2, 3, 4, 5, 6, 7], 6),  # 7 above the settled 1
    (5, [9, 8, 7, 6, 5, 4, 5, 6, 7, 8], 9),  # 8 is above the settled 9, 8, 7, 6; the 7 before was not above 9, 8, 7
    (0, [3, 2, 2, 2.5], 3),
    (0, [3, 4], 1),
    (1, [3, 4, 3, 5], 3),
    (2, [3, 2, 5, 5, 5], 3),
]


def plain_trigger(losses: list[float], patience: int) -> int | None:
    """Algorithm 1 of arXiv:1708.02182, with the history without the present value as in the code."""
    seen: list[float] = []
    for time, loss in enumerate(losses):
        if len(seen) > patience and loss > min(seen[: len(seen) - patience]):
            return time
        seen.append(loss)
    return None


@pytest.mark.parametrize(("patience", "losses", "expected"), TRIGGERS)
def test_the_trigger(patience: int, losses: list[float], expected: int | None) -> None:
    averager = TriggeredAveragingConfig(patience=patience).build(parameters())
    fired = [time for time, loss in enumerate(losses) if averager.observe(loss)]
    assert fired == ([] if expected is None else [expected])
    assert plain_trigger(losses, patience) == expected
    assert averager.started is (expected is not None)


def test_the_trigger_on_all_short_histories() -> None:
    for patience in (0, 1, 2):
        for losses in itertools.product([1.0, 2.0, 3.0], repeat=5):
            averager = TriggeredAveragingConfig(patience=patience).build(parameters())
            fired = [time for time, loss in enumerate(losses) if averager.observe(loss)]
            assert (fired or [None])[0] == plain_trigger(list(losses), patience)


def test_the_average_is_of_all_iterates_from_the_first_on() -> None:
    weights = parameters()
    averager = TriggeredAveragingConfig(patience=0).build(weights)
    averager.observe(1.0)
    iterates = []
    for step in range(9):
        change(weights)
        averager.update(*NOW)
        if step == 3:
            assert averager.means == []  # nothing yet
            assert averager.observe(2.0)
        if step > 3:
            iterates.append(snapshot(weights))
    expected = [torch.stack(kind).mean(0) for kind in zip(*iterates, strict=True)]
    assert_same(averager.means, expected, 1e-12)
    assert averager.count == 5


def test_torch_leaves_out_the_first_iterate() -> None:
    """Why there is an averager of our own: if torch mends this, the module's docstring is out of date."""
    weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = torch.optim.ASGD([weight], lr=1.0, t0=0, lambd=0)
    averager = TriggeredAveragingConfig(at_once=True).build([weight])
    for _ in range(3):  # 1, 2, 3
        weight.grad = -torch.ones_like(weight)
        optimizer.step()
        averager.update(*NOW)
    assert float(averager.means[0]) == 2.0
    assert float(optimizer.state[weight]["ax"]) == 2.5


def test_at_once_and_never() -> None:
    weights = parameters()
    at_once, never = TriggeredAveragingConfig(at_once=True).build(weights), NoAveragingConfig().build(weights)
    for loss in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0):
        assert not at_once.observe(loss)  # it is on already
        assert not never.observe(loss)
        at_once.update(*NOW)
        never.update(*NOW)
    assert at_once.count == 8
    assert never.means == []


def test_swapping_puts_back_to_the_last_bit() -> None:
    weights = parameters()
    averager = TriggeredAveragingConfig(at_once=True).build(weights)
    for _ in range(3):
        change(weights)
        averager.update(*NOW)
    raw, means = snapshot(weights), [mean.clone() for mean in averager.means]
    pointers = [id(weight) for weight in weights]
    with averager.swapped():
        assert_same(snapshot(weights), means)
    assert_same(snapshot(weights), raw)
    assert_same(averager.means, means)
    with pytest.raises(ZeroDivisionError), averager.swapped():
        raise ZeroDivisionError
    assert_same(snapshot(weights), raw)
    assert [id(weight) for weight in weights] == pointers


def test_swapping_before_averaging_changes_nothing() -> None:
    weights = parameters()
    raw = snapshot(weights)
    with TriggeredAveragingConfig().build(weights).swapped():
        assert_same(snapshot(weights), raw)


@pytest.mark.parametrize("member", members(AveragingChoice), ids=name_of)
@pytest.mark.parametrize("stop", range(9))
def test_going_on_is_as_if_never_stopped(member: type[Config], stop: int) -> None:
    """Before averaging, while it goes on; the state through JSON, the means beside it."""
    known = {"patience": 1, "start": "4steps", "every": "2steps"}
    config = small(member, **{key: value for key, value in known.items() if key in member.model_fields})
    weights = parameters()
    whole, first, second = (config.build(weights) for _ in range(3))
    for step, loss in enumerate([3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]):
        if step == stop:
            second.load_state_dict(json.loads(json.dumps(first.state_dict())), [mean.clone() for mean in first.means])
        part = first if step < stop else second
        change(weights)
        for averager in (whole, part):
            averager.update(at(step), at(step + 1))
            averager.observe(loss)
    part = first if stop > 7 else second
    assert_same(part.means, whole.means)
    assert part.state_dict() == whole.state_dict()
    assert (whole.count > 2) is (config.kind != "none")


# --- which weights count, and how much ------------------------------------------------------------


def history(averager: Averager, weights: list[nn.Parameter], steps: int) -> list[list[Tensor]]:
    """The weights after each step of a training."""
    seen = []
    for step in range(steps):
        change(weights)
        averager.update(at(step), at(step + 1))
        seen.append(snapshot(weights))
    return seen


def weighted(seen: list[list[Tensor]], shares: dict[int, float]) -> list[Tensor]:
    """The mean of the weights after some steps, counted from 1."""
    total = sum(shares.values())
    return [
        torch.stack([seen[step - 1][i] * share for step, share in shares.items()]).sum(0) / total
        for i in range(len(seen[0]))
    ]


AMOUNT = Amount.model_validate
SHARES: dict[str, tuple[Config, dict[int, float]]] = {
    "asgd": (EqualAveragingConfig(), dict.fromkeys(range(1, 13), 1)),
    "asgd-start": (EqualAveragingConfig(start=AMOUNT("9steps")), dict.fromkeys(range(9, 13), 1)),
    "swa": (PeriodicAveragingConfig(), {4: 1, 8: 1, 12: 1}),
    "swa-start": (PeriodicAveragingConfig(start=AMOUNT("2epochs")), {8: 1, 12: 1}),
    "swa-between": (PeriodicAveragingConfig(start=AMOUNT("6steps"), every=AMOUNT("30tokens")), {6: 1, 9: 1, 12: 1}),
    "ema": (ExponentialAveragingConfig(decay=0.8), {step: 0.8 ** (12 - step) for step in range(1, 13)}),
}


@pytest.mark.parametrize("name", SHARES)
def test_the_mean_by_hand(name: str) -> None:
    config, shares = SHARES[name]
    weights = parameters()
    averager = config.build(weights)
    seen = history(averager, weights, 12)
    assert averager.count == len(shares)
    assert_same(averager.means, weighted(seen, shares), 1e-12)


def test_the_first_mean_is_the_weights() -> None:
    """EMA without the correction would be a thousandth of them."""
    weights = parameters()
    averager = ExponentialAveragingConfig().build(weights)
    history(averager, weights, 1)
    assert_same(averager.means, snapshot(weights))


def test_the_exponential_mean_is_adams() -> None:
    """Adam's bias-corrected first moment of the same numbers."""
    weight = nn.Parameter(torch.zeros(3, dtype=torch.float64))
    moment = nn.Parameter(torch.zeros(3, dtype=torch.float64))
    optimizer = torch.optim.Adam([moment], lr=0.0, betas=(0.9, 0.999))
    averager = ExponentialAveragingConfig(decay=0.9).build([weight])
    for step in range(5):
        change([weight])
        moment.grad = weight.detach().clone()
        optimizer.step()
        averager.update(at(step), at(step + 1))
    assert_same(averager.means[0], optimizer.state[moment]["exp_avg"] / (1 - 0.9**5), 1e-12)


def test_the_equal_mean_is_torchs() -> None:
    weights = parameters()
    holder = nn.ParameterList(weights)
    twin = torch.optim.swa_utils.AveragedModel(holder)
    averager = PeriodicAveragingConfig(every=AMOUNT("1epochs")).build(weights)
    for step in range(12):
        change(weights)
        averager.update(at(step), at(step + 1))
        if (step + 1) % 4 == 0:
            twin.update_parameters(holder)
    assert_same(averager.means, [p.detach() for p in twin.module.parameters()], 1e-12)
