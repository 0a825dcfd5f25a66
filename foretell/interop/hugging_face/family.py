"""What a family of models is: its forms, its settings and its tensors, in both directions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from foretell.config import Tree, override
from foretell.errors import ConfigError
from foretell.interop.hugging_face.correspondence import Link, Misfit, Setting, Theirs, at
from foretell.interop.hugging_face.folder import Weights
from foretell.nn.pooling import FirstConfig


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

    def recipe(self, theirs: Theirs, weights: Iterable[str]) -> tuple[Form, Tree]:
        """The form, and the tables of a recipe, that a config.json and the heads of a checkpoint say."""
        theirs = {setting.theirs: setting.default for setting in self.settings} | theirs
        if theirs.get("problem_type") is None and len(theirs.get("id2label") or "..") == 1:
            theirs["problem_type"] = "regression"  # as transformers takes it
        if "quantization_config" in theirs:
            raise ConfigError("config.json: quantised weights are not supported; take the checkpoint they were made of")
        for key, value in self.theirs.items():
            if theirs.get(key, value) != value:
                raise ConfigError(
                    f"config.json: {key} = {theirs[key]!r} is not supported for {self.kind}, only {value!r}"
                )
        form = self.form_of(theirs, weights)
        found = self.begin | form.begin | self.ours | form.ours
        found = {key: value[0] if isinstance(value, tuple) else value for key, value in found.items()}
        theirs = {setting.theirs: setting.default for setting in form.settings} | theirs
        for setting in (*self.settings, *form.settings):
            found |= setting.read(theirs)
        return form, override({}, {key: value for key, value in found.items() if value is not None})

    def form_of(self, theirs: Theirs, weights: Iterable[str]) -> Form:
        """The form of a checkpoint with tensors of these names: the one its config.json names, if it does."""
        names, named = set(weights), set(theirs.get("architectures") or ())
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
    if model.get("direction") == "both":  # see `suitable_pooling`
        objective.setdefault("pooling", FirstConfig().model_dump())
    data = dict(recipe["data"])
    if at(data, "batches.pairs") == "none":
        data["batches"] = {key: value for key, value in data["batches"].items() if key != "pairs"}
    return recipe | {"model": model, "objective": objective, "data": data}
