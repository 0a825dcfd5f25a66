"""The model card: what a model is, what was measured of it and what was not, from the run alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

FIGURES = {
    "loss": "loss (nats per token)",
    "perplexity": "perplexity",
    "bits_per_byte": "bits per byte of text",
    "top1": "first guess right",
    "masked_loss": "loss at masked tokens (nats)",
    "masked_accuracy": "masked tokens guessed right",
    "replaced_accuracy": "tokens told rightly, replaced or not",
    "replaced_recall": "replaced tokens found",
    "pair_loss": "loss of the pair task (nats)",
    "pair_accuracy": "pairs told right",
    "pseudo_perplexity": "pseudo-perplexity",
    "accuracy": "accuracy",
    "f1": "F1",
    "macro_f1": "F1, mean of all classes",
    "micro_f1": "F1 of all labels together",
    "matthews": "Matthews correlation",
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
    "entity_f1": "entity F1",
    "exact_match": "answers wholly right",
}


def model_card(
    *,
    name: str,
    kind: str,
    task: str,
    facts: Mapping[str, Any],
    measured: Mapping[str, Any],
    notes: list[str],
    recipe: str,
    trained: bool,
) -> str:
    """README.md: `facts` of the model, figures `measured` on its validation text, `notes`, and its recipe as TOML.

    The recipe is the whole of it where the model was `trained` by it, else only what the model is made of.
    """
    figures = [(text, measured[key]) for key, text in FIGURES.items() if measured.get(key) is not None]
    rows = [f"| {text} | {figure:.4f} |" for text, figure in figures]
    if measured.get("lossy"):
        notes = [*notes, "The tokens hold less than the text (lossy), so bits per byte are no exact measure of it."]
    table = ["| on the validation text | |", "|---|---|", *rows] if rows else ["Nothing was measured in this run."]
    head = {"library_name": "transformers", "pipeline_tag": task, "tags": ["foretell", kind]}
    lines = [
        "---",
        *(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in head.items()),
        "---",
        "",
        f"# {name}",
        "",
        f"A model of type `{kind}`, written by foretell {facts['foretell']}.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {key} | {value} |" for key, value in facts.items() if key != "foretell"),
        "",
        "## Measured",
        "",
        *table,
        "",
        "Not measured: other texts than the validation text, other tasks, and what the model says of people.",
        "",
        *([*(f"* {note}" for note in notes), ""] if notes else []),
        "## Recipe",
        "",
        "All that the training was made of:" if trained else "What the model is made of:",
        "",
        "```toml",
        recipe.rstrip(),
        "```",
    ]
    return "\n".join(lines) + "\n"
