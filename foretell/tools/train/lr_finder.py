"""Learning-rate range test (Smith 2015, arXiv:1506.01186, section 3.3), with an exponentially rising rate.

The loss is smoothed by a bias-corrected exponential mean. The test ends when a step diverges (`Diverged`) or the
smoothed loss is a tenth above its first value. The suggestion is a tenth of the learning rate with the lowest smoothed
loss: at that rate the loss has stopped falling, and an order of magnitude below is still fast.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.text import Text
from typing_extensions import override

from foretell.api.initialisation import initial_counts, load_initial
from foretell.api.stages import build_stage
from foretell.config import Amount
from foretell.errors import ConfigError
from foretell.evaluate.measures import measure_of
from foretell.learning.kinds import data_module
from foretell.optim.averaging import NoAveragingConfig
from foretell.optim.progress import Progress
from foretell.optim.schedules.schedule import Schedule
from foretell.recipe.recipe import Recipe
from foretell.run import Run
from foretell.tools.drawing import dress, library, limit_height, save
from foretell.tools.tables import Cell, ResponsiveTable, facts
from foretell.training.checkpoint import TrainState
from foretell.training.devices import device_of
from foretell.training.divergence import Diverged
from foretell.training.monitor import Monitor
from foretell.training.trainer import Trainer
from foretell.units import counted

SMOOTHING = 0.9
"""decay of the mean loss per step"""
HOPELESS = 1.1
"""ratio of the smoothed loss to its first value at which the test ends"""
SAFE = 10
"""ratio of the learning rate with the lowest loss to the suggested one"""
CLEAR = 2
"""fall of the loss, in units of its noise, that a suggestion takes; pure noise passes one test in five hundred"""


class Rising(Schedule):
    """A factor that rises exponentially from `low` to `high` over `steps` steps."""

    def __init__(self, low: float, high: float, steps: int):
        super().__init__()
        self.low, self.high, self.steps = low, high, steps

    @override
    def factor(self, progress: Progress, fraction: float) -> float:
        return float(self.low * (self.high / self.low) ** (progress.step / max(self.steps - 1, 1)))


@dataclass(frozen=True)
class Trial:
    """The steps of a range test."""

    rates: list[float]
    losses: list[float]
    """nats per token of each batch, before the step"""
    ending: str
    """reason why it ended"""

    @property
    def smoothed(self) -> list[float]:
        """The bias-corrected exponential mean of the losses."""
        mean, means = 0.0, []
        for t, loss in enumerate(self.losses, start=1):
            mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
            means.append(mean / (1 - SMOOTHING**t))
        return means

    def best(self) -> int:
        """The step with the lowest smoothed loss."""
        smoothed = self.smoothed
        return min(range(len(smoothed)), key=smoothed.__getitem__)

    @property
    def noise(self) -> float:
        """Standard deviation of single losses around their trend, from differences of neighbours."""
        differences = np.abs(np.diff(self.losses))
        return float(np.median(differences)) / (0.6745 * math.sqrt(2)) if len(differences) else 0.0

    @property
    def fall(self) -> float:
        """Fall of the smoothed loss from the mean of up to ten first losses."""
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
    """Suggest `optimizer.learning_rate` for the first stage of a recipe; writes no run."""
    if not 0 < low < high:
        raise ConfigError(f"the learning rate must rise: set --low above 0 and below --high, not {low:g} and {high:g}")
    if png is not None:
        library()  # fail early if matplotlib is missing
    monitor = Monitor(quiet=quiet)
    trial = range_test(recipe, steps, low, high, device_of(device), monitor)
    best = trial.best()
    if best == 0:
        raise ConfigError(f"the loss fell at no learning rate from {low:g}; set a lower --low or more --steps")
    if png is not None:
        plot_trial(trial, png)
    clear = trial.fall > CLEAR * trial.noise
    flat = f"the loss fell by {max(trial.fall, 0):.2g}, and single losses vary by {trial.noise:.2g}"
    return {
        "recipe": recipe.name,
        "optimizer": recipe.optimizer.kind_name(),
        "learning_rate": float(f"{trial.rates[best] / SAFE:.2g}") if clear else None,
        "warning": None
        if clear
        else f"{flat}: no learning rate is clearly best; set more --steps, a higher --high or larger batches",
        "rule": f"a tenth of the learning rate with the lowest smoothed loss, {trial.rates[best]:.2g}",
        "least_loss": trial.smoothed[best],
        "first_loss": trial.losses[0],
        "ending": trial.ending,
        "steps": len(trial.losses),
        "rates": trial.rates,
        "losses": trial.losses,
        "smoothed": trial.smoothed,
    } | ({"png": str(png)} if png else {})


def range_test(recipe: Recipe, steps: int, low: float, high: float, device: torch.device, monitor: Monitor) -> Trial:
    """Train on the first batches of a recipe with a rising learning rate."""
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
    monitor.say(f"trying learning rates from {low:g} to {high:g} in {steps} steps")
    return run_steps(trainer, steps)


def run_steps(trainer: Trainer, steps: int) -> Trial:
    """Train until all steps are done or the loss diverges."""
    rates: list[float] = []
    losses: list[float] = []
    for _ in range(steps):
        before = float(trainer.window.loss), trainer.window.tokens
        progress = trainer.progress()
        try:
            trainer.step(progress)
        except Diverged:
            return Trial(rates, losses, f"diverged after {counted(len(losses), 'step')}")
        tokens = trainer.window.tokens - before[1]
        if tokens == 0:  # skipped for its fp16 gradients
            continue
        rates.append(trainer.rate * trainer.stage.schedule(progress))  # as the setting would have it
        losses.append((float(trainer.window.loss) - before[0]) / tokens)
        trial = Trial(rates, losses, f"the loss rose above its start after {counted(len(losses), 'step')}")
        smoothed = trial.smoothed
        if not math.isfinite(smoothed[-1]) or smoothed[-1] > HOPELESS * smoothed[0]:
            return trial
    return Trial(rates, losses, "all steps done")


def render(result: Mapping[str, Any]) -> ResponsiveTable:
    """The suggestion as a table."""
    rows: dict[str, Cell] = {}
    if result["warning"]:
        rows["suggestion"] = Text(f"none: {result['warning']}", "bold red")
    else:
        rows["suggestion"] = Text(f"optimizer.learning_rate={result['learning_rate']:g}", "bold")
        rows["rule"] = result["rule"]
    rows["loss"] = f"{result['first_loss']:.3f} at first, {result['least_loss']:.3f} at its lowest"
    rows["ending"] = result["ending"]
    rows |= {"picture": result["png"]} if "png" in result else {}
    return facts(rows.items())


def plot_trial(trial: Trial, out: Path) -> None:
    """Plot the loss over the learning rate, and mark the best and the suggested one."""
    figure, axes = library().subplots(figsize=(8, 4.5), layout="constrained")
    best, smoothed = trial.best(), np.array(trial.smoothed)
    axes.plot(trial.rates, trial.losses, color="C0", linewidth=0.7, alpha=0.4)
    axes.plot(trial.rates, smoothed, color="C0", linewidth=1.8)
    axes.set_xscale("log")
    for rate, color, words in ((trial.rates[best] / SAFE, "C2", "suggested"), (trial.rates[best], "C3", "lowest loss")):
        axes.axvline(rate, color=color, linewidth=1.2, linestyle="--", label=f"{words}: {rate:.2g}")
    limit_height(axes, [smoothed])
    dress(axes, measure_of("loss").title, "learning rate")
    axes.legend(frameon=False, fontsize=9)
    save(figure, out)
