"""A family of models in transformers: its forms, settings and tensors, in both directions.

"Ours" are names and values of foretell, "theirs" those of transformers.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from foretell.errors import ConfigError
from foretell.interop.hugging_face.correspondence import Link, Misfit, Setting, Theirs, at, layers_in
from foretell.interop.hugging_face.folder import Weights
from foretell.nn.pooling import FirstConfig
from foretell.strict_json import JsonObject, shown
from foretell.trees import Tree, override
from foretell.units import counted

MOST_LAYERS = 4096
CAUSAL: Tree = {
    "model.kind": "transformer",
    "model.direction": "forward",
    "model.embedding_dim": None,
    "model.embedding.kind": "table",
    "model.groups": None,
    "model.norm.embedding": False,
    "model.segments": 0,
    "head.kind": "full",
    "head.bias": False,
    "head.transform": None,
    "objective.kind": "causal",
}
"""settings of every causal Transformer there"""
TRAINING_ONLY = ("model.dropout", "model.initial", "model.overlap", "model.positions.std")
"""settings that do not change what a trained model computes on a window"""
IN_TENSORS = ("model.biases", "model.head_dim")
"""settings that tensors show, which have to correspond in any case"""
WITHOUT: Tree = {"model.qk_norm": False}
"""settings that no family has, with the value of a model without them"""
ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_new", "relu": "relu"}
"""their name of each of ours"""
SAME_ACTIVATIONS = {"gelu_python": "gelu", "gelu_pytorch_tanh": "gelu_new", "gelu_fast": "gelu_new"}


@dataclass(frozen=True)
class Labels:
    """Conversion between the labels of a run and `id2label` of a config.json."""

    read: Callable[[tuple[str, ...]], tuple[str, ...]] = tuple
    write: Callable[[tuple[str, ...]], tuple[str, ...]] = tuple


@dataclass(frozen=True)
class Form:
    """A model of a family: its body with certain heads."""

    architecture: str
    """their class name"""
    task: str
    """pipeline tag on the hub"""
    sign: str = ""
    """tensor by which its checkpoints are recognised; "": the last form, if no other matches"""
    ours: Tree = field(default_factory=dict)
    """settings of this form by dotted name; of a tuple the first value is imported"""
    begin: Tree = field(default_factory=dict)
    """other settings of imported recipes, which exported ones may change"""
    theirs: Theirs = field(default_factory=dict)
    """keys of a config.json with this form"""
    settings: tuple[Setting, ...] = ()
    """settings of this form only"""
    links: tuple[Link, ...] = ()
    """tensors of this form only, or with other names"""
    without_words: bool = False
    """whether it has no language-model head, so that settings of the head do not matter"""
    labels: Labels | None = None
    """conversion of labels; absent: outputs have no names"""


@dataclass(frozen=True)
class Family:
    """A `model_type`: its settings and tensors, and what is fixed."""

    kind: str
    """their `model_type`"""
    stem: str
    """prefix of the body's tensors in checkpoints with a head"""
    forms: tuple[Form, ...]
    ours: Tree
    """fixed settings of a recipe by dotted name; None: absent"""
    theirs: Theirs
    """keys of a config.json with a single supported value"""
    settings: tuple[Setting, ...]
    links: tuple[Link, ...]
    tied: Mapping[str, str]
    """names of tensors that a checkpoint may hold twice, and the names that are read"""
    begin: Tree = field(default_factory=dict)
    """other settings of imported recipes, which exported ones may change"""
    ignored: str = r"(?!)"
    """pattern of tensors to ignore"""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """other keys that transformers takes for a key of config.json (`attribute_map`)"""

    def recipe(self, theirs: Mapping[str, Any], weights: Iterable[str]) -> tuple[Form, Tree]:
        """The form and the recipe of a checkpoint, from its config.json and its tensors."""
        file = theirs.file if isinstance(theirs, JsonObject) else "config.json"
        given = {setting.theirs: setting.default for setting in self.settings} | self.unaliased(theirs, file)
        labels = given.get("id2label")
        if given.get("problem_type") is None and isinstance(labels, dict) and len(labels) == 1:
            given["problem_type"] = "regression"  # as in transformers
        if "quantization_config" in given:
            raise ConfigError("quantised weights are not supported", file=file, remedy="use the original checkpoint")
        for key, value in self.theirs.items():
            if (stated := given.get(key, value)) != value:
                raise ConfigError(
                    f"{key} = {shown(stated)} is not supported for {self.kind}, only {value!r}", file=file
                )
        form = self.form_of(JsonObject(given, file), weights)
        settings = self.begin | form.begin | self.ours | form.ours
        settings = {key: value[0] if isinstance(value, tuple) else value for key, value in settings.items()}
        read = JsonObject({setting.theirs: setting.default for setting in form.settings} | given, file)
        for setting in (*self.settings, *form.settings):
            settings |= setting.read(read)
        return form, override({}, {key: value for key, value in settings.items() if value is not None})

    def unaliased(self, theirs: Mapping[str, Any], file: Path | str) -> dict[str, Any]:
        """A config.json with every alias under its own key; a `ConfigError` if the two have different values."""
        found = {key: value for key, value in theirs.items() if key not in self.aliases}
        for alias, key in self.aliases.items():
            if alias in theirs and found.setdefault(key, theirs[alias]) != theirs[alias]:
                what = f"{alias} = {shown(theirs[alias])}, but {key} = {shown(found[key])}, which is the same setting"
                raise ConfigError(what, file=file, remedy=f"keep {key} only")
        return found

    def form_of(self, theirs: JsonObject, weights: Iterable[str]) -> Form:
        """The form of a checkpoint: the one config.json names, else by the names of its tensors."""
        names, named = set(weights), set(theirs.texts("architectures", []))
        forms = [form for form in self.forms if form.architecture in named] or self.forms
        fitting = (form for form in forms if form.sign in names and form.theirs.items() <= theirs.items())
        return next(fitting, self.forms[-1])

    def config(self, recipe: Tree) -> tuple[Form, Theirs]:
        """The form and the config.json for a recipe; a `Misfit` if the family cannot represent it."""
        recipe, misfits = plain(recipe), []
        for form in self.forms:
            theirs: Theirs = {"architectures": [form.architecture], "model_type": self.kind, "dtype": "float32"}
            problems = [
                f"{key} = {at(recipe, key)!r} instead of {value!r}"
                for key, value in (self.ours | form.ours).items()
                if at(recipe, key) not in (value if isinstance(value, tuple) else (value,))
                and not (form.without_words and key.startswith("head."))
            ]
            for setting in (*self.settings, *form.settings):
                if form.without_words and setting.ours.startswith("head."):
                    continue
                try:
                    setting.write(recipe, theirs)
                except Misfit as problem:
                    problems += problem.problems
            known = {*self.ours, *form.ours, *(setting.ours for setting in (*self.settings, *form.settings))}
            if at(recipe, "model.kind") == self.ours["model.kind"]:
                problems += unknown_settings(recipe["model"], known)
            if not problems:
                return form, theirs | self.theirs | form.theirs
            misfits.append(problems)
        raise Misfit(*min(misfits, key=far))

    def words_in(self, theirs: Mapping[str, Any], weights: Weights) -> int:
        """The size of the vocabulary, from the shape of the embedding."""
        words = self.links[0].theirs[0]
        shape = weights.shape(words) if words in weights else ()
        if len(shape) != 2:
            raise ConfigError(f"not a complete {self.kind}: it lacks the embedding {words}", file=weights.folder)
        stated = theirs.integer("vocab_size", shape[0]) if isinstance(theirs, JsonObject) else shape[0]
        if stated != shape[0]:
            what = f"vocab_size is {stated}, but {words} has {shape[0]:,} rows"
            raise ConfigError(what, file=weights.folder / "config.json", remedy="correct config.json")
        return shape[0]

    def check_sizes(self, recipe: Tree, weights: Weights) -> None:
        """Raise `ConfigError` if a recipe has more or larger layers than the weights, before building anything."""
        model, file = recipe["model"], weights.folder / "config.json"
        layers = model.get("groups") or model["layers"]
        held = layers_in(self.links, weights)
        if held != layers and (held or layers > 100):  # if no layers are held, missing tensors are reported by name
            what = f"says {counted(layers, 'layer')}, but the weights hold {held:,}"
            raise ConfigError(what, file=file, remedy="correct config.json")
        names = ["hidden", "embedding_dim", "head_dim", "feed_forward", "segments"]
        names += ["context"] if at(model, "positions.kind") != "rotary" else []  # whose context is in no tensor
        for name in names:
            if (size := model.get(name) or 0) > max(weights.largest, 1 << 16):
                what = f"states {name} = {size:,}, larger than any dimension of the weights"
                raise ConfigError(what, file=file, remedy="correct config.json")

    def with_links_of(self, form: Form) -> Family:
        """The family with the tensor names of a form."""
        return replace(self, links=(*form.links, *self.links))

    def named(self, weights: Weights) -> Weights:
        """The tensors under their names in transformers 5, with the stem that bare bodies lack."""
        weights = weights.renamed(lambda name: re.sub(r"gamma$", "weight", re.sub(r"beta$", "bias", name)))
        weights = weights.without(lambda name: re.search(self.ignored, name) is not None)
        if not any(name.startswith(f"{self.stem}.") for name in weights):
            weights = weights.renamed(lambda name: f"{self.stem}.{name}")
        stand_in = {other: name for other, name in self.tied.items() if other in weights and name not in weights}
        return weights.renamed(lambda name: stand_in.get(name, name))


def labels_there(theirs: Mapping[str, Any]) -> tuple[str, ...]:
    """The labels in a config.json; two default ones if it names none."""
    labels = theirs.get("id2label")
    if not labels and labels in (None, {}):
        return tuple(f"LABEL_{output}" for output in range(2))
    file = theirs.file if isinstance(theirs, JsonObject) else "config.json"
    if not isinstance(labels, dict) or {*labels} != {str(output) for output in range(len(labels))}:
        raise ConfigError("id2label must name each output by its number, from 0", file=file)
    names = [labels[str(output)] for output in range(len(labels))]
    if wrong := [name for name in names if not isinstance(name, str | int) or not str(name).isprintable()]:
        raise ConfigError(f"id2label has the name {shown(wrong[0])}, which is not a line of text", file=file)
    if twice := [name for name, count in Counter(map(str, names)).items() if count > 1]:
        raise ConfigError(f"id2label gives two outputs the name {shown(twice[0])}", file=file, remedy="rename one")
    return tuple(map(str, names))


def unknown_settings(model: Tree, known: Iterable[str]) -> list[str]:
    """The settings of a model that a family does not know, so that it cannot leave them out."""
    prefixes = tuple(f"{key}." for key in (*known, *TRAINING_ONLY, *IN_TENSORS))
    own = {f"model.{key}": value for key, value in leaves(model).items()}
    unknown = {key: value for key, value in own.items() if not f"{key}.".startswith(prefixes)}
    return [f"{key} = {value!r} is unknown" for key, value in unknown.items() if WITHOUT.get(key, ...) != value]


def leaves(tree: Tree, above: str = "") -> Tree:
    """The values of a tree by their whole keys."""
    found: Tree = {}
    for key, value in tree.items():
        found |= leaves(value, f"{above}{key}.") if isinstance(value, dict) else {f"{above}{key}": value}
    return found


def far(problems: Sequence[str]) -> tuple[bool, int]:
    """Distance of a form from a model: first whether the objective differs, then the number of problems."""
    return any(problem.startswith("objective.kind") for problem in problems), len(problems)


def plain(recipe: Tree) -> Tree:
    """The recipe in a normal form: without redundant settings, and with defaults that depend on others."""
    model = dict(recipe["model"])
    if model.get("feed_forward") == 4 * model.get("hidden", 0):
        del model["feed_forward"]
    queries, shared = pair if isinstance(pair := model.get("heads"), list | tuple) else (pair, pair)
    if queries == shared:
        model["heads"] = queries
    if model.get("head_dim") is not None and model["head_dim"] * queries == model["hidden"]:
        del model["head_dim"]
    if model.get("groups") is not None and model["groups"] == model.get("layers"):
        del model["groups"]
    objective = dict(recipe["objective"])
    if model.get("direction") == "both":  # see `Transformer.pooling`
        objective.setdefault("pooling", FirstConfig().model_dump())
    data = dict(recipe["data"])
    if at(data, "batches.pairs") == "none":
        data["batches"] = {key: value for key, value in data["batches"].items() if key != "pairs"}
    return recipe | {"model": model, "objective": objective, "data": data}
