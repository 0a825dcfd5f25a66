"""Starting from another run (`init`): its weights, vocabulary and token counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from foretell.api.trained import Trained, load_run
from foretell.data.store.store import load_counts
from foretell.data.tokenizers.tokenizer import Tokenizer, tokenizer_of
from foretell.errors import ConfigError
from foretell.hub import local
from foretell.learning.data_module import DataModule
from foretell.nn.initializers import on_paper
from foretell.nn.vocabulary import Counts, token_rows
from foretell.nn.vocabulary_transfer import carry_over, match, move_between_bands
from foretell.objectives.objective import Objective
from foretell.recipe.files import recipe_names
from foretell.recipe.recipe import Recipe
from foretell.run import Record, Run
from foretell.training.monitor import Monitor
from foretell.training.state_dict import load_weights, weights


def load_initial(
    objective: Objective, recipe: Recipe, tokenizer: Tokenizer, monitor: Monitor, labels: Sequence[str] = ()
) -> Record | None:
    """Load the weights of the run that `init` names; return a record of it, or None without `init`."""
    if not recipe.init:
        return None
    other = open_initial(recipe)
    matching = match(tokenizer, other.tokenizer)
    same = tokenizer.fingerprint == other.tokenizer.fingerprint
    had, has = ({}, {}) if same else (token_rows(other.objective), token_rows(objective))
    mine = weights(objective)
    shared = shared_by(objective, recipe, mine, other, labels)
    carried = carry_over(shared, had, has, matching)
    # frequency bands may have a different number of entries here
    taken = {name: tensor for name, tensor in carried.items() if tensor.shape == mine[name].shape}
    begun = {name: tensor.detach().clone() for name, tensor in mine.items()} | taken
    if not same:
        matching = move_between_bands(begun, shared, other.objective, objective, matching)
    load_weights(objective, begun)
    monitor.say(f"from {recipe.init}, step {other.facts['step']}, {other.facts['weights']} weights: {matching}")
    new, left = (sorted(names) for names in (mine.keys() - taken.keys(), other.weights.keys() - taken.keys()))
    if begun_here := [name for name in new if objective.part_of(name) in objective.inherits]:
        monitor.say(f"missing in {recipe.init} or of a different shape, newly initialised: {', '.join(begun_here)}")
    facts = {"init": recipe.init, "init_step": other.facts["step"], "weights": other.facts["weights"]}
    return facts | {"new_weights": new, "left_weights": left} | matching.counts


def shared_by(
    objective: Objective, recipe: Recipe, mine: Mapping[str, Tensor], other: Trained, labels: Sequence[str]
) -> Mapping[str, Tensor]:
    """The weights of another run that this model also has; outputs of a task only if kind and labels match."""
    alike = other.labels == tuple(labels) and other.settings.objective.kind_name() == recipe.objective.kind_name()

    def goes_on(name: str, tensor: Tensor) -> bool:
        part = objective.part_of(name)
        if part in ("backbone", "head") or part in objective.inherits:
            return name in mine
        return name in mine and tensor.shape == mine[name].shape and (alike or part != "outputs")

    return {name: tensor for name, tensor in other.weights.items() if goes_on(name, tensor)}


def open_initial(recipe: Recipe) -> Trained:
    """The run that `init` names; a `ConfigError` if the recipe's model does not match its architecture."""
    path = local(recipe.init)
    if not path.exists() and path.name in recipe_names():
        raise ConfigError(
            f"init: {path} does not exist; name a run, as init=RUN: foretell import FOLDER --out RUN makes one of a "
            f"pre-trained encoder (FOLDER may be hf:OWNER/NAME), foretell train {path.name} trains {path}"
        )
    other = load_run(path, device="cpu")
    if other.settings.model.counted:
        raise ConfigError(
            f"init: {recipe.init} is an n-gram model, which is counted and cannot be trained further; "
            "name a run of another model, or leave init out"
        )
    if odd := first_difference(recipe, other.settings):
        raise ConfigError(
            f"init: {recipe.init} has another architecture: {odd}; "
            f"take its recipe: foretell train {recipe.init} init={recipe.init} data.corpus=…"
        )
    return other


ANY_SIZE = 2**20
"""a vocabulary size that only marks the dimension"""


def shape_of(tensor: Tensor) -> str:
    """A shape as text, with the vocabulary size by name."""
    return f"({', '.join('tokens' if size == ANY_SIZE else str(size) for size in tensor.shape)})"


def first_difference(here: Recipe, there: Recipe) -> str:
    """The first tensor that only one of two models has, or with different shapes; vocabulary sizes may differ.

    Parts of an objective other than backbone and head, such as one for pairs of texts, may be in one model only, and a
    head may be in the other only if this objective does not inherit it.
    """
    with on_paper():  # shapes only, no memory
        objectives = [recipe.build(ANY_SIZE) for recipe in (here, there)]
    mine, its = ({name: shape_of(t) for name, t in weights(objective).items()} for objective in objectives)
    part, their_part = (objective.part_of for objective in objectives)
    model, inherited = {"backbone", "head"}, objectives[0].inherits
    wanted = [name for name in mine if part(name) in model or (name in its and part(name) in inherited)]
    whole = [name for name in its if their_part(name) in model & inherited]
    for name in [*wanted, *whole]:
        if mine.get(name) != its.get(name):
            return f"{name} is {its.get(name, 'absent')} there and {mine.get(name, 'absent')} here"
    return ""


def initial_counts(recipe: Recipe, data: DataModule) -> Counts:
    """Token counts of the training split, or those of the run that `init` names.

    Weights of that run are arranged by its counts, which are kept if the vocabulary is the same.
    """
    if recipe.init:
        other = Run.open(recipe.init)
        counts = load_counts(other.counts_file)
        if counts is not None and tokenizer_of(other).fingerprint == data.tokenizer.fingerprint:
            return counts
    return data.token_counts()
