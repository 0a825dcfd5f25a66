"""A complete small training: nanoGPT's CPU setting for characters of Shakespeare, from a cold start."""

from __future__ import annotations

import math
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from foretell.bench.workloads.workload import OURS, Job, Side, Workload

LAYERS, HEADS, WIDTH, CONTEXT, ROWS = 4, 4, 128, 64, 12
WARMUP, RATE, FLOOR = 100, 1e-3, 1e-4
VALIDATION_BATCHES = 20


def iterations(job: Job, steps: int) -> int:
    """Number of training steps."""
    return 3 if job.tiny else steps


def inputs(folder: Path, tiny: bool) -> dict[str, str]:
    """The text in two files: the first nine tenths and the rest."""
    from foretell.data.text.builtin import open_builtin

    if tiny:
        text = "To be, or not to be, that is the question.\n" * 200
    else:
        corpus = open_builtin("tinyshakespeare")
        text = "".join(piece.text for split in ("train", "valid", "test") for piece in corpus.pieces(split))
    cut = len(text) * 9 // 10
    paths = {"train": folder / "train.txt", "valid": folder / "valid.txt"}
    paths["train"].write_text(text[:cut], encoding="utf-8")
    paths["valid"].write_text(text[cut:], encoding="utf-8")
    return {split: str(path) for split, path in paths.items()}


class Clock:
    """Times of completed steps, in seconds since the process started."""

    def __init__(self, job: Job):
        self.job = job
        self.marks: list[float] = []

    def tick(self, *_: Any) -> None:
        """Record a completed step."""
        self.marks.append(self.job.elapsed())

    def figures(self, loss: float) -> dict[str, Any]:
        """Figures of a side at the end."""
        steps = [after - before for before, after in zip(self.marks, self.marks[1:], strict=False)]
        return {
            "seconds": self.job.elapsed(),
            "first_step_seconds": self.marks[0],
            "step_seconds": statistics.median(steps),
            "loss": loss,
        }


# --- ours -----------------------------------------------------------------------------------------


def ours(job: Job, steps: int) -> dict[str, Any]:
    """The shipped recipe with foretell's trainer: prepare the text, train, validate, save."""
    import os

    with tempfile.TemporaryDirectory() as folder:
        os.environ["FORETELL_CACHE"] = f"{folder}/cache"  # an empty cache
        return train(job, iterations(job, steps), Path(folder))


def train(job: Job, steps: int, folder: Path) -> dict[str, Any]:
    """Train in a folder; see `ours`."""
    import torch

    from foretell.api.stages import assemble_stage
    from foretell.data.batches.streams import CropsConfig
    from foretell.evaluate.evaluator import FunctionEvaluator
    from foretell.evaluate.scoring import NeuralScorer, total
    from foretell.learning.text import TextModule
    from foretell.recipe.loading import load_recipe
    from foretell.run import Run
    from foretell.training.checkpoint import TrainState
    from foretell.training.monitor import Monitor
    from foretell.training.trainer import Trainer

    torch.set_num_threads(job.threads)
    monitor = Monitor(quiet=True)
    recipe = load_recipe(
        "nanogpt-shakespeare",
        {"limit": f"{steps}steps", "data.corpus": dict(job.inputs)},
    )
    torch.manual_seed(recipe.seed)
    data = TextModule(recipe)
    specials, valid = data.tokenizer.specials, data.valid
    objective = recipe.build(data.tokenizer.size)
    crops = CropsConfig(batch=ROWS, length=CONTEXT).build(valid, specials, seed=0)
    sample = [crops[k] for k in range(min(VALIDATION_BATCHES, len(crops)))]
    scorer = NeuralScorer(objective.backbone, objective.head, ranks=False)
    losses: list[float] = []

    def validate() -> dict[str, Any]:
        losses.append(total(scorer, sample, torch.device("cpu")).loss)
        return {"loss": losses[-1], "perplexity": math.exp(losses[-1]), "bits_per_byte": losses[-1] / math.log(2)}

    stage = assemble_stage(
        recipe,
        objective,
        data.batches(),
        FunctionEvaluator(validate),
        name="bench",
        bytes_per_token=1.0,
    )
    clock = Clock(job)
    stage.optimizer.register_step_post_hook(clock.tick)
    run = Run.create(folder / "run", recipe=recipe.text(), resume=False)
    Trainer(run, stage, TrainState(), seed=recipe.seed, monitor=monitor).train()
    return clock.figures(losses[-1])


# --- peers ----------------------------------------------------------------------------------------


def rate_at(step: int, steps: int) -> float:
    """Linear warm-up, then half a cosine."""
    if step < WARMUP:
        return RATE * (step + 1) / (WARMUP + 1)
    return FLOOR + (RATE - FLOOR) * (1 + math.cos(math.pi * (step - WARMUP) / max(1, steps - WARMUP))) / 2


def tokens_of(job: Job) -> tuple[Any, Any, int]:
    """Training and validation text as character ids, and the number of characters."""
    import torch

    texts = [Path(job.inputs[split]).read_text(encoding="utf-8") for split in ("train", "valid")]
    number = {character: i for i, character in enumerate(sorted(set("".join(texts))))}
    train, valid = (torch.tensor([number[character] for character in text]) for text in texts)
    return train, valid, len(number)


def crops_of(text: Any) -> tuple[Any, Any]:
    """Random windows and their next characters, both [12, 64]."""
    import torch

    starts = torch.randint(len(text) - CONTEXT - 1, (ROWS,)).tolist()
    rows = torch.stack([text[start : start + CONTEXT + 1] for start in starts])
    return rows[:, :-1], rows[:, 1:]


def plain_loop(
    job: Job, steps: int, build: Callable[[int], Any], scores_of: Callable[[Any, Any], Any]
) -> dict[str, Any]:
    """A usual training loop around a model of `characters` characters."""
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(job.threads)
    torch.manual_seed(1337)
    train, valid, characters = tokens_of(job)
    model = build(characters)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.99), weight_decay=0.1)

    def loss_on(text: Any) -> Any:
        inputs, targets = crops_of(text)
        return F.cross_entropy(scores_of(model, inputs).flatten(0, 1), targets.flatten())

    clock, steps = Clock(job), iterations(job, steps)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, steps)
        loss = loss_on(train)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 10 == 0:
            loss.item()
        clock.tick()
    model.eval()
    with torch.no_grad():
        losses = [loss_on(valid).item() for _ in range(VALIDATION_BATCHES)]
    return clock.figures(statistics.fmean(losses))


def plain(job: Job, steps: int) -> dict[str, Any]:
    """The model in plain torch modules, in a plain loop."""
    import torch
    import torch.nn.functional as F
    from torch import Tensor, nn

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norms = nn.ModuleList(nn.LayerNorm(WIDTH, bias=False) for _ in range(2))
            self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
            self.out = nn.Linear(WIDTH, WIDTH, bias=False)
            self.wide = nn.Linear(WIDTH, 4 * WIDTH, bias=False)
            self.narrow = nn.Linear(4 * WIDTH, WIDTH, bias=False)
            for last in (self.out, self.narrow):
                nn.init.normal_(last.weight, std=0.02 / math.sqrt(2 * LAYERS))
            for first in (self.qkv, self.wide):
                nn.init.normal_(first.weight, std=0.02)

        def forward(self, x: Tensor) -> Tensor:
            parts = self.qkv(self.norms[0](x)).split(WIDTH, dim=2)
            q, k, v = (part.unflatten(2, (HEADS, -1)).transpose(1, 2) for part in parts)
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(mixed.transpose(1, 2).flatten(2))
            x = x + self.narrow(F.gelu(self.wide(self.norms[1](x))))
            return x

    class GPT(nn.Module):
        def __init__(self, characters: int) -> None:
            super().__init__()
            self.tokens, self.positions = nn.Embedding(characters, WIDTH), nn.Embedding(CONTEXT, WIDTH)
            self.layers = nn.Sequential(*(Layer() for _ in range(LAYERS)), nn.LayerNorm(WIDTH, bias=False))
            self.head = nn.Linear(WIDTH, characters, bias=False)
            self.head.weight = self.tokens.weight
            for table in (self.tokens, self.positions):
                nn.init.normal_(table.weight, std=0.02)

        def forward(self, tokens: Tensor) -> Tensor:
            x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1]))
            scores: Tensor = self.head(self.layers(x))
            return scores

    return plain_loop(job, steps, GPT, lambda model, tokens: model(tokens))


def hugging_face_model(characters: int) -> Any:
    """transformers' GPT-2 of the same size (it has biases)."""
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=characters,
            n_positions=CONTEXT,
            n_embd=WIDTH,
            n_layer=LAYERS,
            n_head=HEADS,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            use_cache=False,
            bos_token_id=0,
            eos_token_id=0,
        )
    )


def transformers(job: Job, steps: int) -> dict[str, Any]:
    """transformers' GPT-2 in the same loop."""
    return plain_loop(job, steps, hugging_face_model, lambda model, tokens: model(input_ids=tokens).logits)


def trainer(job: Job, steps: int) -> dict[str, Any]:
    """transformers' GPT-2 with its Trainer, which shifts targets itself, so a row has 63 of them."""
    import torch
    import torch.nn.functional as F
    from transformers import Trainer, TrainerCallback, TrainingArguments, default_data_collator

    torch.set_num_threads(job.threads)
    torch.manual_seed(1337)
    train, valid, characters = tokens_of(job)
    model, clock, steps = hugging_face_model(characters), Clock(job), iterations(job, steps)

    class Crops(torch.utils.data.Dataset[dict[str, Any]]):
        def __len__(self) -> int:
            return steps * ROWS

        def __getitem__(self, index: int) -> dict[str, Any]:
            start = int(torch.randint(len(train) - CONTEXT - 1, ()))
            row = train[start : start + CONTEXT]
            return {"input_ids": row, "labels": row}

    class Ticks(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.tick()

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=steps,
            per_device_train_batch_size=ROWS,
            learning_rate=RATE,
            warmup_steps=WARMUP,
            lr_scheduler_type="cosine",
            weight_decay=0.1,
            adam_beta2=0.99,
            max_grad_norm=1.0,
            logging_steps=10,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            log_level="error",
        )
        Trainer(
            model=model,
            args=arguments,
            train_dataset=Crops(),
            data_collator=default_data_collator,
            callbacks=[Ticks()],
        ).train()
    model.eval()
    losses = []
    with torch.no_grad():
        for _ in range(VALIDATION_BATCHES):
            inputs, targets = crops_of(valid)
            losses.append(F.cross_entropy(model(input_ids=inputs).logits.flatten(0, 1), targets.flatten()).item())
    return clock.figures(statistics.fmean(losses))


def workload(steps: int) -> Workload:
    """The workload of `steps` iterations."""
    return Workload(
        name="shakespeare" if steps == 200 else f"shakespeare-{steps}",
        text=f"{steps:,} iterations of a character GPT from a cold start, compared with a torch loop and transformers",
        work=(
            f"4 layers, 4 heads, 128 wide, context 64, 12 rows, {steps:,} iterations of AdamW with warm-up and cosine, "
            "then 20 validation batches; seconds from the start of the process to the validation loss (ours also "
            "prepares the text, validates and saves checkpoints)"
        ),
        sides=(
            Side(OURS, partial(ours, steps=steps), ("torch",)),
            Side("torch", partial(plain, steps=steps), ("torch",)),
            Side("transformers", partial(transformers, steps=steps), ("transformers", "torch")),
            Side("trainer", partial(trainer, steps=steps), ("transformers", "accelerate", "torch")),
        ),
        inputs=inputs,
    )


SHAKESPEARE = (workload(200), workload(2000))
