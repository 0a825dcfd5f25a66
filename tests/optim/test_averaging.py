"""NT-ASGD against a plain reimplementation, and what `torch.optim.ASGD` gets wrong."""

import itertools
import json

import pytest
import torch
from builders import assert_same
from torch import Tensor, nn

from foretell.optim.averaging import Averager, NoAveragingConfig, TriggeredAveragingConfig


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
        averager.update()
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
        averager.update()
    assert float(averager.means[0]) == 2.0
    assert float(optimizer.state[weight]["ax"]) == 2.5


def test_at_once_and_never() -> None:
    weights = parameters()
    at_once, never = TriggeredAveragingConfig(at_once=True).build(weights), NoAveragingConfig().build(weights)
    for loss in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0):
        assert not at_once.observe(loss)  # it is on already
        assert not never.observe(loss)
        at_once.update()
        never.update()
    assert at_once.count == 8
    assert never.means == []


def test_swapping_puts_back_to_the_last_bit() -> None:
    weights = parameters()
    averager = Averager(weights, patience=None, started=True)
    for _ in range(3):
        change(weights)
        averager.update()
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


def test_going_on_is_as_if_never_stopped() -> None:
    weights = parameters()
    whole = TriggeredAveragingConfig(patience=1).build(weights)
    for step, loss in enumerate([3.0, 4.0, 5.0, 6.0]):
        change(weights)
        whole.update()
        if step == 3:  # in the middle of averaging
            part = TriggeredAveragingConfig(patience=1).build(weights)
            stored = json.loads(json.dumps(whole.state_dict()))
            part.load_state_dict(stored, [mean.clone() for mean in whole.means])
        whole.observe(loss)
    part.observe(6.0)
    for _ in range(3):
        change(weights)
        whole.update()
        part.update()
    assert_same(part.means, whole.means)
    assert part.state_dict() == whole.state_dict()
    assert whole.count > 3
