"""Model cards for exported runs: facts, evaluation figures and the recipe."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

FIGURES = {
    "loss": "loss (nats per token)",
    "perplexity": "perplexity",
    "bits_per_byte": "bits per byte of text",
    "top1": "top-1 accuracy",
    "masked_loss": "loss at masked tokens (nats)",
    "masked_accuracy": "accuracy at masked tokens",
    "replaced_accuracy": "accuracy of replaced-token detection",
    "replaced_recall": "recall of replaced tokens",
    "pair_loss": "loss of the pair task (nats)",
    "pair_accuracy": "accuracy of the pair task",
    "pseudo_perplexity": "pseudo-perplexity",
    "accuracy": "accuracy",
    "f1": "F1",
    "macro_f1": "F1, mean of all classes",
    "micro_f1": "F1 of all labels together",
    "matthews": "Matthews correlation",
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
    "entity_f1": "entity F1",
    "exact_match": "exact match",
}
AUDITED = (
    "An audit recomputes distributions at sampled positions from the text before them alone, and checks that they sum "
    "to one and agree with what was measured."
)


def model_card(
    *,
    name: str,
    kind: str,
    task: str | None,
    facts: Mapping[str, Any],
    measured: Mapping[str, Any],
    notes: list[str],
    recipe: str,
    trained: bool,
    audits: Sequence[str] = (),
    library: str = "transformers",
) -> str:
    """README.md with `facts` of the model, figures `measured` on its validation split, lines on `audits`, `notes`, and
    its recipe as TOML.

    The recipe describes the training if the model was `trained` by it, else only the model.
    """
    figures = [(text, measured[key]) for key, text in FIGURES.items() if measured.get(key) is not None]
    rows = [f"| {text} | {figure:.4f} |" for text, figure in figures]
    if measured.get("lossy"):
        notes = [*notes, "The tokens lose part of the text (lossy), so bits per byte are not exact."]
    table = ["| on the validation split | |", "|---|---|", *rows] if rows else ["This run was not evaluated."]
    head = {"library_name": library, **({"pipeline_tag": task} if task else {}), "tags": ["foretell", kind]}
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
        "Not measured: other texts, other tasks, and biases.",
        "",
        *([*(f"* {line}" for line in audits), "", AUDITED, ""] if audits else []),
        *([*(f"* {note}" for note in notes), ""] if notes else []),
        "## Recipe",
        "",
        "The settings of the training:" if trained else "The settings of the model:",
        "",
        "```toml",
        recipe.rstrip(),
        "```",
    ]
    return "\n".join(lines) + "\n"
