"""Names that differ in an older commit, old -> new. Empty where both sides agree."""

from collections.abc import Iterator
from typing import Any

from golden.cases import Settings, merged

SETTINGS: dict[Any, Any] = {
    "tuning": "trainable",
    "optimizer.decayed": "optimizer.decay_on",
    "model.initial.deviation": "model.initial.std",
    "model.embedding": "model.embedding_dim",
    "model.words": "model.embedding",
    ("schedule.kind", "hold"): ("schedule.kind", "wsd"),
    "objective.outputs.initial.deviation": "objective.outputs.initial.std",
    "objective.initial_deviation": "objective.initial_std",
    "objective.tell": "objective.target",
    "objective.at": "objective.positions",
    ("objective.labels", "several"): ("objective.multi_label", True),
}
"""dotted settings with all below them, "tuning": "trainable"; or one value of a setting, ("schedule.kind", "hold"):
("schedule.kind", "wsd"). Inside lists only the settings of stages are translated."""
CALLS: dict[str, str] = {}
"""methods of a trained model and their options, at any depth"""
KEYS: dict[str, str] = {}
"""keys of metrics records and of what methods return; kinds of records"""
CHANGED: dict[str, str] = {
    "* *-train-*_loss": "each term of a loss is divided by its own number of targets",
    "* *-valid-*.lossy": "validations of rows tell what the tokens lose",
    "* *-valid-*.lost.*": "the same",
    "* *-valid-*.unknown_rate": "the same",
    "* *-valid-*.tokens": "the same",
}
"""what differs on purpose: a pattern of "CASE FIGURE" (fnmatch), and the reason"""


def old_recipe(recipe: Settings) -> Settings:
    """A recipe in the old names."""
    old = merged({}, dict(old_setting(*leaf) for leaf in leaves(recipe)))
    for stage in old.get("stages", ()):
        stage["set"] = dict(old_setting(*leaf) for leaf in stage["set"].items())
    return old


def leaves(tree: Settings, above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{above}{name}.")
        else:
            yield above + name, value


def old_setting(path: str, value: Any) -> tuple[str, Any]:
    """A setting in the old names: by its value if that is listed, else by the longest path that covers it."""
    matching = [(old, new) for old, new in SETTINGS.items() if new == (path, value) or f"{path}.".startswith(f"{new}.")]
    old, new = max(matching, key=lambda pair: (isinstance(pair[1], tuple), len(pair[1])), default=(path, path))
    return old if isinstance(new, tuple) else (old + path.removeprefix(new), value)


def old_call(part: Any) -> Any:
    """A method, or a table of options, in the old names."""
    if isinstance(part, dict):
        return {old_call(name): old_call(value) if isinstance(value, dict) else value for name, value in part.items()}
    return next((old for old, new in CALLS.items() if new == part), part)
