"""Averages of weights over training steps, apart from any optimiser.

NT-ASGD is plain SGD whose iterates are averaged from the moment validation stops improving (arXiv:1708.02182). Two
quirks of running it through `torch.optim.ASGD(t0=0, lambd=0)` are not repeated here: torch's average leaves out the
first iterate after the switch, and it applies a step's learning rate one step late, so the rescaling of a random
window length hits the wrong window.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from foretell.config import Config, Tagged
from foretell.optim.trigger import non_monotone


class Averager:
    """The mean of all iterates since a trigger; without `patience` and unless `started` it never begins."""

    def __init__(self, parameters: Iterable[nn.Parameter], *, patience: int | None, started: bool):
        self.parameters = list(parameters)
        self.patience = patience
        self.history: list[float] = []
        self.started = started
        self.count = 0
        self.means: list[Tensor] = []

    def observe(self, loss: float) -> bool:
        """Take note of a validation loss; true when averaging starts because of it."""
        fires = not self.started and self.patience is not None and non_monotone(self.history, loss, self.patience)
        self.history.append(loss)
        self.started = self.started or fires
        return fires

    @torch.no_grad()
    def update(self) -> None:
        """Take the present weights into the mean: call after every optimiser step."""
        if not self.started:
            return
        self.count += 1
        if self.count == 1:
            self.means = [p.detach().clone() for p in self.parameters]
        else:  # mean += (weight - mean) / count
            torch._foreach_lerp_(self.means, [p.detach() for p in self.parameters], 1 / self.count)

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
        return {"history": self.history, "started": self.started, "count": self.count}

    def load_state_dict(self, state: dict[str, Any], means: list[Tensor]) -> None:
        """The inverse of `state_dict`, with the means beside it."""
        self.history, self.started, self.count = list(state["history"]), state["started"], state["count"]
        self.means = means


class NoAveragingConfig(Config):
    """The last weights are the result."""

    kind: Literal["none"] = "none"

    def build(self, parameters: Iterable[nn.Parameter]) -> Averager:
        """An averager that never starts."""
        return Averager(parameters, patience=None, started=False)


class TriggeredAveragingConfig(Config):
    """NT-ASGD: the mean of all weights since validation stopped improving."""

    kind: Literal["nt-asgd"] = "nt-asgd"
    patience: int = 5
    """start when a validation loss is above the best of all but the last so many"""
    at_once: bool = False
    """average from the first step on (the fine-tuning stage)"""

    def build(self, parameters: Iterable[nn.Parameter]) -> Averager:
        """The averager of those parameters."""
        return Averager(parameters, patience=self.patience, started=self.at_once)


AveragingChoice = Annotated[NoAveragingConfig | TriggeredAveragingConfig, Tagged()]
