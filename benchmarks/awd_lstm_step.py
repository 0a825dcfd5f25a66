"""One training step of AWD-LSTM at the published Penn Treebank size, through foretell's own trainer.

The work: vocabulary 10,000, embedding 400, LSTMs 400 -> 1150 -> 1150 -> 400, tied head with bias, 20 rows x 70 random
tokens with carried state; all dropouts, both penalties, clipping at 0.25 and SGD as in recipes/awd-lstm-ptb.toml;
windows of fixed length. Prints one JSON line with the median seconds of a step.

    python benchmarks/awd_lstm_step.py [--steps 5] [--threads 2] [--profile]

FORETELL_ALLOCATOR=default leaves glibc's allocator alone, for comparison with peers at their defaults.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field

import numpy as np

from foretell import allocator
from foretell.__main__ import prepare_process

VOCABULARY, ROWS, STEPS = 10_000, 20, 70


@dataclass
class RandomText:
    """Eight windows of random tokens."""

    tokens: np.ndarray = field(
        default_factory=lambda: np.random.default_rng(1).integers(0, VOCABULARY, ROWS * STEPS * 8, dtype=np.uint16)
    )


def main() -> None:
    """Time the steps."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--profile", action="store_true", help="print the most expensive operations to stderr")
    arguments = parser.parse_args()
    prepare_process()
    import torch

    torch.set_num_threads(arguments.threads)
    trainer = make_trainer()

    def step() -> float:
        begin = time.perf_counter()
        trainer.step(trainer.progress())
        return time.perf_counter() - begin

    warmup = step()
    seconds = [step() for _ in range(arguments.steps)]
    if arguments.profile:
        with torch.profiler.profile() as profile:
            step()
        print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=20), file=sys.stderr)
    from foretell.run import peak_memory

    result = {
        "peer": "foretell",
        "work": "awd_lstm_step",
        "seconds": statistics.median(seconds),
        "s_min": min(seconds),
        "s_max": max(seconds),
        "n": len(seconds),
        "warmup_s": warmup,
        "tokens_per_s": ROWS * STEPS / statistics.median(seconds),
        "peak_mb": peak_memory() / 2**20,
        "config": {"threads": arguments.threads, "allocator": allocator.active(), "torch": torch.__version__},
    }
    print(json.dumps(result))


def make_trainer():
    """A trainer of the shipped recipe on random text."""
    from foretell.recipe import load_recipe
    from foretell.run import Run
    from foretell.training.monitor import Monitor
    from foretell.training.trainer import Position, Stage, Trainer

    recipe = load_recipe("awd-lstm-ptb", ["data.batches.jitter=0.0"])
    objective = recipe.build(VOCABULARY)
    parameters = list(objective.parameters())
    stage = Stage(
        name="benchmark",
        objective=objective,
        batches=recipe.data.batches.build(RandomText(), boundary=0, seed=0),
        optimizer=recipe.optimizer.build(parameters),
        schedule=recipe.schedule.build(),
        averager=recipe.averaging.build(parameters),
        limit=recipe.limit,
        training=recipe.training,
        saving=recipe.checkpoint,
        validate=dict,
        validate_every=recipe.evaluation.every,
        bytes_per_token=1.0,
    )
    return Trainer(Run(tempfile.mkdtemp()), stage, Position(), seed=0, monitor=Monitor(quiet=True))


if __name__ == "__main__":
    main()
