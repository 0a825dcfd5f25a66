"""A small BERT as a sentence classifier: fine-tuning and prediction, compared with transformers."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foretell.bench.workloads import features
from foretell.bench.workloads.features import SENTENCES, read_padded, read_text
from foretell.bench.workloads.workload import OURS, Job, Side, Workload

if TYPE_CHECKING:
    from foretell.recipe.recipe import Recipe

ROWS, STEPS, RATE, DECAY = 32, 20, 5e-5, 0.01
CLASSES = ("even", "odd")


def inputs(folder: Path, tiny: bool) -> dict[str, str]:
    """The inputs of `features`, and some of its sentences with labels."""
    paths = features.inputs(folder, tiny)
    rows = 4 if tiny else ROWS
    sentences = (folder / "text.txt").read_text().splitlines()[: rows * STEPS]
    labelled = [f"{CLASSES[number % 2]}\t{sentence}\n" for number, sentence in enumerate(sentences)]
    (folder / "labelled.tsv").write_text("label\ttext\n" + "".join(labelled))
    return paths


def with_classifier(folder: Path, tiny: bool) -> dict[str, str]:
    """Also a run of a classifier trained for one step, and the weights of its output layers."""
    import numpy as np

    from foretell.api.train import run_recipe
    from foretell.training.state_dict import weights

    paths = inputs(folder, tiny)
    top = {"kind": "top", "layers": 0}  # the backbone stays equal to that of transformers
    recipe = recipe_of(folder, tiny, limit="1steps", trainable=top)
    run = run_recipe(recipe, folder / "classifier", resume=False, quiet=True, device="cpu")
    top_weights: dict[str, Any] = {n: t.numpy() for n, t in weights(run.objective).items() if "backbone" not in n}
    np.savez(folder / "top.npz", **top_weights)
    return paths


def recipe_of(folder: Path, tiny: bool, **more: Any) -> Recipe:
    """BERT's recipe for sentences on the labelled ones, without validations and checkpoints."""
    from foretell.recipe.loading import load_recipe

    file, never = str(folder / "labelled.tsv"), "1000epochs"
    return load_recipe(
        "bert-finetune-sst2",
        {
            "init": str(folder / "run"),
            "limit": never,
            "data.corpus": {"train": file, "valid": file},
            "data.reader": {"kind": "table", "format": "tsv"},
            "data.batches": {"kind": "examples", "batch": 4 if tiny else ROWS, "length": features.LONGEST},
            "optimizer.learning_rate": RATE,
            "optimizer.weight_decay": DECAY,
            "schedule": {"kind": "constant"},
            "evaluation.every": never,
            "checkpoint.every": never,
            **more,
        },
    )


# --- fine-tuning ----------------------------------------------------------------------------------


def ours(job: Job) -> dict[str, Any]:
    """foretell's trainer, everything between steps included."""
    import tempfile

    import torch

    from foretell.api.initialisation import initial_counts
    from foretell.api.stages import begin_stage, build_stage
    from foretell.learning.labels import keep_labels
    from foretell.learning.task import TaskModule
    from foretell.run import Run
    from foretell.training.checkpoint import TrainState
    from foretell.training.monitor import Monitor
    from foretell.training.trainer import Trainer

    torch.set_num_threads(job.threads)
    torch.manual_seed(0)
    config, recipe = recipe_of(Path(job.inputs["folder"]), job.tiny).resolved_stages()[0]
    monitor = Monitor(quiet=True)
    data = TaskModule(recipe)
    run = Run.create(Path(tempfile.mkdtemp()) / "run", recipe=recipe.text(), resume=False)
    data.tokenizer.save(run.tokenizer_file)
    keep_labels(run, data.labels)
    stage = build_stage(config, recipe, data, torch.device("cpu"), initial_counts(recipe, data))
    trainer = Trainer(run, stage, TrainState(), seed=0, monitor=monitor)
    begin_stage(trainer, run, recipe, config, data)

    def step() -> None:
        before = trainer.progress()
        trainer.step(before)
        trainer.after_step(before, trainer.progress())

    return second_epoch(step)


def second_epoch(step: Callable[[], None]) -> dict[str, Any]:
    """Mean seconds per step over an epoch, after a warm-up epoch."""
    marks = [time.perf_counter()]
    for _ in range(2 * STEPS):
        step()
        marks.append(time.perf_counter())
    return epoch_figures(marks)


def epoch_figures(marks: list[float]) -> dict[str, Any]:
    """marks: start of the first step, then the end of each step."""
    return {"seconds": (marks[2 * STEPS] - marks[STEPS]) / STEPS, "first_step_seconds": marks[1] - marks[0]}


def trainer(job: Job, *, by_length: bool) -> dict[str, Any]:
    """transformers' Trainer with its collator, on prepared ids."""
    import tempfile

    import numpy as np
    import torch
    from transformers import (
        BertForSequenceClassification,
        BertTokenizerFast,
        DataCollatorWithPadding,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    torch.set_num_threads(job.threads)
    folder = Path(job.inputs["folder"])
    count = len((folder / "labelled.tsv").read_text().splitlines()) - 1
    rows = torch.from_numpy(np.load(folder / "ids.npy")).split(np.load(folder / "lengths.npy").tolist())
    examples = [
        {"input_ids": row.tolist(), "attention_mask": [1] * len(row), "labels": number % 2}
        for number, row in enumerate(rows[:count])
    ]
    marks: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        """Record the times of steps."""

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            marks.append(time.perf_counter())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            marks.append(time.perf_counter())

    arguments = TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=-(-count // STEPS),
        num_train_epochs=2,
        learning_rate=RATE,
        weight_decay=DECAY,
        max_grad_norm=1.0,
        lr_scheduler_type="constant",
        train_sampling_strategy="group_by_length" if by_length else "random",
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    model = BertForSequenceClassification.from_pretrained(folder / "theirs", num_labels=len(CLASSES))
    tokenizer = BertTokenizerFast.from_pretrained(folder / "theirs")
    Trainer(model, arguments, DataCollatorWithPadding(tokenizer), train_dataset=examples, callbacks=[Clock()]).train()
    return epoch_figures(marks)


# --- prediction -----------------------------------------------------------------------------------


def predicted(job: Job) -> dict[str, Any]:
    """foretell's predictions, from text."""
    import numpy as np

    def read(run: Any, texts: list[str]) -> Any:
        return np.array([[prediction.probabilities[name] for name in CLASSES] for prediction in run.predict(texts)])

    return read_text(job, "classifier", read)


def transformers(job: Job, *, by_length: bool) -> dict[str, Any]:
    """transformers' BertForSequenceClassification with the same weights."""
    import numpy as np
    import torch
    from transformers import BertForSequenceClassification

    folder = Path(job.inputs["folder"])
    model = BertForSequenceClassification.from_pretrained(folder / "theirs", num_labels=len(CLASSES)).eval()
    top = {name: torch.from_numpy(values) for name, values in np.load(folder / "top.npz").items()}
    model.bert.pooler.dense.load_state_dict({part: top[f"pooler.{part}"] for part in ("weight", "bias")})
    model.classifier.load_state_dict({part: top[f"outputs.1.{part}"] for part in ("weight", "bias")})

    def probabilities(ids: Any, real: Any) -> Any:
        return model(input_ids=ids, attention_mask=real).logits.softmax(-1)

    return read_padded(job, probabilities, by_length=by_length)


MODEL = "the BERT and the sentences of `features`"
PREDICT = Workload(
    name="predict",
    text="predictions of a sentence classifier, compared with transformers in file order and sorted",
    work=(
        f"{MODEL}, all {SENTENCES:,}; two classes, the same weights on all sides; transformers and sorted as there, "
        "from prepared ids, ours from text. Seconds for all sentences"
    ),
    sides=(
        Side(OURS, predicted, ("torch",)),
        Side("transformers", partial(transformers, by_length=False), ("transformers", "torch")),
        Side("sorted", partial(transformers, by_length=True), ("transformers", "torch")),
    ),
    inputs=with_classifier,
)

FINETUNE_STEP = Workload(
    name="finetune-step",
    text="a fine-tuning step of a classifier, compared with transformers' Trainer",
    work=(
        f"{MODEL}, the first {ROWS * STEPS}, two classes, batches of {ROWS}, dropout 0.1, clipping at 1, AdamW; mean "
        f"seconds per step over an epoch of {STEPS}, after a warm-up epoch. transformers: its Trainer with random "
        "batches; by-length: its Trainer with batches of similar length, as ours"
    ),
    sides=(
        Side(OURS, ours, ("torch",)),
        Side("transformers", partial(trainer, by_length=False), ("transformers", "accelerate", "torch")),
        Side("by-length", partial(trainer, by_length=True), ("transformers", "accelerate", "torch")),
    ),
    inputs=inputs,
)
