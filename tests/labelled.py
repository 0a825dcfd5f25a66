"""Labelled data in small: for each task a file of examples of which a word or two say all, and what reads it."""

import json
import random
from pathlib import Path
from typing import Any

WORDS = ["the", "a", "cat", "dog", "sat", "ran", "on", "mat", "tree", "and", "then", "slept"]
Case = dict[str, Any]


def write_labelled(task: str, folder: Path, rows: int = 32) -> Case:
    """A file for a task, as settings of `data`: the file for training and validation alike, and its reader."""
    draw = random.Random(7)
    name, reader, lines = {
        "classification": classified,
        "several": classified_several,
        "pairs": paired,
        "similarity": rated,
        "choice": chosen,
        "tagging": tagged,
        "chained": tagged,
        "answering": asked,
    }[task](draw, rows)
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return {"corpus": {"train": str(path), "valid": str(path), "test": str(path)}, "reader": reader}


def text(draw: random.Random, *more: str) -> str:
    """A few words, and others at the end."""
    return " ".join([*draw.choices(WORDS, k=draw.randint(2, 6)), *more])


def classified(draw: random.Random, rows: int) -> tuple[str, Case, list[str]]:
    labels = ["good", "bad", "odd"]
    lines = [f"{text(draw, labels[i % 3], draw.choice(WORDS))}\t{labels[i % 3].upper()}" for i in range(rows)]
    return "classified.tsv", {"kind": "table"}, ["text\tlabel", *lines]


def classified_several(draw: random.Random, rows: int) -> tuple[str, Case, list[str]]:
    lines = []
    for _ in range(rows):
        labels = [label for label in ("good", "bad") if draw.random() < 0.5]
        lines.append(f"{text(draw, *labels)}\t{','.join(labels)}")
    return "several.tsv", {"kind": "table", "labels": "several"}, ["text\tlabel", *lines]


def paired(draw: random.Random, rows: int) -> tuple[str, Case, list[str]]:
    sides = [("yes", "yes", "same"), ("yes", "no", "other")]
    lines = [f"{text(draw, sides[i % 2][0])}\t{text(draw, sides[i % 2][1])}\t{sides[i % 2][2]}" for i in range(rows)]
    return "paired.tsv", {"kind": "table", "texts": ["one", "two"]}, ["one\ttwo\tlabel", *lines]


def rated(draw: random.Random, rows: int) -> tuple[str, Case, list[str]]:
    how = ["never", "often", "always"]
    lines = [f"{text(draw, how[i % 3])}\t{text(draw)}\t{i % 3}.0" for i in range(rows)]
    return "rated.tsv", {"kind": "table", "texts": ["one", "two"], "labels": "score"}, ["one\ttwo\tlabel", *lines]


def chosen(draw: random.Random, rows: int) -> tuple[str, Case, list[str]]:
    found = []
    for i in range(rows):
        options = [text(draw, "right"), text(draw, "wrong")]
        found.append({"context": text(draw), "options": options[:: 1 - 2 * (i % 2)], "label": i % 2})
    return "chosen.jsonl", {"kind": "options"}, [json.dumps(row) for row in found]


def tagged(draw: random.Random, rows: int) -> tuple[str, Case, list[str]]:
    spans = [["Ann B-PER", "Lee I-PER"], ["Rome B-LOC"], *[[f"{word} O"] for word in WORDS[:4]]]
    sentences = [[line for _ in range(draw.randint(2, 5)) for line in draw.choice(spans)] for _ in range(rows)]
    return "tagged.txt", {"kind": "columns"}, ["\n".join(sentence) + "\n" for sentence in sentences]


def asked(draw: random.Random, rows: int) -> tuple[str, Case, list[str]]:
    questions = []
    for i in range(rows):
        who = ["Ann", "Bob", "Cid"][i % 3]
        passage = f"{text(draw)} {who} saw it. {text(draw)}"
        answer = {"text": who, "answer_start": passage.index(who)}
        questions.append({"context": passage, "qas": [{"id": str(i), "question": "who saw it", "answers": [answer]}]})
    return "asked.json", {"kind": "squad"}, [json.dumps({"data": [{"title": "all", "paragraphs": questions}]})]


WIDE = {"std": 0.2}  # at the usual 0.02 a model this small takes hundreds of steps to begin
ATTENDING = {"kind": "transformer", "hidden": 24, "layers": 1, "heads": 2, "context": 48, "initial": WIDE}
MODELS: dict[str, Case] = {
    "recurrent": {"kind": "recurrent", "embedding_dim": 16, "hidden": 24, "layers": 1},
    "recurrent-both": {"kind": "recurrent", "direction": "both", "embedding_dim": 16, "hidden": 12, "layers": 1},
    "gpt": ATTENDING,
    "bert": ATTENDING | {"direction": "both", "segments": 2},
}


def objective_of(task: str, model: str) -> Case:
    """The settings of a task that suit a model."""
    if task in ("tagging", "chained"):
        at = "last" if model in ("recurrent", "gpt") else "first"
        return {"kind": "tagging", "at": at, "crf": task == "chained"}
    settings: dict[str, Case] = {
        "several": {"kind": "classification", "multi_label": True, "metric": "micro_f1"},
        "pairs": {"kind": "classification", "pairs": "both-orders"},
        "similarity": {"kind": "similarity", "metric": "pearson"},  # ranks within a class are by chance
    }
    return settings.get(task, {"kind": task}) | {"outputs": {"dropout": 0.0, "initial": WIDE}}


def task_tables(task: str, model: str, data: Case, **changes: Any) -> Case:
    """A recipe that trains in a second."""
    return {
        "limit": "60steps" if task in ("several", "similarity", "tagging") else "40steps",
        "data": {"tokenizer": "word", "batches": {"kind": "examples", "batch": 16, "length": 40}, **data},
        "model": MODELS[model],
        "objective": objective_of(task, model),
        "optimizer": {"kind": "adam", "learning_rate": 0.02 if model.startswith("recurrent") else 0.01},
        "evaluation": {"every": "100epochs"},
        "checkpoint": {"every": "100epochs"},
        **changes,
    }
