"""What cases begin with: small texts, recipes, runs, labelled sets, an ARPA file and Hugging Face folders, and the
figures that foretell gives for them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tomli_w
import torch
from builders import attending, averaging, masking, replacing, tables, write_corpus
from fuzz.cases import Case
from fuzz.running import Runner
from labelled import task_tables, write_labelled
from safetensors.torch import save_file
from tokenizers import BertWordPieceTokenizer

Figures = dict[str, Any]
FILES = {
    "classification": "classified.tsv",
    "several": "several.tsv",
    "pairs": "paired.tsv",
    "similarity": "rated.tsv",
    "choice": "chosen.jsonl",
    "tagging": "tagged.txt",
    "answering": "asked.json",
}
"""the labelled file of each task"""
RUNS = ("lm", "gpt", "bert", "ngram", "task")
"""each in the folder `run`, and another like it in `other`"""
RECIPES: dict[str, Callable[..., dict[str, Any]]] = {
    "lstm": tables,
    "awd": averaging,
    "gpt": attending,
    "bert": masking,
    "electra": replacing,
}
EVALUATE = ("evaluate", "run", "--json")
RESUME = ("train", "run", "--resume", "--json")
TRAIN_ON_STORE = ("train", "ngram.toml", "data.corpus=store", "--out", "run", "--json")
TEXT = "the cat sat on the mat\nthe dog ran and then slept\n\nthen a tree\n"


def make_seeds(runner: Runner) -> Figures:
    """Fill the empty folder of a runner's seeds; the figures by name."""
    folder = runner.seeds
    corpus = write_corpus(made(folder / "text"), words=300)
    (folder / "text" / "short.txt").write_text(TEXT)
    for name, recipe in RECIPES.items():
        write_recipe(folder / "recipes" / f"{name}.toml", recipe(corpus))
    write_recipe(folder / "recipes" / "ngram.toml", ngram(corpus))
    for task in FILES:
        data = write_labelled(task, made(folder / "labelled" / task), rows=12)
        settings = task_tables(task, "recurrent", data, limit="2steps")
        write_recipe(folder / "labelled" / task / "recipe.toml", settings)
    for form in ("hf", "hf-json"):
        write_bert(made(folder / form / "hf"), whole=form == "hf-json")
        (folder / form / "short.txt").write_text(TEXT)
    make_runs(runner, folder)
    return measure(runner, folder)


def made(folder: Path) -> Path:
    """The folder, which is there."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_recipe(path: Path, recipe: dict[str, Any]) -> None:
    """A recipe as a file."""
    made(path.parent)
    path.write_text(tomli_w.dumps(recipe))


def ngram(corpus: dict[str, str]) -> dict[str, Any]:
    """A trigram model."""
    data = {"corpus": corpus, "tokenizer": "word", "batches": {"kind": "lines"}}
    return {"name": "tri", "data": data, "model": {"kind": "ngram", "order": 3}}


# --- runs -----------------------------------------------------------------------------------------


def make_runs(runner: Runner, folder: Path) -> None:
    """Runs, each twice with different seeds; those of language models are interrupted after six of ten steps."""
    kinds = {"lm": "awd", "gpt": "gpt", "bert": "bert", "ngram": "ngram"}
    short = ["limit=10steps", "evaluation.every=3steps", "checkpoint.every=3steps", "checkpoint.keep=2"]
    for name in RUNS:
        recipe = folder / "recipes" / f"{kinds[name]}.toml" if name in kinds else folder / "labelled/pairs/recipe.toml"
        whole = name in ("ngram", "task")
        for place, seed in (("run", 1), ("other", 2)):
            out = made(folder / "runs" / name) / place
            words = ("train", str(recipe), *([] if whole else short), f"seed={seed}", "--out", str(out))
            [answer] = runner.run(Case("", (words,)), seconds=120, more={} if whole else {"FUZZ_STOP_AT": "6"})
            assert answer.code == (0 if whole else 130), answer.stderr
        (folder / "runs" / name / "short.txt").write_text(TEXT)


# --- files of others ------------------------------------------------------------------------------

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "dog", "##s", "sat", "on", "mat", ".", "a"]


def write_bert(folder: Path, *, whole: bool) -> None:
    """A folder as Hugging Face's library writes it of a BERT, with random weights; `whole`: with a tokenizer.json, not
    only its vocabulary."""
    width, inner, size = 8, 16, 20
    config = {
        "architectures": ["BertForMaskedLM"],
        "model_type": "bert",
        "vocab_size": size,
        "hidden_size": width,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": inner,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": 32,
        "type_vocab_size": 2,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
        "position_embedding_type": "absolute",
        "tie_word_embeddings": True,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    if whole:
        tokenizer = BertWordPieceTokenizer(vocab={token: number for number, token in enumerate(VOCABULARY)})
        tokenizer.save(str(folder / "tokenizer.json"))
    else:
        (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True, "model_max_length": 32}))
    layer = "bert.encoder.layer.0"
    shapes = {
        "bert.embeddings.word_embeddings.weight": (size, width),
        "bert.embeddings.position_embeddings.weight": (32, width),
        "bert.embeddings.token_type_embeddings.weight": (2, width),
        **norm("bert.embeddings.LayerNorm", width),
        **linear(f"{layer}.attention.self.query", width, width),
        **linear(f"{layer}.attention.self.key", width, width),
        **linear(f"{layer}.attention.self.value", width, width),
        **linear(f"{layer}.attention.output.dense", width, width),
        **norm(f"{layer}.attention.output.LayerNorm", width),
        **linear(f"{layer}.intermediate.dense", width, inner),
        **linear(f"{layer}.output.dense", inner, width),
        **norm(f"{layer}.output.LayerNorm", width),
        "cls.predictions.bias": (size,),
        **linear("cls.predictions.transform.dense", width, width),
        **norm("cls.predictions.transform.LayerNorm", width),
    }
    random = torch.Generator().manual_seed(3)
    weights = {name: torch.randn(shape, generator=random) * 0.3 for name, shape in shapes.items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def linear(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    """The shapes of a linear layer."""
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    """The shapes of a layer's norm."""
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


# --- figures --------------------------------------------------------------------------------------


def measure(runner: Runner, folder: Path) -> Figures:
    """The figures of what is sound; what else is derived from runs is put beside them."""
    short = ("short.txt", "--json")
    import_hf = ("import", "hf", "--out", "new", "--corpus", "short.txt", "--json")
    cases = {f"import {form}": Case("", (import_hf, ("features", "new", *short)), form) for form in ("hf", "hf-json")}
    made(folder / "arpa")
    shutil.copy(folder / "text" / "short.txt", folder / "arpa")
    export = ("export", str(folder / "runs" / "ngram" / "run"), "--out", str(folder / "arpa" / "tri.arpa"), "--json")
    check(runner, Case("", (export,)))
    import_arpa = ("import", "tri.arpa", "--out", "new", "--corpus", "short.txt", "--json")
    cases["import arpa"] = Case("", (import_arpa, ("score", "new", *short)), "arpa")
    write_recipe(folder / "stores" / "ngram.toml", ngram({}))
    prepare = (
        "prepare",
        str(folder / "text"),
        "--out",
        str(folder / "stores" / "store"),
        "--tokenizer",
        "word",
        "--json",
    )
    check(runner, Case("", (prepare,)))
    cases["train on a store"] = Case("", (TRAIN_ON_STORE,), "stores")
    text = {"t.txt": (folder / "text" / "train.txt").read_bytes()}
    cases["train on train.txt"] = Case("", (train_recipe("ngram", whole_corpus("t.txt")),), "recipes", text)
    for name in RUNS:
        cases[f"evaluate {name}"] = Case("", (EVALUATE,), f"runs/{name}")
        cases[f"resume {name}"] = Case("", (RESUME,), f"runs/{name}")
    for task in FILES:
        cases[f"train {task}"] = Case("", (train_task(task),), f"labelled/{task}")
    for name in [*RECIPES, "ngram"]:
        cases[f"train {name}"] = Case("", (train_recipe(name),), "recipes")
    figures = {name: check(runner, case) for name, case in cases.items()}
    return figures


def train_task(task: str) -> tuple[str, ...]:
    """Trains on the labelled set of a task for two steps, and measures."""
    return ("train", "recipe.toml", whole_corpus(FILES[task]), "--out", "run", "--json")


def whole_corpus(path: str) -> str:
    """The override that takes a file or folder for all splits."""
    return f"data.corpus={{train={json.dumps(path)}, valid={json.dumps(path)}, test={json.dumps(path)}}}"


def train_recipe(name: str, *settings: str) -> tuple[str, ...]:
    """Trains a recipe for two steps."""
    limit = ["limit=2steps"] if name != "ngram" else []
    return ("train", f"{name}.toml", *settings, *limit, "--out", "run", "--json")


def check(runner: Runner, case: Case) -> Any:
    """The figures of the last command, all of which have to be accepted."""
    answers = runner.run(case, seconds=120)
    for command, answer in zip(case.commands, answers, strict=True):
        assert answer.accepted, f"{command}: {answer.stderr}"
    return answers[-1].figures()


def load_or_make(runner: Runner) -> Figures:
    """The figures of a runner's seeds, which are made where they are not there yet."""
    file = made(runner.seeds) / "figures.json"
    if not file.exists():
        figures = make_seeds(runner)
        file.with_suffix(".new").write_text(json.dumps(figures))
        os.replace(file.with_suffix(".new"), file)
    found: Figures = json.loads(file.read_text())
    return found
