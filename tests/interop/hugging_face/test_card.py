"""Model cards: figures, notes and the recipe, in a form that the hub reads."""

import json
import tomllib
from typing import Any

from foretell.interop.hugging_face.card import model_card

RECIPE = '[model]\nkind = "transformer"\n'


def card(**changes: Any) -> str:
    given: dict[str, Any] = {
        "name": "tiny",
        "kind": "gpt2",
        "task": "text-generation",
        "facts": {"foretell": "0.1", "parameters": "1,234"},
        "measured": {},
        "notes": [],
        "recipe": RECIPE,
        "trained": True,
    }
    return model_card(**given | changes)


def test_the_head_names_library_task_and_family() -> None:
    text = card(task='a "task": é')
    head = dict(line.split(": ", 1) for line in text.split("---\n")[1].splitlines())
    assert {key: json.loads(value) for key, value in head.items()} == {
        "library_name": "transformers",
        "pipeline_tag": 'a "task": é',
        "tags": ["foretell", "gpt2"],
    }
    assert "# tiny\n\nA model of type `gpt2`, written by foretell 0.1.\n" in text
    assert "| parameters | 1,234 |" in text and "| foretell |" not in text


def test_figures_that_were_measured_are_in_a_table() -> None:
    text = card(measured={"top1": 0.25, "loss": 1.23456, "f1": None, "seconds": 3.0, "lossy": True})
    table = text.split("## Measured\n\n")[1].split("\n\n")[0].splitlines()
    assert table[2:] == ["| loss (nats per token) | 1.2346 |", "| top-1 accuracy | 0.2500 |"]
    assert "* The tokens lose part of the text (lossy), so bits per byte are not exact." in text
    assert "This run was not evaluated." in card() and "lossy" not in card(measured={"loss": 1.0, "lossy": False})


def test_notes_and_the_recipe_are_there_as_they_are() -> None:
    text = card(notes=["one", "two"], trained=False)
    assert "\n* one\n* two\n" in text
    assert "The settings of the model:" in text and "of the training" not in text
    assert tomllib.loads(text.split("```toml\n")[1].split("```")[0]) == {"model": {"kind": "transformer"}}
    assert text.endswith("```\n")
