"""The training loop.

One stage of training is: take batch k, let the objective sum its losses, divide by the counts, go backward, clip, step,
average; now and then log, validate and save. Everything random is seeded from (seed, step), so that a resumed
training is the same to the last bit as one that was never stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from foretell.config import Amount, Config, Count, Positive, Size
from foretell.data.batches.batches import Batches
from foretell.objectives.objective import Objective
from foretell.optim.averaging import Averager
from foretell.optim.non_monotone import non_monotone
from foretell.optim.progress import Progress, due
from foretell.optim.schedules.schedule import Schedule
from foretell.run import Record, Run, judged
from foretell.training import checkpoint
from foretell.training.checkpoint import Checkpoint, TrainState
from foretell.training.loss_normalisation import Normalisation, loss_factor
from foretell.training.monitor import Monitor, validated
from foretell.training.out_of_memory import OutOfMemory, advising, out_of_memory, release
from foretell.training.precision import LossScaler, Precision, ScalingConfig, autocast
from foretell.training.seeds import seed_generators, step_seed
from foretell.training.signals import interruptible
from foretell.training.state_dict import load_optimizer, load_weights, optimizer_tensors, parted, trained_names
from foretell.training.trackers import Tracker, TrackerName
from foretell.types import Batch, State, detach, join_rows, map_state, select_rows


class TrainingConfig(Config):
    """How the loop runs, whatever is trained."""

    gradient_clip: Positive | None = None
    """scale the gradient down to this norm"""
    micro_batches: Size | Literal["auto"] = 1
    """split the rows of a batch into so many parts, one after the other: less memory, the same step; "auto": as few
    as memory allows, found by trying"""
    normalise: Normalisation = "tokens"
    """whose mean the loss is: that of tokens, of sequences, or of sequences each divided by the longest one's length"""
    precision: Precision = "fp32"
    """what matrix products are computed in; weights and sums stay fp32"""
    scaling: ScalingConfig = ScalingConfig()
    recompute: bool = False
    """keep of each block of the model its inputs alone and compute the rest again in the backward pass: less memory,
    more time, the same gradients"""
    compile: bool = False
    """let torch.compile make the model faster, after a minute or more of compiling"""
    patience: Count | None = None
    """stop when validation is worse than the best of all but the last so many"""
    log_every: Amount = Amount(value=50, unit="steps")
    log_to: tuple[TrackerName, ...] = ()
    """show the records elsewhere as well"""


class SavingConfig(Config):
    """When checkpoints are written, and how many stay."""

    every: Amount = Amount(value=1, unit="epochs")
    minutes: Positive = 10
    """write one at least so often, however long `every` takes"""
    keep: Size = 2
    """the last so many, beside the best"""


class Diverged(RuntimeError):
    """The loss is not a number any more, or far above that of guessing blindly."""


@dataclass
class Stage:
    """Everything one stage of training works with."""

    name: str
    objective: Objective
    batches: Batches
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    averager: Averager
    limit: Amount
    training: TrainingConfig
    saving: SavingConfig
    validate: Callable[[], Record]
    """measures the objective's present weights on the validation split; see `judged`"""
    validation_seconds: Callable[[], float]
    """how long that will take, about"""
    validate_every: Amount
    bytes_per_token: float
    """of the training text, for bits per byte on the way"""
    rate_of_rows: Callable[[int], float] = lambda _: 1.0
    """factor on the learning rate for a batch of so many rows"""


@dataclass
class LogSums:
    """Sums since the last log line, kept on the device: reading them waits for it."""

    loss: Tensor | float = 0.0
    tokens: int = 0
    seconds: float = 0.0
    terms: dict[str, Tensor | float] = field(default_factory=dict)
    """the loss of each term, where there are several"""


class Trainer:
    """Runs one stage from a position to its limit."""

    def __init__(
        self,
        run: Run,
        stage: Stage,
        position: TrainState,
        *,
        seed: int,
        monitor: Monitor,
        trackers: Sequence[Tracker] = (),
    ):
        self.run, self.stage, self.position = run, stage, position
        self.seed, self.monitor, self.trackers = seed, monitor, trackers
        self.device = next(stage.objective.parameters()).device
        self.rate = stage.optimizer.defaults["lr"]
        self.rates = [group["lr"] for group in stage.optimizer.param_groups]
        self.scaler = LossScaler(stage.training.scaling) if stage.training.precision == "fp16" else None
        self.state: State = None
        self.stopped: Literal["", "limit", "patience"] = ""
        self.interrupted = False  # apart from `stopped`: a signal in a stage's last step does not make it unfinished
        self.window = LogSums()
        self.validated: Record = {}
        """the record of the last validation"""
        self.saved = position.step
        self.saved_at = position.seconds
        self.longest_unsaved = 60 * stage.saving.minutes
        self.frozen_file: str | None = ""
        """that of the weights that are not trained; "": not written yet"""
        self.is_causal_lm = stage.objective.is_causal_lm
        self.begun = time.monotonic() - position.seconds
        self.pause = 0.0  # seconds validation and saving took at most: a time limit has to leave room for them
        self.expected_pause = 0.0  # the same before it is known

    # --- the loop ---------------------------------------------------------------------------------

    def train(self) -> str:
        """Train until the limit, the end of patience, or a signal; says which."""
        self.monitor.start(self.stage.name)
        self.begun = time.monotonic() - self.position.seconds
        if self.stage.limit.unit == "seconds":
            self.expect_pause()
        try:
            with interruptible(self):
                while not (self.stopped or self.interrupted):
                    before = self.progress()
                    self.step(before)
                    after = self.progress()
                    self.stopped = "limit" if self.used_up(after) else ""
                    self.after_step(before, after)
                if self.saved != self.position.step:  # a signal came after the last chance to save
                    self.save(improved=False)
        finally:
            self.monitor.stop()
        return "interrupted" if self.interrupted else self.stopped

    def step(self, progress: Progress) -> None:
        """One optimiser step on one batch."""
        stage, begin = self.stage, time.monotonic()
        batch = stage.batches[self.position.stage_step]
        counts = stage.objective.counts(batch)
        factor = loss_factor(batch, stage.training.normalise)
        state = None if batch.starts_anew else self.state
        if not stage.objective.training:
            stage.objective.train()
        divisors = {name: max(count, 1) / factor for name, count in counts.items()}  # a batch may have none of a kind
        mean, after = self.gradients(batch.to(self.device), state, divisors)
        loss, tokens = mean / factor, batch.tokens
        applied = self.apply(loss, stage.schedule(progress) * batch.rate * stage.rate_of_rows(len(batch.targets)))
        self.position.step += 1
        self.position.stage_step += 1
        self.position.tokens += tokens
        self.position.seconds = time.monotonic() - self.begun
        self.state = after if applied else map_state(torch.nan_to_num, after)
        if applied:
            self.window.loss += loss * tokens
            self.window.tokens += tokens
            for name, term in self.terms.items() if len(self.terms) > 1 else ():
                self.window.terms[name] = self.window.terms.get(name, 0.0) + term * (tokens / factor)
            stage.averager.update(progress, self.progress())
        self.window.seconds += time.monotonic() - begin

    def gradients(self, batch: Batch, state: State, divisors: Mapping[str, float]) -> tuple[Tensor, State]:
        """`backward`; when memory runs out again with twice as many parts, if their number is left to us.

        The seed is that of the step each time: it is as if the number had been right from the start.
        """
        while True:
            seed_generators(step_seed(self.seed, self.position.step), self.device)
            self.stage.optimizer.zero_grad(set_to_none=True)
            try:
                return self.backward(batch, state, divisors)
            except (RuntimeError, MemoryError) as problem:
                if not out_of_memory(problem):
                    raise
                self.split_further(len(batch.targets))
            release(self.device)  # here, for the exception kept alive what the attempt had made

    def backward(self, batch: Batch, state: State, divisors: Mapping[str, float]) -> tuple[Tensor, State]:
        """Gradients of the batch's mean losses, part by part; returns the loss in nats and the state after it."""
        rows = len(batch.targets)
        height = -(-rows // self.parts)
        losses, states = [], []
        self.terms: dict[str, Tensor] = {}
        for begin in range(0, rows, height):
            part = slice(begin, min(begin + height, rows))
            whole = height >= rows
            micro = batch if whole else batch.rows(part)
            carried = state if whole or state is None else select_rows(state, part)
            with autocast(self.device, self.stage.training.precision):
                step = self.stage.objective(micro, carried)
            # note: sums divided by the counts of the whole batch, so that the parts add up to exactly its mean
            means = {name: term.total / divisors[name] for name, term in step.terms.items()}
            loss = torch.stack([mean * step.terms[name].weight for name, mean in means.items()]).sum()
            for name, mean in means.items():
                self.terms[name] = mean.detach() + self.terms.get(name, 0.0)
            share = (part.stop - part.start) / rows
            aim = loss if step.penalty is None else loss + step.penalty * share
            (aim if self.scaler is None else aim * self.scaler.scale).backward()
            losses.append(loss.detach())
            states.append(detach(step.state))
        return torch.stack(losses).sum(), join_rows(states) if len(states) > 1 else states[0]

    def apply(self, loss: Tensor, factor: float) -> bool:
        """One optimiser step with the present gradients and that factor on the rate; false if it was left out."""
        stage = self.stage
        trained = [p for p in stage.objective.parameters() if p.grad is not None]
        gradients = [p.grad for p in trained if p.grad is not None]
        if self.scaler is not None:
            self.scaler.unscale(gradients)
        norm = torch.nn.utils.get_total_norm(gradients)
        if self.scaler is not None and not self.accepted(self.scaler, loss, norm):
            return False
        self.check(loss, norm)  # before clipping: that would spread what is not finite over all gradients
        if stage.training.gradient_clip is not None:
            torch.nn.utils.clip_grads_with_norm_(trained, stage.training.gradient_clip, norm)
        for group, rate in zip(stage.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        with advising("for the optimiser's state; take a smaller model, or optimizer.kind=sgd"):
            stage.optimizer.step()
        self.last = {"gradient_norm": norm, "learning_rate": self.rate * factor}
        return True

    def accepted(self, scaler: LossScaler, loss: Tensor, norm: Tensor) -> bool:
        """Whether a step is finite; with fp16 one that is not is left out, as long as the scale can fall.

        note: this waits for the device at every step.
        """
        finite = bool(torch.isfinite(loss)) and bool(torch.isfinite(norm))
        if not finite and scaler.exhausted:
            raise self.diverged(loss, norm)
        scaler.update(finite)
        return finite

    # --- memory -----------------------------------------------------------------------------------

    @property
    def parts(self) -> int:
        """How many parts a batch is split into."""
        wanted = self.stage.training.micro_batches
        return self.position.micro_batches if wanted == "auto" else wanted

    def split_further(self, rows: int) -> None:
        """Twice as many parts from here on; an `OutOfMemory` with advice if that is not for us, or not possible."""
        step, parts = self.position.step + 1, self.parts
        at = f"out of memory at step {step}, with {rows} rows in {parts} part{'s' if parts > 1 else ''}"
        lower = ', training.precision="bf16"' if self.stage.training.precision == "fp32" else ""
        if parts >= rows:
            raise OutOfMemory(f"{at}; set a smaller data.batches.length{lower}, or take a smaller model")
        if self.stage.training.micro_batches != "auto":
            raise OutOfMemory(
                f'{at}; set training.micro_batches={2 * parts} (or "auto"), a smaller data.batches.batch{lower}'
            )
        self.position.micro_batches = 2 * parts
        self.monitor.say(f"{at}: batches are split into {2 * parts} from here on")

    # --- between steps ----------------------------------------------------------------------------

    def after_step(self, before: Progress, after: Progress) -> None:
        """Whatever is due: log, validate, save."""
        stage = self.stage
        if due(stage.training.log_every, before, after) or self.stopped:
            self.log(after)
        pause, improved = time.monotonic(), False
        if due(stage.validate_every, before, after) or self.stopped:
            improved = self.validate(after)
        saving = due(stage.saving.every, before, after) or self.position.seconds - self.saved_at >= self.longest_unsaved
        if saving or improved or self.stopped or self.interrupted:
            self.save(improved)
        if improved or self.stopped or due(stage.validate_every, before, after):
            self.pause = max(self.pause, time.monotonic() - pause)

    def log(self, progress: Progress) -> None:
        """One training record, from the sums since the last."""
        if self.window.tokens == 0:  # all steps were left out
            return
        window, self.window = self.window, LogSums()
        loss = float(window.loss) / window.tokens
        record = {
            "kind": "train",
            "stage": self.stage.name,
            "step": self.position.step,
            "epoch": progress.epoch,
            "tokens": self.position.tokens,
            "loss": loss,
            "bits_per_byte": loss / math.log(2) / self.stage.bytes_per_token if self.is_causal_lm else None,
            **{f"{name}_loss": float(term) / window.tokens for name, term in window.terms.items()},
            "gradient_norm": float(self.last["gradient_norm"]),
            "learning_rate": self.last["learning_rate"],
            "tokens_per_second": window.tokens / max(window.seconds, 1e-9),
            "seconds": self.position.seconds,
        }
        if self.scaler is not None:
            record |= {"loss_scale": self.scaler.scale, "skipped": self.scaler.skipped}
        self.record(record)
        self.monitor.step(record, progress.fraction)

    def record(self, record: Record) -> None:
        """One more line of metrics.jsonl, and of wherever else it goes."""
        self.run.append(record)
        for tracker in self.trackers:
            tracker.write(record)

    def validate(self, progress: Progress) -> bool:
        """Measure the (averaged) weights on the validation split; true when they are the best so far."""
        stage, position = self.stage, self.position
        stage.objective.eval()
        with stage.averager.swapped(), advising("while validating; set a smaller evaluation.length"):
            measured = stage.validate()
        loss = judged(measured)
        self.validated = {
            "kind": "valid",
            "stage": stage.name,
            "step": position.step,
            "epoch": progress.epoch,
            **measured,
        }
        self.record(self.validated)
        stage.schedule.observe(loss)
        if stage.averager.observe(loss):
            self.monitor.say(f"step {position.step}: validation stopped improving; weights are averaged from here")
        patience = stage.training.patience
        if patience is not None and non_monotone(position.history, loss, patience) and not self.stopped:
            self.stopped = "patience"
        position.history.append(loss)
        improved = bool(loss < position.best)
        position.best = min(position.best, loss)
        remark = "  (best)" if improved else "  (nothing to judge it by: not the best)" if math.isinf(loss) else ""
        self.monitor.say(f"epoch {progress.epoch:.2f}  {validated(measured)}{remark}")
        return improved

    def check(self, loss: Tensor, norm: Tensor) -> None:
        """Stop at the first step whose loss or gradient is not finite; nothing of it reaches the weights.

        On a GPU that is looked at only when a record is due: asking at every step would wait for the device.
        """
        interval = self.stage.training.log_every
        if self.device.type != "cpu" and (
            interval.unit != "steps" or (self.position.stage_step + 1) % int(interval.value)
        ):
            return
        if bool(torch.isfinite(loss)) and bool(torch.isfinite(norm)) and float(loss) < self.hopeless():
            return
        raise self.diverged(loss, norm)

    def diverged(self, loss: Tensor, norm: Tensor) -> Diverged:
        """What to say of a step that is lost."""
        name, size = self.largest_gradient()
        return Diverged(
            f"training diverged at step {self.position.step + 1}: loss {float(loss):.4g}, "
            f"gradient norm {float(norm):.4g}, largest gradient {size:.3g} in {name}; "
            "lower optimizer.learning_rate or training.gradient_clip"
        )

    def hopeless(self) -> float:
        """A loss that no model in its senses has: three times that of guessing blindly."""
        return 3 * self.stage.objective.uniform_loss() + 10

    def largest_gradient(self) -> tuple[str, float]:
        """The parameter with the largest gradient; one that is not finite is larger than any."""
        sizes = {
            name: float(p.grad.abs().max().nan_to_num(math.inf))
            for name, p in self.stage.objective.named_parameters()
            if p.grad is not None
        }
        return max(sizes.items(), key=lambda item: item[1])

    # --- where training stands --------------------------------------------------------------------

    def progress(self) -> Progress:
        """How far this stage is."""
        position = self.position
        epoch, place, windows = self.stage.batches.locate(position.stage_step)
        at = Progress(position.stage_step, epoch + place / windows, position.tokens, position.seconds, 0.0)
        return Progress(at.step, at.epoch, at.tokens, at.seconds, at.of(self.stage.limit))

    def used_up(self, progress: Progress) -> bool:
        """Whether the limit is reached; a time limit leaves room for one more step, validation and saving."""
        if self.stage.limit.unit != "seconds":
            return progress.fraction >= 1 - 1e-9
        step = progress.seconds / progress.step
        return progress.seconds + step + (self.pause or self.expected_pause) >= self.stage.limit.value

    def expect_pause(self) -> None:
        """Find out what room the first validation needs."""
        self.stage.objective.eval()
        self.expected_pause = self.stage.validation_seconds()
        if self.expected_pause > self.stage.limit.value / 2:
            self.monitor.say(
                f"validation takes about {self.expected_pause:.1f} s, of a limit of {self.stage.limit}; "
                "evaluation.columns=16 is faster"
            )

    def save(self, improved: bool) -> Checkpoint:
        """A checkpoint of everything, and the names `last` and, if it is, `best` on it."""
        stage, position = self.stage, self.position
        position.finished = bool(self.stopped)
        names, (trained, frozen) = trained_names(stage.objective), parted(stage.objective)
        if self.frozen_file == "":
            self.frozen_file = checkpoint.keep_frozen(self.run, frozen)
        facts = {"step": position.step, "weights": "averaged" if stage.averager.means else "raw"}
        pointers = {"last": facts} | ({"best": {**facts, "loss": position.best}} if improved else {})
        saved = checkpoint.save(
            self.run,
            position.step,
            {
                "model": trained,
                "averaged": dict(zip(names, stage.averager.means, strict=False)),
                "optimizer": optimizer_tensors(stage.optimizer),
                "penalties": stage.objective.penalty_tensors(),
                "carried": checkpoint.flatten(self.state),
            },
            {
                "pointers": pointers,
                "validation": self.validated if self.validated.get("step") == position.step else {},
                "frozen": self.frozen_file,
                "position": vars(position),
                "schedule": stage.schedule.state_dict(),
                "averager": stage.averager.state_dict(),
                "scaler": self.scaler.state_dict() if self.scaler else {},
                "window": {
                    "loss": float(self.window.loss),
                    "tokens": self.window.tokens,
                    "seconds": self.window.seconds,
                    "terms": {name: float(term) for name, term in self.window.terms.items()},
                },
            },
        )
        checkpoint.prune(self.run, stage.saving.keep)
        self.saved, self.saved_at = position.step, position.seconds
        return saved

    def restore(self, saved: Checkpoint, parts: frozenset[str]) -> None:
        """Take from a checkpoint: "model", "optimizer", "schedule", "averager", "state"."""
        stage, record = self.stage, saved.record()
        if "model" in parts:
            load_weights(stage.objective, saved.weights())
            stage.objective.load_penalties(saved.tensors("penalties"))
        if "optimizer" in parts:
            load_optimizer(stage.optimizer, saved.tensors("optimizer"))
            if self.scaler is not None and record.get("scaler"):
                self.scaler.load_state_dict(record["scaler"])
        if "schedule" in parts:
            stage.schedule.load_state_dict(record["schedule"])
        if "averager" in parts:
            averaged = saved.tensors("averaged")
            names = trained_names(stage.objective)
            means = [averaged[name].to(self.device) for name in names] if averaged else []
            stage.averager.load_state_dict(record["averager"], means)
            self.window = LogSums(**record["window"])
        if "state" in parts:
            tensors = saved.tensors("carried")
            self.state = checkpoint.unflatten(tensors, stage.objective.backbone.initial_state(1)) if tensors else None
            self.state = map_state(lambda tensor: tensor.to(self.device), self.state)
