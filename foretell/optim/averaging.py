"""Averages of weights over training steps, independent of the optimiser.

    asgd      the mean of the weights from a given time on (Polyak and Juditsky 1992)
    nt-asgd   the mean since validation stopped improving (arXiv:1708.02182)
    swa       the mean of the weights at regular times (arXiv:1803.05407)
    ema       an exponential moving average: each step counts `decay` times as much as the next

ASGD and NT-ASGD are plain SGD whose iterates are averaged. Two quirks of running them through
`torch.optim.ASGD(t0=0, lambd=0)` are not repeated here: torch's average leaves out the first iterate after the switch,
and it applies a step's learning rate one step late, so the rescaling of a random window length hits the wrong window.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from foretell.config import Amount, Config, Count, Tagged
from foretell.optim.non_monotone import non_monotone
from foretell.optim.progress import Progress, due


class Averager(ABC):
    """A running mean of the weights; subclasses decide when weights are added, and with which share."""

    def __init__(self, parameters: Iterable[nn.Parameter]):
        self.parameters = list(parameters)
        self.count = 0
        """number of weights added so far"""
        self.means: list[Tensor] = []

    @abstractmethod
    def takes(self, before: Progress, after: Progress) -> bool:
        """Whether the weights of the step between these two moments are added."""

    def share(self) -> float:
        """Share of the latest weights in a mean of `count`; by default all count the same."""
        return 1 / self.count

    def observe(self, loss: float) -> bool:
        """Record a validation loss; true if averaging starts because of it."""
        return False

    @torch.no_grad()
    def update(self, before: Progress, after: Progress) -> None:
        """Add the current weights to the mean if it is time; call after every optimiser step."""
        if not self.takes(before, after):
            return
        self.count += 1
        if self.count == 1:
            self.means = [p.detach().clone() for p in self.parameters]
        else:  # mean += (weight - mean) * share
            torch._foreach_lerp_(self.means, [p.detach() for p in self.parameters], self.share())

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Swap averages and weights while evaluating or saving, without copies."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        if not self.means:
            return
        for i, parameter in enumerate(self.parameters):
            parameter.data, self.means[i] = self.means[i], parameter.data

    def state_dict(self) -> dict[str, Any]:
        """State without the means, as JSON values."""
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, Any], means: list[Tensor]) -> None:
        """Restore a `state_dict` and the means."""
        self.__dict__.update(state)
        self.means = means


class AveragingConfig(Config):
    """Base of the settings of averaging."""

    copies: ClassVar[int] = 1
    """number of copies of the trained weights that it keeps"""
    waits: ClassVar[bool] = False
    """whether it starts when validation stops improving"""


class NoAveragingConfig(AveragingConfig):
    """No averaging: the last weights are the result."""

    copies: ClassVar[int] = 0

    kind: Literal["none"] = "none"

    def build(self, parameters: Iterable[nn.Parameter]) -> Averager:
        """Build an averager that never starts."""
        return NoAverager(parameters)


class NoAverager(Averager):
    """Adds nothing."""

    @override
    def takes(self, before: Progress, after: Progress) -> bool:
        return False


class EqualAveragingConfig(AveragingConfig):
    """Averaged SGD: the mean of the weights after every step."""

    kind: Literal["asgd"] = "asgd"
    start: Amount | None = None
    """time to start averaging; absent: from the first step on"""

    def build(self, parameters: Iterable[nn.Parameter]) -> Averager:
        """Build the averager of the parameters."""
        return PeriodicAverager(parameters, self.start, Amount(value=1, unit="steps"))


class PeriodicAveragingConfig(AveragingConfig):
    """Stochastic weight averaging (SWA): the mean of the weights at regular times."""

    kind: Literal["swa"] = "swa"
    start: Amount | None = None
    """time to start averaging; the paper starts after three quarters of the training"""
    every: Amount = Amount(value=1, unit="epochs")
    """time between additions, counted from the beginning; with a cyclic schedule, a cycle"""

    def build(self, parameters: Iterable[nn.Parameter]) -> Averager:
        """Build the averager of the parameters."""
        return PeriodicAverager(parameters, self.start, self.every)


class PeriodicAverager(Averager):
    """The mean of the weights at every multiple of `every` from `start` on, including `start`."""

    def __init__(self, parameters: Iterable[nn.Parameter], start: Amount | None, every: Amount):
        super().__init__(parameters)
        self.start, self.every = start, every

    @override
    def takes(self, before: Progress, after: Progress) -> bool:
        # note: 1e-9 keeps epochs that add up to 2.999... from missing their time
        begun = self.start is None or after.of(self.start) >= 1 - 1e-9
        return begun and due(self.every, before, after)


class ExponentialAveragingConfig(AveragingConfig):
    """Exponential moving average (EMA): late weights count more.

    Bias-corrected as in Adam: after t steps the weights of step i count decay ** (t - i), divided by the sum of these
    factors, so that the initial weights do not count and no warm-up is needed.
    """

    kind: Literal["ema"] = "ema"
    decay: float = Field(default=0.999, gt=0, lt=1)
    """the mean covers about 1 / (1 - decay) steps"""

    def build(self, parameters: Iterable[nn.Parameter]) -> Averager:
        """Build the averager of the parameters."""
        return ExponentialAverager(parameters, self.decay)


class ExponentialAverager(Averager):
    """mean_t = sum of decay ** (t - i) * weights_i / sum of decay ** (t - i), i from 1 to t."""

    def __init__(self, parameters: Iterable[nn.Parameter], decay: float):
        super().__init__(parameters)
        self.decay = decay

    @override
    def takes(self, before: Progress, after: Progress) -> bool:
        return True

    @override
    def share(self) -> float:
        return (1 - self.decay) / (1 - self.decay**self.count)


class TriggeredAveragingConfig(AveragingConfig):
    """NT-ASGD: the mean of the weights since validation stopped improving."""

    waits: ClassVar[bool] = True
    kind: Literal["nt-asgd"] = "nt-asgd"
    patience: Count = 5
    """start at a validation loss above the best, leaving out the last `patience` losses"""
    at_once: bool = False
    """average from the first step on (the fine-tuning stage)"""

    def build(self, parameters: Iterable[nn.Parameter]) -> Averager:
        """Build the averager of the parameters."""
        return TriggeredAverager(parameters, self.patience, started=self.at_once)


class TriggeredAverager(Averager):
    """The mean of the weights since the non-monotone rule triggered."""

    def __init__(self, parameters: Iterable[nn.Parameter], patience: int, *, started: bool):
        super().__init__(parameters)
        self.patience, self.started = patience, started
        self.history: list[float] = []

    @override
    def takes(self, before: Progress, after: Progress) -> bool:
        return self.started

    @override
    def observe(self, loss: float) -> bool:
        triggered = not self.started and non_monotone(self.history, loss, self.patience)
        self.history.append(loss)
        self.started = self.started or triggered
        return triggered

    @override
    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"history": list(self.history), "started": self.started}


AveragingChoice = Annotated[
    NoAveragingConfig
    | EqualAveragingConfig
    | TriggeredAveragingConfig
    | PeriodicAveragingConfig
    | ExponentialAveragingConfig,
    Tagged(),
]
