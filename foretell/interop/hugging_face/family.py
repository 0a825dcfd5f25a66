"""What a family of models is: its forms, its settings and its tensors, in both directions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from foretell.config import Tree, override
from foretell.errors import ConfigError
from foretell.interop.hugging_face.correspondence import Link, Misfit, Setting, Theirs, at, layers_in
from foretell.interop.hugging_face.folder import Weights
from foretell.nn.pooling import FirstConfig
from foretell.strict_json import JsonObject, shown


@dataclass(frozen=True)
class Labels:
    """What a task may say, as a run has it and as a config.json names outputs."""

    read: Callable[[tuple[str, ...]], tuple[str, ...]] = tuple
    write: Callable[[tuple[str, ...]], tuple[str, ...]] = tuple


@dataclass(frozen=True)
class Form:
    """One of the models of a family: its body with certain heads."""

    architecture: str
    """their class"""
    task: str
    """what the hub calls its use"""
    sign: str = ""
    """a tensor that only checkpoints of this form have; none: it is read if no other fits and it is the last"""
    ours: Tree = field(default_factory=dict)
    """settings of a recipe by dotted name that make this form; of several values the first is imported"""
    begin: Tree = field(default_factory=dict)
    """further settings of an imported recipe, which an exported one is free in"""
    theirs: Theirs = field(default_factory=dict)
    """keys of a config.json that make this form"""
    settings: tuple[Setting, ...] = ()
    """those that only this form has"""
    links: tuple[Link, ...] = ()
    """tensors that only this form has, or calls by other names"""
    without_words: bool = False
    """whether it predicts no words, so that the head's settings do not matter"""
    labels: Labels | None = None
    """how what a task may say is called there; absent: its outputs have no names"""


@dataclass(frozen=True)
class Family:
    """One `model_type`: what its settings and tensors are called, and what cannot be set."""

    kind: str
    """their `model_type`"""
    stem: str
    """what the body's names begin with in checkpoints that have more than a body"""
    forms: tuple[Form, ...]
    ours: Tree
    """settings of a recipe by dotted name that this family has no choice in; None: absent"""
    theirs: Theirs
    """keys of a config.json that foretell knows only one value of"""
    settings: tuple[Setting, ...]
    links: tuple[Link, ...]
    tied: Mapping[str, str]
    """tensors that a checkpoint may hold twice, and the names they are read by"""
    begin: Tree = field(default_factory=dict)
    """further settings of an imported recipe, which an exported one is free in"""
    ignored: str = r"(?!)"
    """names of tensors that say nothing, as a pattern"""

    def recipe(self, theirs: Mapping[str, Any], weights: Iterable[str]) -> tuple[Form, Tree]:
        """The form, and the tables of a recipe, that a config.json and the heads of a checkpoint say."""
        file = theirs.file if isinstance(theirs, JsonObject) else "config.json"
        given = {setting.theirs: setting.default for setting in self.settings} | dict(theirs)
        named = given.get("id2label")
        if given.get("problem_type") is None and isinstance(named, dict) and len(named) == 1:
            given["problem_type"] = "regression"  # as transformers takes it
        if "quantization_config" in given:
            raise ConfigError(
                "quantised weights are not supported", file=file, remedy="take the checkpoint they were made of"
            )
        for key, value in self.theirs.items():
            if (its := given.get(key, value)) != value:
                raise ConfigError(f"{key} = {shown(its)} is not supported for {self.kind}, only {value!r}", file=file)
        form = self.form_of(JsonObject(given, file), weights)
        found = self.begin | form.begin | self.ours | form.ours
        found = {key: value[0] if isinstance(value, tuple) else value for key, value in found.items()}
        read = JsonObject({setting.theirs: setting.default for setting in form.settings} | given, file)
        for setting in (*self.settings, *form.settings):
            found |= setting.read(read)
        return form, override({}, {key: value for key, value in found.items() if value is not None})

    def form_of(self, theirs: JsonObject, weights: Iterable[str]) -> Form:
        """The form of a checkpoint with tensors of these names: the one its config.json names, if it does."""
        names, named = set(weights), set(theirs.texts("architectures", []))
        forms = [form for form in self.forms if form.architecture in named] or self.forms
        fitting = (form for form in forms if form.sign in names and form.theirs.items() <= theirs.items())
        return next(fitting, self.forms[-1])

    def config(self, recipe: Tree) -> tuple[Form, Theirs]:
        """The form and the config.json for the tables of a recipe; a `Misfit` where the family cannot be that."""
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
            if not problems:
                return form, theirs | self.theirs | form.theirs
            misfits.append(problems)
        raise Misfit(*min(misfits, key=far))

    def words_in(self, theirs: Mapping[str, Any], weights: Weights) -> int:
        """The size of the vocabulary, which is that of the first tensor there is."""
        words = self.links[0].theirs[0]
        shape = weights.shape(words) if words in weights else ()
        if len(shape) != 2:
            raise ConfigError(f"not a whole {self.kind}: no {words}, a vector for each token", file=weights.folder)
        told = theirs.integer("vocab_size", shape[0]) if isinstance(theirs, JsonObject) else shape[0]
        if told != shape[0]:
            what = f"vocab_size is {told}, but {words} has {shape[0]:,} rows"
            raise ConfigError(what, file=weights.folder / "config.json", remedy="mend config.json")
        return shape[0]

    def check_sizes(self, recipe: Tree, weights: Weights) -> None:
        """A `ConfigError` where a recipe has more or larger layers than the weights, before anything is built of it."""
        model, file = recipe["model"], weights.folder / "config.json"
        layers = model.get("groups") or model["layers"]
        held = layers_in(self.links, weights)
        if held != layers and (held or layers > 100):  # without any, what is missing is better told by name
            what = f"says {layers:,} layers, but the weights hold {held:,}"
            raise ConfigError(what, file=file, remedy="mend config.json")
        for name in ("hidden", "embedding_dim", "feed_forward", "context", "segments"):
            if (size := model.get(name) or 0) > max(weights.largest, 1 << 16):
                what = f"after it {name} is {size:,}, larger than any of the weights is"
                raise ConfigError(what, file=file, remedy="mend config.json")

    def with_links_of(self, form: Form) -> Family:
        """The family, where the tensors of that form go by the names they have in it."""
        return replace(self, links=(*form.links, *self.links))

    def named(self, weights: Weights) -> Weights:
        """The tensors under the names of transformers 5, with the stem that bare bodies are saved without."""
        weights = weights.renamed(lambda name: re.sub(r"gamma$", "weight", re.sub(r"beta$", "bias", name)))
        weights = weights.without(lambda name: re.search(self.ignored, name) is not None)
        if not any(name.startswith(f"{self.stem}.") for name in weights):
            weights = weights.renamed(lambda name: f"{self.stem}.{name}")
        stand_in = {other: name for other, name in self.tied.items() if other in weights and name not in weights}
        return weights.renamed(lambda name: stand_in.get(name, name))


def labels_there(theirs: Mapping[str, Any]) -> tuple[str, ...]:
    """What a config.json calls its outputs, of which there are two where it does not say."""
    named = theirs.get("id2label")
    if not named and named in (None, {}):
        return tuple(f"LABEL_{output}" for output in range(2))
    file = theirs.file if isinstance(theirs, JsonObject) else "config.json"
    if not isinstance(named, dict) or {*named} != {str(output) for output in range(len(named))}:
        raise ConfigError("id2label is to name each output by its number, from 0 on", file=file)
    names = [named[str(output)] for output in range(len(named))]
    if wrong := [name for name in names if not isinstance(name, str | int) or not str(name).isprintable()]:
        raise ConfigError(f"id2label has the name {shown(wrong[0])}, which is no line of text", file=file)
    if twice := [name for name, count in Counter(map(str, names)).items() if count > 1]:
        raise ConfigError(f"id2label gives two outputs the name {shown(twice[0])}", file=file, remedy="rename one")
    return tuple(map(str, names))


def far(problems: Sequence[str]) -> tuple[bool, int]:
    """How far a form is from what a model is: another objective is farthest, then as many as there are problems."""
    return any(one.startswith("objective.kind") for one in problems), len(problems)


def plain(recipe: Tree) -> Tree:
    """The tables without settings that say what goes without saying, and with what is meant by those left out."""
    model = dict(recipe["model"])
    if model.get("feed_forward") == 4 * model.get("hidden", 0):
        del model["feed_forward"]
    if model.get("groups") is not None and model["groups"] == model.get("layers"):
        del model["groups"]
    objective = dict(recipe["objective"])
    if model.get("direction") == "both":  # see `Transformer.pooling`
        objective.setdefault("pooling", FirstConfig().model_dump())
    data = dict(recipe["data"])
    if at(data, "batches.pairs") == "none":
        data["batches"] = {key: value for key, value in data["batches"].items() if key != "pairs"}
    return recipe | {"model": model, "objective": objective, "data": data}
