"""Vectors of sentences of mixed length, compared with transformers' BERT, padded in file order or sorted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from math import exp
from pathlib import Path
from typing import Any

from foretell.bench.workloads.bert import LAYERS, MARKS, VOCABULARY, WIDTH, model_of, word_tokenizer, words
from foretell.bench.workloads.workload import OURS, Job, Side, Workload

SENTENCES, MEDIAN, SPREAD, LONGEST = 2000, 3.2, 0.7, 256
ROWS, BUDGET = 32, 2048


def inputs(folder: Path, tiny: bool) -> dict[str, str]:
    """A run of a BERT with random weights, its Hugging Face folder, and sentences as text and as ids."""
    import numpy as np
    import torch

    from foretell.api.counting import save_finished
    from foretell.api.trained import load_run
    from foretell.recipe.loading import load_recipe
    from foretell.run import Run
    from foretell.tools.use.convert import export_run
    from foretell.training.state_dict import weights

    vocabulary, count = (50, 40) if tiny else (VOCABULARY, SENTENCES)
    recipe = load_recipe(
        {
            "data": {
                "tokenizer": {"kind": "file", "path": str(folder / "run")},
                "batches": {"kind": "full", "batch": 8, "length": LONGEST},
            },
            **model_of(tiny),
            "objective": {"kind": "masked"},
        }
    )
    names = words(vocabulary)
    torch.manual_seed(0)
    run = Run.create(folder / "run", recipe=recipe.text(), resume=False)
    word_tokenizer(vocabulary).save(run.tokenizer_file)
    save_finished(run, weights(recipe.build(vocabulary)))
    export_run(load_run(run.path, device="cpu"), folder / "theirs", "hf")
    draw = np.random.default_rng(1)
    lengths = np.exp(draw.normal(MEDIAN, SPREAD, count)).round().astype(int).clip(4, LONGEST)
    bodies = [draw.integers(len(MARKS), vocabulary, length - 2) for length in lengths]
    (folder / "text.txt").write_text("".join(" ".join(names[i] for i in body) + "\n" for body in bodies))
    begin, separator = MARKS.index("[CLS]"), MARKS.index("[SEP]")
    np.save(folder / "ids.npy", np.concatenate([np.array([begin, *body, separator]) for body in bodies]))
    np.save(folder / "lengths.npy", lengths)
    return {"folder": str(folder)}


def ours(job: Job) -> dict[str, Any]:
    """foretell's features from text, tokenisation included."""
    return read_text(job, "run", lambda run, texts: run.features(texts))


def read_text(job: Job, name: str, read: Callable[[Any, list[str]], Any]) -> dict[str, Any]:
    """Time `read` with a run on all sentences, from text; it returns [N, W]."""
    import torch

    from foretell.api.trained import load_run

    torch.set_num_threads(job.threads)
    folder = Path(job.inputs["folder"])
    texts = (folder / "text.txt").read_text().splitlines()
    run = load_run(folder / name, device="cpu")
    read(run, texts[:ROWS])
    begin = time.perf_counter()
    vectors = read(run, texts)
    return figures(begin, vectors, folder, OURS)


def transformers(job: Job, *, by_length: bool) -> dict[str, Any]:
    """transformers' BertModel, and the mean over non-padding tokens."""
    from transformers import BertModel

    model = BertModel.from_pretrained(Path(job.inputs["folder"]) / "theirs", add_pooling_layer=False).eval()

    def mean(ids: Any, real: Any) -> Any:
        hidden = model(input_ids=ids, attention_mask=real)[0]
        return (hidden * real[..., None]).sum(1) / real.sum(1, keepdim=True)

    return read_padded(job, mean, by_length=by_length)


def read_padded(job: Job, read: Callable[[Any, Any], Any], *, by_length: bool) -> dict[str, Any]:
    """Time `read` of a peer on all sentences, from ids: ids [B, T] and padding mask [B, T] -> [B, W]."""
    import numpy as np
    import torch

    torch.set_num_threads(job.threads)
    folder = Path(job.inputs["folder"])
    lengths = np.load(folder / "lengths.npy").tolist()
    rows = torch.from_numpy(np.load(folder / "ids.npy")).split(lengths)

    def read_batch(batch: list[int]) -> Any:
        ids = torch.nn.utils.rnn.pad_sequence([rows[i] for i in batch], batch_first=True)
        real = torch.nn.utils.rnn.pad_sequence([torch.ones_like(rows[i]) for i in batch], batch_first=True)
        return read(ids, real)

    with torch.inference_mode():
        read_batch(list(range(min(ROWS, len(rows)))))
        begin = time.perf_counter()
        groups = list(budgeted(lengths) if by_length else in_order(len(rows)))
        vectors = torch.cat([read_batch(batch) for batch in groups])
        vectors[[i for batch in groups for i in batch]] = vectors.clone()
    return figures(begin, vectors.numpy(), folder, "theirs")


def in_order(count: int) -> Iterator[list[int]]:
    """Batches of `ROWS` sentences in file order."""
    yield from (list(range(begin, min(begin + ROWS, count))) for begin in range(0, count, ROWS))


def budgeted(lengths: list[int]) -> Iterator[list[int]]:
    """Batches of sentences sorted by length, each within a budget of padded tokens."""
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[i] > BUDGET:
            yield batch
            batch = []
        batch.append(i)
    yield batch


def figures(begin: float, vectors: Any, folder: Path, side: str) -> dict[str, Any]:
    """Seconds since `begin`, and the largest difference from our vectors, if these are saved."""
    import numpy as np

    seconds = time.perf_counter() - begin
    tokens = int(np.load(folder / "lengths.npy").sum())
    saved = folder / f"{OURS}.npy"
    if side == OURS:
        np.save(saved, vectors)
    compared = side != OURS and saved.exists()
    difference = {"difference": float(abs(vectors - np.load(saved)).max())} if compared else {}
    return {"seconds": seconds, "tokens": tokens, "tokens_per_second": tokens / seconds, **difference}


FEATURES = Workload(
    name="features",
    text="mean vectors of sentences of mixed length, compared with transformers in file order and sorted",
    work=(
        f"{SENTENCES:,} sentences, lengths log-normal (median {round(exp(MEDIAN))}, at most {LONGEST} tokens); BERT of "
        f"{LAYERS} layers, {WIDTH} wide, vocabulary {VOCABULARY:,}, the same random weights on all sides; the mean of "
        f"its last layer. transformers: in file order, {ROWS} at a time, padded; sorted: by length, at most {BUDGET:,} "
        "padded tokens at a time; both from prepared ids, ours from text. Seconds for all sentences"
    ),
    sides=(
        Side(OURS, ours, ("torch",)),
        Side("transformers", partial(transformers, by_length=False), ("transformers", "torch")),
        Side("sorted", partial(transformers, by_length=True), ("transformers", "torch")),
    ),
    inputs=inputs,
)
