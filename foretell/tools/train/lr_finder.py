"""A learning rate by trying: train with a rate that rises from tiny to huge, and see when the loss likes it no more.

The range test of Smith 2015 (arXiv:1506.01186, section 3.3), with an exponentially rising rate. The loss is smoothed
by an exponential mean, corrected for its start. The test ends when a step is lost (see `Diverged`) or the smoothed loss
is a tenth above the first one. Proposed is a tenth of the rate at which the smoothed loss was least: by then the rate
is already too high for its loss to go on falling, and an order of magnitude below is still fast.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table
from rich.text import Text

from foretell.api.initialisation import initial_counts, load_initial
from foretell.api.stages import build_stage
from foretell.config import Amount
from foretell.errors import ConfigError
from foretell.learning.kinds import data_module
from foretell.optim.averaging import NoAveragingConfig
from foretell.optim.progress import Progress
from foretell.optim.schedules.schedule import Schedule
from foretell.recipe.recipe import Recipe
from foretell.run import Run
from foretell.tools.drawing import LABELS, dress, library, limit_height, save
from foretell.training.checkpoint import TrainState
from foretell.training.devices import device_of
from foretell.training.divergence import Diverged
from foretell.training.monitor import Monitor
from foretell.training.trainer import Trainer

SMOOTHING = 0.9
"""how much of the mean loss stays from step to step"""
HOPELESS = 1.1
"""the test ends when the smoothed loss is so many times the first one"""
SAFE = 10
"""how many times lower than the best rate the proposed one is"""
CLEAR = 2
"""how many times its noise the loss has to fall by: of losses that are noise alone, one test in five hundred does"""


class Rising(Schedule):
    """A factor that rises exponentially from `low` to `high` over so many steps."""

    def __init__(self, low: float, high: float, steps: int):
        super().__init__()
        self.low, self.high, self.steps = low, high, steps

    def factor(self, progress: Progress, fraction: float) -> float:
        """See `Schedule.factor`."""
        return float(self.low * (self.high / self.low) ** (progress.step / max(self.steps - 1, 1)))


@dataclass(frozen=True)
class Trial:
    """The steps of a range test."""

    rates: list[float]
    losses: list[float]
    """nats per token of each step's batch, before the step"""
    ending: str
    """why it ended"""

    @property
    def smoothed(self) -> list[float]:
        """The losses' exponential mean, in which the first ones have no greater part than those after them."""
        mean, means = 0.0, []
        for t, loss in enumerate(self.losses, start=1):
            mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
            means.append(mean / (1 - SMOOTHING**t))
        return means

    def best(self) -> int:
        """The step whose smoothed loss is least."""
        smoothed = self.smoothed
        return min(range(len(smoothed)), key=smoothed.__getitem__)

    @property
    def noise(self) -> float:
        """The standard deviation of single losses around their course, from how neighbours differ."""
        between = np.abs(np.diff(self.losses))
        return float(np.median(between)) / (0.6745 * math.sqrt(2)) if len(between) else 0.0

    @property
    def fall(self) -> float:
        """How far the smoothed loss fell, from the mean of the first ten or fewer."""
        best = self.best()
        return float(np.mean(self.losses[: max(1, min(10, best))])) - self.smoothed[best]


def find_lr(
    recipe: Recipe,
    *,
    steps: int = 200,
    low: float = 1e-6,
    high: float = 100.0,
    png: Path | None = None,
    device: str | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """A proposal for `optimizer.learning_rate` in the recipe's first stage, and how it was found; no run is written."""
    if not 0 < low < high:
        raise ConfigError(f"the rate has to rise: give a --low above 0 and below --high, not {low:g} and {high:g}")
    if png is not None:
        library()  # or it would be found missing when all is tried
    monitor = Monitor(quiet=quiet)
    trial = range_test(recipe, steps, low, high, device_of(device), monitor)
    best = trial.best()
    if best == 0:
        raise ConfigError(f"the loss did not fall at any rate from {low:g} on; give a lower --low or more --steps")
    if png is not None:
        plot_trial(trial, png)
    clear = trial.fall > CLEAR * trial.noise
    flat = f"the loss fell by {max(trial.fall, 0):.2g}, and single losses differ by {trial.noise:.2g} anyway"
    return {
        "recipe": recipe.name,
        "optimizer": recipe.optimizer.kind_name(),
        "learning_rate": float(f"{trial.rates[best] / SAFE:.2g}") if clear else None,
        "warning": None
        if clear
        else f"{flat}: no rate stands out; give more --steps, a higher --high or larger batches",
        "rule": f"a tenth of the rate with the least smoothed loss, {trial.rates[best]:.2g}",
        "least_loss": trial.smoothed[best],
        "first_loss": trial.losses[0],
        "ending": trial.ending,
        "steps": len(trial.losses),
        "rates": trial.rates,
        "losses": trial.losses,
        "smoothed": trial.smoothed,
    } | ({"png": str(png)} if png else {})


def range_test(recipe: Recipe, steps: int, low: float, high: float, device: torch.device, monitor: Monitor) -> Trial:
    """Train on the recipe's first batches with a rising rate."""
    config, settings = recipe.resolved_stages()[0]
    data = data_module(settings, monitor=monitor)
    torch.manual_seed(settings.seed)
    stage = build_stage(config, settings, data, device, initial_counts(settings, data))
    load_initial(stage.objective, settings, data.tokenizer, monitor, data.labels)
    stage = replace(
        stage,
        averager=NoAveragingConfig().build(()),
        limit=Amount(value=steps, unit="steps"),
        training=settings.training.model_copy(update={"log_every": Amount(value=1, unit="steps")}),
    )
    trainer = Trainer(Run(Path()), stage, TrainState(), seed=settings.seed, monitor=monitor)
    stage.schedule = Rising(low / trainer.rate, high / trainer.rate, steps)
    monitor.say(f"trying rates from {low:g} to {high:g} in {steps} steps")
    return rise(trainer, steps)


def rise(trainer: Trainer, steps: int) -> Trial:
    """The steps, until all are done or the loss is lost."""
    rates: list[float] = []
    losses: list[float] = []
    for _ in range(steps):
        before = float(trainer.window.loss), trainer.window.tokens
        progress = trainer.progress()
        try:
            trainer.step(progress)
        except Diverged:
            return Trial(rates, losses, f"diverged after {len(losses)} steps")
        tokens = trainer.window.tokens - before[1]
        if tokens == 0:  # left out for its fp16 gradients
            continue
        rates.append(trainer.rate * trainer.stage.schedule(progress))  # what the setting would be
        losses.append((float(trainer.window.loss) - before[0]) / tokens)
        trial = Trial(rates, losses, f"the loss rose above its beginning after {len(losses)} steps")
        smoothed = trial.smoothed
        if not math.isfinite(smoothed[-1]) or smoothed[-1] > HOPELESS * smoothed[0]:
            return trial
    return Trial(rates, losses, "all steps were done")


def table(result: Mapping[str, Any]) -> Table:
    """The proposal for people."""
    made = Table(show_header=False)
    if result["warning"]:
        made.add_row("proposed", Text(f"nothing: {result['warning']}", "bold red"))
    else:
        made.add_row("proposed", Text(f"optimizer.learning_rate={result['learning_rate']:g}", "bold"))
        made.add_row("rule", result["rule"])
    made.add_row("loss", f"{result['first_loss']:.3f} at first, {result['least_loss']:.3f} at its least")
    made.add_row("ending", result["ending"])
    if "png" in result:
        made.add_row("picture", result["png"])
    return made


def plot_trial(trial: Trial, out: Path) -> None:
    """The loss over the rate of a range test, with the best and the proposed one."""

    figure, axes = library().subplots(figsize=(8, 4.5), layout="constrained")
    best, smoothed = trial.best(), np.array(trial.smoothed)
    axes.plot(trial.rates, trial.losses, color="C0", linewidth=0.7, alpha=0.4)
    axes.plot(trial.rates, smoothed, color="C0", linewidth=1.8)
    axes.set_xscale("log")
    for rate, color, words in ((trial.rates[best] / SAFE, "C2", "proposed"), (trial.rates[best], "C3", "least loss")):
        axes.axvline(rate, color=color, linewidth=1.2, linestyle="--", label=f"{words}: {rate:.2g}")
    limit_height(axes, [smoothed])
    dress(axes, LABELS["loss"], "learning rate")
    axes.legend(frameon=False, fontsize=9)
    save(figure, out)
