"""Averages of weights over training steps, apart from any optimiser.

    asgd      the mean of all weights from a moment on (Polyak and Juditsky 1992)
    nt-asgd   the same from when validation stops improving (arXiv:1708.02182)
    swa       the mean of the weights as they are every so often (arXiv:1803.05407)
    ema       a mean that forgets: each step counts `decay` times as much as the next

ASGD and NT-ASGD are plain SGD whose iterates are averaged. Two quirks of running them through
`torch.optim.ASGD(t0=0, lambd=0)` are not repeated here: torch's average leaves out the first iterate after the switch,
and it applies a step's learning rate one step late, so the rescaling of a random window length hits the wrong window.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from foretell.config import Amount, Config, Count, Tagged
from foretell.optim.non_monotone import non_monotone
from foretell.optim.progress import Progress, due


class Averager(ABC):
    """A running mean of the weights; subclasses say which weights are taken, and how much they count."""

    def __init__(self, parameters: Iterable[nn.Parameter]):
        self.parameters = list(parameters)
        self.count = 0
        """how many weights have been taken"""
        self.means: list[Tensor] = []

    @abstractmethod
    def takes(self, before: Progress, after: Progress) -> bool:
        """Whether the weights between these two moments are taken into the mean."""

    def share(self) -> float:
        """How much the weights just taken count in the mean of `count`; here as much as all others."""
        return 1 / self.count

    def observe(self, loss: float) -> bool:
        """Take note of a validation loss; true when averaging starts because of it."""
        return False

    @torch.no_grad()
    def update(self, before: Progress, after: Progress) -> None:
        """Take the present weights into the mean, if it is time: call after every optimiser step."""
        if not self.takes(before, after):
            return
        self.count += 1
        if self.count == 1:
            self.means = [p.detach().clone() for p in self.parameters]
        else:  # mean += (weight - mean) * share
            torch._foreach_lerp_(self.means, [p.detach() for p in self.parameters], self.share())

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """The averages in the place of the weights while evaluating or saving; no copy is made."""
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
        """Everything but the means, as JSON knows it."""
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, Any], means: list[Tensor]) -> None:
        """The inverse of `state_dict`, with the means beside it."""
        self.__dict__.update(state)
        self.means = means


class NoAveragingConfig(Config):
    """The last weights are the result."""

    kind: Literal["none"] = "none"

    def build(self, parameters: Iterable[nn.Parameter]) -> Averager:
        """An averager that never starts."""
        return NoAverager(parameters)


class NoAverager(Averager):
    """Takes nothing."""

    def takes(self, before: Progress, after: Progress) -> bool:
        """See `Averager.takes`."""
        return False


class EqualAveragingConfig(Config):
    """Averaged SGD: the mean of the weights after every step."""

    kind: Literal["asgd"] = "asgd"
    start: Amount | None = None
    """leave out all steps before this; absent: none"""

    def build(self, parameters: Iterable[nn.Parameter]) -> Averager:
        """The averager of those parameters."""
        return PeriodicAverager(parameters, self.start, Amount(value=1, unit="steps"))


class PeriodicAveragingConfig(Config):
    """Stochastic weight averaging (SWA): the mean of the weights as they are every so often."""

    kind: Literal["swa"] = "swa"
    start: Amount | None = None
    """leave out everything before this; the paper starts after three quarters of the training"""
    every: Amount = Amount(value=1, unit="epochs")
    """how often weights are taken, counted from the beginning; a cycle of a cyclic schedule, at its end"""

    def build(self, parameters: Iterable[nn.Parameter]) -> Averager:
        """The averager of those parameters."""
        return PeriodicAverager(parameters, self.start, self.every)


class PeriodicAverager(Averager):
    """The mean of the weights at every multiple of `every` from `start` on, `start` itself included."""

    def __init__(self, parameters: Iterable[nn.Parameter], start: Amount | None, every: Amount):
        super().__init__(parameters)
        self.start, self.every = start, every

    def takes(self, before: Progress, after: Progress) -> bool:
        """See `Averager.takes`."""
        # note: 1e-9 keeps epochs that add up to 2.999... from missing their moment
        begun = self.start is None or after.of(self.start) >= 1 - 1e-9
        return begun and due(self.every, before, after)


class ExponentialAveragingConfig(Config):
    """Exponential moving average (EMA): late weights count more.

    Corrected for its start, as in Adam: after t steps the weights of step i count decay ** (t - i), divided by the
    sum of all of these, so that the initial weights have no part in it and no warm-up is needed.
    """

    kind: Literal["ema"] = "ema"
    decay: float = Field(default=0.999, gt=0, lt=1)
    """weights older than 1 / (1 - decay) steps hardly count any more"""

    def build(self, parameters: Iterable[nn.Parameter]) -> Averager:
        """The averager of those parameters."""
        return ExponentialAverager(parameters, self.decay)


class ExponentialAverager(Averager):
    """mean_t = sum of decay ** (t - i) * weights_i / sum of decay ** (t - i), i from 1 to t."""

    def __init__(self, parameters: Iterable[nn.Parameter], decay: float):
        super().__init__(parameters)
        self.decay = decay

    def takes(self, before: Progress, after: Progress) -> bool:
        """See `Averager.takes`."""
        return True

    def share(self) -> float:
        """See `Averager.share`."""
        return (1 - self.decay) / (1 - self.decay**self.count)


class TriggeredAveragingConfig(Config):
    """NT-ASGD: the mean of all weights since validation stopped improving."""

    kind: Literal["nt-asgd"] = "nt-asgd"
    patience: Count = 5
    """start when a validation loss is above the best of all but the last so many"""
    at_once: bool = False
    """average from the first step on (the fine-tuning stage)"""

    def build(self, parameters: Iterable[nn.Parameter]) -> Averager:
        """The averager of those parameters."""
        return TriggeredAverager(parameters, self.patience, started=self.at_once)


class TriggeredAverager(Averager):
    """The mean of all weights since the non-monotone rule fired."""

    def __init__(self, parameters: Iterable[nn.Parameter], patience: int, *, started: bool):
        super().__init__(parameters)
        self.patience, self.started = patience, started
        self.history: list[float] = []

    def takes(self, before: Progress, after: Progress) -> bool:
        """See `Averager.takes`."""
        return self.started

    def observe(self, loss: float) -> bool:
        """See `Averager.observe`."""
        fires = not self.started and non_monotone(self.history, loss, self.patience)
        self.history.append(loss)
        self.started = self.started or fires
        return fires

    def state_dict(self) -> dict[str, Any]:
        """See `Averager.state_dict`."""
        return super().state_dict() | {"history": list(self.history), "started": self.started}


AveragingChoice = Annotated[
    NoAveragingConfig
    | EqualAveragingConfig
    | TriggeredAveragingConfig
    | PeriodicAveragingConfig
    | ExponentialAveragingConfig,
    Tagged(),
]
