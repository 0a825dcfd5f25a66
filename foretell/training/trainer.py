"""The training loop.

One stage of training is: take batch k, let the objective sum its losses, divide by the counts, go backward, clip, step,
average; at intervals log, validate and save. Everything random is seeded from (seed, step), so that a resumed
training equals an uninterrupted one to the last bit.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from foretell.optim.non_monotone import non_monotone
from foretell.optim.progress import Progress, due
from foretell.run import Record, Run, judged
from foretell.training import checkpoint, state
from foretell.training.callbacks import Callback
from foretell.training.checkpoint import Checkpoint, TrainState
from foretell.training.divergence import diverged, is_lost
from foretell.training.log_sums import LogSums
from foretell.training.loss_normalisation import loss_factor
from foretell.training.monitor import Activity, Monitor, described, validated
from foretell.training.out_of_memory import OutOfMemory, advising, out_of_memory, release
from foretell.training.precision import LossScaler, autocast
from foretell.training.seeds import seed_generators, step_seed
from foretell.training.signals import interruptible
from foretell.training.stage import Stage
from foretell.training.validation import bound_validation
from foretell.training.world import World
from foretell.types import Batch, State, detach, join_rows, map_state, select_rows
from foretell.units import counted

LONGEST_UNLOGGED = 5.0
"""seconds after which a record is written before `log_every` is over, so that short runs have curves"""
RECENT = 10
"""steps whose times say how long the next may take"""


class Gradients(NamedTuple):
    """A backward pass: the gradients themselves are in the parameters."""

    loss: Tensor
    """[] mean loss in nats"""
    terms: dict[str, Tensor]
    """[] sum of the losses of each term"""
    state: State
    """after the batch, without its history"""


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
        callbacks: Sequence[Callback] = (),
        world: World | None = None,
    ):
        self.world = world or World()
        self.run, self.stage, self.position = run, stage, position
        self.seed, self.monitor, self.callbacks = seed, monitor, callbacks
        self.shown = Activity(monitor, stage.name)
        self.device = next(stage.objective.parameters()).device
        self.rate = stage.optimizer.defaults["lr"]
        self.rates = [group["lr"] for group in stage.optimizer.param_groups]
        self.scaler = LossScaler(stage.training.scaling) if stage.training.precision == "fp16" else None
        self.state: State = None
        self.stopped: Literal["", "limit", "patience"] = ""
        self.interrupted = False  # apart from `stopped`: a signal in a stage's last step does not make it unfinished
        self.step_seconds = deque([0.0], maxlen=RECENT)
        self.step_facts: Record = {}  # gradient norm and learning rate of the last step
        self.window = LogSums()
        self.validated: Record = {}  # the record of the last validation
        self.saved, self.saved_at = position.step, position.seconds
        self.logged_at = position.seconds
        self.longest_unsaved = 60 * stage.saving.minutes
        self.frozen_file: str | None = ""  # file of the frozen weights; "": not written yet
        self.begun = time.monotonic() - position.seconds
        self.pause = 0.0  # longest time of a validation with saving: a time limit leaves room for it
        self.expected_pause = 0.0  # an estimate until one is measured

    # --- the loop ---------------------------------------------------------------------------------

    def train(self) -> str:
        """Train until the limit, early stopping or a signal; return which."""
        limit = self.stage.limit.value if self.stage.limit.unit == "seconds" else None
        with self.monitor.activity(self.stage.name, self.progress().fraction, limit) as self.shown:
            self.begun = time.monotonic() - self.position.seconds
            self.expected_pause = bound_validation(self.stage, self.position, self.monitor)
            with interruptible(self):
                while not (self.stopped or self.world.any(self.interrupted)):
                    before = self.progress()
                    self.step(before)
                    after = self.progress()
                    self.shown(after.fraction)
                    self.stopped = "limit" if self.used_up(after) else ""
                    self.after_step(before, after)
                if self.saved != self.position.step:  # a signal came after the last chance to save
                    self.save(improved=False)
        return "interrupted" if self.interrupted else self.stopped

    def step(self, progress: Progress) -> None:
        """One optimiser step on one batch."""
        stage, begin = self.stage, time.monotonic()
        batch = stage.batches[self.position.stage_step]
        counts = {name: self.world.sum(count) for name, count in stage.objective.counts(batch).items()}
        factor = loss_factor(batch, stage.training.normalise)
        carried = None if batch.all_fresh else self.state
        if not stage.objective.training:
            stage.objective.train()
        divisors = {name: (count or 1) / factor for name, count in counts.items()}
        found = self.gradients(batch.to(self.device), carried, divisors)
        loss, tokens = found.loss / factor, batch.tokens
        applied = self.apply(loss, stage.schedule(progress) * batch.lr_factor * stage.rate_of_rows(len(batch.targets)))
        self.position.step += 1
        self.position.stage_step += 1
        self.position.tokens += tokens
        self.position.seconds = time.monotonic() - self.begun
        self.state = found.state if applied else map_state(torch.nan_to_num, found.state)
        if applied:
            self.window.add(loss, tokens, found.terms, counts)
            stage.averager.update(progress, self.progress())
        self.step_seconds.append(time.monotonic() - begin)
        self.window.seconds += self.step_seconds[-1]

    def gradients(self, batch: Batch, state: State, divisors: Mapping[str, float]) -> Gradients:
        """`backward`; with `micro_batches = "auto"` again in twice as many parts when memory runs out.

        The seed is that of the step each time, so the number of parts changes nothing.
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
            release(self.device)  # only here: until now the traceback held the failed step's tensors

    def backward(self, batch: Batch, carried: State, divisors: Mapping[str, float]) -> Gradients:
        """Accumulate the gradients of the batch's mean losses over its parts."""
        rows = len(batch.targets)
        height = -(-rows // self.parts)
        losses, states = [], []
        terms: dict[str, Tensor] = {}
        for begin in range(0, rows, height):
            part = slice(begin, min(begin + height, rows))
            whole = height >= rows
            micro = batch if whole else batch.rows(part)
            before = carried if whole or carried is None else select_rows(carried, part)
            with autocast(self.device, self.stage.training.precision):
                step = self.stage.objective(micro, before)
            # note: sums divided by the counts of the whole batch, so that the parts add up to exactly its mean
            means = [term.total / divisors[name] * term.weight for name, term in step.terms.items()]
            loss = torch.stack(means).sum()
            for name, term in step.terms.items():
                terms[name] = term.total.detach() + terms.get(name, 0.0)
            share = (part.stop - part.start) / rows
            objective = loss if step.penalty is None else loss + step.penalty * share
            (objective if self.scaler is None else objective * self.scaler.scale).backward()
            losses.append(loss.detach())
            states.append(detach(step.state))
        return Gradients(torch.stack(losses).sum(), terms, join_rows(states) if len(states) > 1 else states[0])

    def apply(self, loss: Tensor, factor: float) -> bool:
        """One optimiser step, with a factor on the learning rate; False if it was skipped."""
        stage = self.stage
        trained = [p for p in stage.objective.parameters() if p.grad is not None]
        gradients = [p.grad for p in trained if p.grad is not None]
        if self.scaler is not None:
            self.scaler.unscale(gradients)
        norm = torch.nn.utils.get_total_norm(gradients)
        if self.scaler is not None and not self.accepted(self.scaler, loss, norm):
            return False
        if self.position.first_loss is None and bool(torch.isfinite(loss)):
            self.position.first_loss = float(loss)
        first = self.position.first_loss or 0.0
        if self.looks_at(self.position.stage_step + 1) and is_lost(stage.objective, loss, norm, first):
            raise diverged(stage.objective, self.position.step + 1, loss, norm, first)  # clipping would spread it
        if stage.training.gradient_clip is not None:
            torch.nn.utils.clip_grads_with_norm_(trained, stage.training.gradient_clip, norm)
        for group, rate in zip(stage.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        with advising("for the optimiser's state; take a smaller model, or optimizer.kind=sgd"):
            stage.optimizer.step()
        self.step_facts = {"gradient_norm": norm, "learning_rate": self.rate * factor}
        return True

    def accepted(self, scaler: LossScaler, loss: Tensor, norm: Tensor) -> bool:
        """Whether an fp16 step is finite. One that is not is skipped, as long as the scale can fall.

        note: this waits for the device at every step.
        """
        finite = bool(torch.isfinite(loss)) and bool(torch.isfinite(norm))
        if not finite and scaler.exhausted:
            raise diverged(self.stage.objective, self.position.step + 1, loss, norm)
        scaler.update(finite)
        return finite

    def looks_at(self, step: int) -> bool:
        """Whether a step's loss is read back: on a GPU only when a record is due, as it waits for the device."""
        interval = self.stage.training.log_every
        return self.device.type == "cpu" or (interval.unit == "steps" and step % int(interval.value) == 0)

    # --- memory -----------------------------------------------------------------------------------

    @property
    def parts(self) -> int:
        """Number of parts a batch is split into."""
        wanted = self.stage.training.micro_batches
        return self.position.micro_batches if wanted == "auto" else wanted

    def split_further(self, rows: int) -> None:
        """Double the number of parts; raise `OutOfMemory` with advice if it is fixed or cannot grow."""
        step, parts = self.position.step + 1, self.parts
        at = f"out of memory at step {step}, with {counted(rows, 'row')} in {counted(parts, 'part')}"
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
        """Log, validate and save if due."""
        stage = self.stage
        for callback in self.callbacks:
            callback.on_step(after)
        unlogged = after.seconds - self.logged_at
        if due(stage.training.log_every, before, after) or self.stopped or unlogged >= LONGEST_UNLOGGED:
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
        """Write a training record from the sums since the last one."""
        if self.window.tokens == 0:  # all steps were skipped
            return
        window, self.window, self.logged_at = self.window, LogSums(), self.position.seconds
        record = {
            "kind": "train",
            "stage": self.stage.name,
            "step": self.position.step,
            "epoch": progress.epoch,
            "tokens": self.position.tokens,
            **window.losses(self.stage.bytes_per_token),
            "gradient_norm": float(self.step_facts["gradient_norm"]),
            "learning_rate": self.step_facts["learning_rate"],
            "tokens_per_second": window.tokens / max(window.seconds, 1e-9),
            "seconds": self.position.seconds,
        }
        if self.scaler is not None:
            record |= {"loss_scale": self.scaler.scale, "skipped": self.scaler.skipped}
        self.record(record)
        self.shown(progress.fraction, described(record))

    def record(self, record: Record) -> None:
        """Append to metrics.jsonl, and hand copies to the callbacks."""
        if not self.world.is_main:
            return
        self.run.append(record)
        for callback in self.callbacks:
            callback.on_record(deepcopy(record))
            if record["kind"] == "valid":
                callback.on_validation(deepcopy(record))

    def validate(self, progress: Progress) -> bool:
        """Measure the (averaged) weights on the validation split; True if they are the best so far."""
        stage, position = self.stage, self.position
        stage.objective.eval()
        shown = self.monitor.activity("validation")
        with shown as activity, stage.averager.swapped(), advising("while validating; set a smaller evaluation.length"):
            measured = stage.evaluator.evaluate("valid", activity)
        loss = judged(measured)
        self.validated = {
            "kind": "valid",
            "stage": stage.name,
            "step": position.step,
            "epoch": progress.epoch,
            **measured,
            **position.reduced,
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
        remark = "  (best)" if improved else "  (no validation loss)" if math.isinf(loss) else ""
        self.monitor.say(f"epoch {progress.epoch:.2f}  {validated(measured)}{remark}")
        return improved

    # --- where training stands --------------------------------------------------------------------

    def progress(self) -> Progress:
        """The progress of this stage."""
        position = self.position
        epoch, place, windows = self.stage.batches.locate(position.stage_step)
        at = Progress(position.stage_step, epoch + place / windows, position.tokens, position.seconds, 0.0)
        return Progress(at.step, at.epoch, at.tokens, at.seconds, at.of(self.stage.limit))

    def used_up(self, progress: Progress) -> bool:
        """Whether the limit is reached. A time limit leaves room for the longest of the last steps and a validation."""
        if self.stage.limit.unit != "seconds":
            return progress.fraction >= 1 - 1e-9
        needed = max(self.step_seconds) + (self.pause or self.expected_pause)
        return self.world.any(progress.seconds + needed >= self.stage.limit.value)

    def save(self, improved: bool) -> Checkpoint:
        """Write a checkpoint, mark it as the best if it is, and delete old ones."""
        self.position.finished = bool(self.stopped)
        saved = state.save(self, improved)
        checkpoint.prune(self.run, self.stage.saving.keep)
        self.saved, self.saved_at = self.position.step, self.position.seconds
        for callback in self.callbacks:
            callback.on_save(saved.path)
        return saved

    def restore(self, saved: Checkpoint, parts: frozenset[str]) -> None:
        """Restore from a checkpoint any of "model", "optimizer", "schedule", "averager", "state"."""
        state.restore(self, saved, parts)
