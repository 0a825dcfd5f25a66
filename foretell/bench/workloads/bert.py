"""Training steps of a small BERT (Devlin et al. 2019) and of an ELECTRA of its size (Clark et al. 2020)."""

from __future__ import annotations

from functools import partial
from typing import Any

from foretell.bench.workloads.workload import OURS, Job, Side, Workload, random_tokens, timed, trainer_of

VOCABULARY, LENGTH, ROWS, LAYERS, WIDTH, HEADS, INNER = 30_522, 128, 32, 4, 256, 4, 1024
MASKED: dict[str, Any] = {"kind": "masked"}
REPLACED: dict[str, Any] = {"kind": "replaced", "masking": {"kind": "token", "rate": 0.15, "mask": 0.85, "random": 0.0}}
MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def sizes(job: Job) -> tuple[int, int, int, int, int]:
    """Vocabulary, row length, rows, width and inner width."""
    return (50, 16, 2, 8, 16) if job.tiny else (VOCABULARY, LENGTH, ROWS, WIDTH, INNER)


def words(vocabulary: int) -> list[str]:
    """BERT's special tokens, and artificial words."""
    return [*MARKS, *(f"w{number}" for number in range(vocabulary - len(MARKS)))]


def ours(job: Job, objective: dict[str, Any]) -> dict[str, Any]:
    """foretell's trainer."""
    import torch

    torch.set_num_threads(job.threads)
    _, length, rows, _, _ = sizes(job)
    trainer = make_trainer(job, objective)
    return timed(lambda: trainer.step(trainer.progress()), job, rows * length)


def two_models(job: Job) -> dict[str, Any]:
    """Forward and backward passes of the generator and of the discriminator, separately, on prepared tokens."""
    import torch

    torch.set_num_threads(job.threads)
    _, length, rows, _, _ = sizes(job)
    trainer = make_trainer(job, REPLACED)
    objective, batch = trainer.stage.objective.train(), trainer.stage.batches[0]
    chosen = batch.targets != -100
    generator, targets = objective.generator, batch.targets[chosen]

    def step() -> None:
        objective.zero_grad(set_to_none=True)
        generator.head.nll(generator.backbone(batch.inputs, None).dropped[chosen], targets).mean().backward()
        vectors = objective.backbone(batch.inputs, None).dropped
        objective.discriminator(vectors, batch, batch.inputs.tokens)[0].backward()

    return timed(step, job, rows * length)


def model_of(tiny: bool, **more: Any) -> dict[str, Any]:
    """Sections `model` and `head` of a recipe."""
    model = {
        "kind": "transformer",
        "direction": "both",
        "layers": LAYERS,
        "hidden": 8 if tiny else WIDTH,
        "heads": HEADS,
        "feed_forward": 16 if tiny else INNER,
        "context": 512,
        "norm": {"kind": "post", "embedding": True, "epsilon": 1e-12},
        "segments": 2,
    }
    return {"model": model | more, "head": {"kind": "full", "tied": True, "transform": {"epsilon": 1e-12}}}


def make_trainer(job: Job, objective: dict[str, Any] = MASKED, device: str = "cpu", precision: str = "fp32") -> Any:
    """A trainer on random tokens."""
    from foretell.recipe.loading import load_recipe

    vocabulary, length, rows, _, _ = sizes(job)
    recipe = load_recipe(
        {
            **model_of(job.tiny, dropout={"input": 0.1, "attention": 0.1, "residual": 0.1}),
            "data": {
                "tokenizer": {"kind": "wordpiece", "specials": "bert"},
                "batches": {"kind": "full", "ends": "anywhere", "batch": rows, "length": length},
            },
            "objective": objective,
            "optimizer": {"kind": "adamw", "learning_rate": 1e-4},
            "training": {"gradient_clip": 1.0, "precision": precision},
        }
    )
    tokens = random_tokens(vocabulary - len(MARKS), 16 * rows * length) + len(MARKS)
    return trainer_of(recipe, vocabulary, tokens, device, word_tokenizer(vocabulary))


def word_tokenizer(vocabulary: int) -> Any:
    """A tokenizer of whole `words` separated by spaces."""
    import tokenizers

    from foretell.data.tokenizers.tokenizer import wrap

    library = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: i for i, word in enumerate(words(vocabulary))}, unk_token="[UNK]")
    )
    library.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    library.add_special_tokens(list(MARKS))
    return wrap(library)


def transformers(job: Job, sparse: bool) -> dict[str, Any]:
    """transformers' BertForMaskedLM and its collator in a plain loop; `sparse`: head on masked positions only."""
    import torch
    import torch.nn.functional as F
    from transformers import BertConfig, BertForMaskedLM, BertTokenizerFast, DataCollatorForLanguageModeling

    torch.set_num_threads(job.threads)
    torch.manual_seed(0)
    vocabulary, length, rows, width, inner = sizes(job)
    tokenizer = BertTokenizerFast(vocab={word: i for i, word in enumerate(words(vocabulary))})
    collate = DataCollatorForLanguageModeling(tokenizer, mlm=True, mlm_probability=0.15)
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=inner,
        max_position_embeddings=512,
    )
    model = BertForMaskedLM(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01)
    text = torch.from_numpy(random_tokens(vocabulary - len(MARKS), rows * length).astype("int64")) + len(MARKS)
    text = text.view(rows, length)
    text[:, 0], text[:, -1] = MARKS.index("[CLS]"), MARKS.index("[SEP]")
    examples = [{"input_ids": row.tolist(), "attention_mask": [1] * length} for row in text]

    def loss_of(batch: Any) -> Any:
        if not sparse:
            return model(**batch).loss
        vectors = model.bert(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])[0]
        chosen = batch["labels"] != -100
        return F.cross_entropy(model.cls(vectors[chosen]), batch["labels"][chosen])

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss_of(collate(examples)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return timed(step, job, rows * length)


BERT_STEP = Workload(
    name="bert-step",
    text="a training step of a small BERT, masking included, compared with transformers",
    work=(
        f"BERT of {LAYERS} layers, {WIDTH} wide, {HEADS} heads, vocabulary {VOCABULARY:,}, dropout 0.1, {ROWS} rows x "
        f"{LENGTH} random tokens, 15 % masked at random in each step; forward, backward, clipping at 1, AdamW; seconds "
        "per step; masked-only: transformers' model with its head on masked positions only"
    ),
    sides=(
        Side(OURS, partial(ours, objective=MASKED), ("torch",)),
        Side("transformers", partial(transformers, sparse=False), ("transformers", "torch")),
        Side("masked-only", partial(transformers, sparse=True), ("transformers", "torch")),
    ),
)

ELECTRA_STEP = Workload(
    name="electra-step",
    text="a training step of a small ELECTRA, compared with forward and backward passes of its two models",
    work=(
        f"a discriminator of {LAYERS} layers, {WIDTH} wide, and a generator of a quarter of that width, vocabulary "
        f"{VOCABULARY:,}, dropout 0.1, {ROWS} rows x {LENGTH} random tokens, 15 % masked at random in each step; "
        "both forward, sampling, backward, clipping at 1, AdamW; seconds per step; two-models: only forward and "
        "backward passes of each, on the same tokens each time"
    ),
    sides=(
        Side(OURS, partial(ours, objective=REPLACED), ("torch",)),
        Side("two-models", two_models, ("torch",)),
    ),
)
