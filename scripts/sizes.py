"""Write the table of the sizes of shipped recipes, `foretell/tools/sizes.json`.

    .venv/bin/python scripts/sizes.py

Vocabularies that follow from a missing corpus are kept from the table.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from foretell.errors import ConfigError
from foretell.recipe.files import recipe_names
from foretell.recipe.loading import load_recipe
from foretell.recipe.recipe import Recipe
from foretell.tools.cost import cost
from foretell.tools.look.show import vocabulary_of
from foretell.tools.sizes import FILE, Size


def size_of(recipe: Recipe, vocabulary: int | None) -> Size:
    """The size and the course of a recipe with a vocabulary."""
    known = vocabulary is not None and not recipe.model.counted and not recipe.init
    facts: dict[str, Any] = cost(recipe, vocabulary or 0) if known else {}
    return Size(
        model=recipe.model.kind_name(),
        vocabulary=vocabulary if known else None,
        parameters=facts.get("parameters"),
        state_bytes=facts["memory_bytes"]["total"] if known else None,
        flops_per_token=facts["flops_per_token"]["training"] if known else None,
        course={} if recipe.model.counted else course_of(recipe),
    )


def course_of(recipe: Recipe) -> dict[str, float]:
    """The limits of all stages by unit, steps as tokens."""
    course: dict[str, float] = {}
    for stage, settings in recipe.resolved_stages():
        amount, unit = stage.limit.value, stage.limit.unit
        if unit == "steps":
            batches = settings.data.batches
            amount, unit = amount * batches.batch * batches.length, "tokens"
        course[unit] = course.get(unit, 0) + amount
    return course


def vocabulary_in(recipe: Recipe, table: dict[str, Any]) -> int | None:
    """The vocabulary of a recipe, or that in the table if its text is missing."""
    try:
        found, _ = vocabulary_of(recipe)
    except ConfigError:
        found = None
    return found or table.get(recipe.name, {}).get("vocabulary")


def main() -> None:
    """Write the table."""
    table = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    recipes = [load_recipe(name) for name in recipe_names()]
    lines = [
        f"  {json.dumps(recipe.name)}: {json.dumps(asdict(size_of(recipe, vocabulary_in(recipe, table))))}"
        for recipe in recipes
    ]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
