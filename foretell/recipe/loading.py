"""Loading recipes: shipped ones, files, tables and runs, with overrides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foretell import config, trees
from foretell.data.labelled.datasets import SETS
from foretell.data.labelled.guessing import guess_reader, implied
from foretell.data.text.builtin import BUILTIN
from foretell.errors import ConfigError
from foretell.hub import is_on_hub, local
from foretell.models.backbone import Backbone
from foretell.nn.initializers import on_paper
from foretell.recipe.files import (
    FINE_TUNING,
    find_recipe,
    find_tokenizer,
    is_of_run,
    kind_in,
    names_kind,
    read_tree,
    recipe_folder,
)
from foretell.recipe.recipe import Recipe
from foretell.run import Run
from foretell.trees import Tree
from foretell.trust import refuse


def load_recipe(
    source: str | Path | Mapping[str, Any] | Recipe, overrides: Sequence[str] | Mapping[str, Any] = ()
) -> Recipe:
    """Load a recipe from a shipped name, a path, tables or a recipe, and apply dotted overrides."""
    where: Path | str
    if isinstance(source, Recipe):
        tree, where = source.tree(), "recipe"
    elif isinstance(source, Mapping):
        tree, where = dict(source), "recipe"
    else:
        path = find_recipe(str(source))
        if Path(source).is_dir() or is_of_run(path):
            return recipe_to_train(Run.open(path.parent), overrides)
        tree, where = {"name": path.stem} | read_tree(path), path
    tree = trees.override(tree, overrides)
    if tree.get("base") == FINE_TUNING:
        tree = with_fine_tuning(tree)
    with trees.blaming(overrides):
        tree = with_initial(tree)
        recipe = config.validate(Recipe, with_kind(tree), where)  # before any table is read
        if (complete := with_reader(tree)) is not tree:
            recipe = config.validate(Recipe, with_kind(complete), where)
        return checked(recipe, where)


def checked(recipe: Recipe, where: Path | str) -> Recipe:
    """The recipe; `ConfigError` if its stages, seeds or `init` do not fit the model."""
    if recipe.seeds > 1 and recipe.model.counted:
        raise trees.wrong(where, f"seeds = {recipe.seeds} would count the same n-grams each time; leave seeds out")
    try:
        recipe.resolved_stages()  # a mistake in a later stage shows now, not after hours
    except ConfigError as problem:
        raise trees.wrong(where, str(problem)) from None
    return recipe


def recipe_to_train(run: Run, overrides: Sequence[str] | Mapping[str, Any]) -> Recipe:
    """The recipe of a run, to train it again.

    Raises `ConfigError` with the files and data sets that a run from elsewhere would open by its own choice.
    """
    recipe = recipe_of(run, overrides)
    theirs, ours = opened_by(recipe_of(run).tree()), opened_by(recipe.tree())
    own_choice = {path: theirs[path] for path in sorted(theirs.keys() & ours.keys()) if path != str(run.tokenizer_file)}
    if own_choice and not run.is_trusted:
        settings = ", ".join(sorted(set(own_choice.values())))
        raise refuse(run.path, f"open {', '.join(own_choice)}", f"set your own: {settings}")
    return recipe


def opened_by(tree: Tree) -> dict[str, str]:
    """The files, runs and data sets these tables open, except built-in ones, each with the setting to override."""
    data = tree.get("data", {})
    corpus, tokenizer = data.get("corpus", ""), data.get("tokenizer", {})
    found = {str(path): "data.corpus=…" for path in (corpus.values() if isinstance(corpus, Mapping) else [corpus])}
    found |= {str(tree.get("init", "")): "init=…"}
    found |= {str(tokenizer.get("path", "")): "data.tokenizer={kind=…}"} if isinstance(tokenizer, Mapping) else {}
    for stage in tree.get("stages", ()):
        found |= dict.fromkeys(opened_by(trees.override({}, stage.get("set", {}))), "stages=…")
    return {path: setting for path, setting in found.items() if path not in ("", *BUILTIN, *SETS)}


def with_initial(tree: Tree) -> Tree:
    """The tables, with model, head and tokenizer of the run that `init` names where they name no kind."""
    init, data = tree.get("init"), tree.get("data", {})
    if not isinstance(init, str) or not isinstance(data, Mapping):
        return tree  # validation reports it
    model, tokenizer = (names_kind(table) for table in (tree.get("model"), data.get("tokenizer")))
    if not init or (model and tokenizer):
        return tree
    inherited: Tree = {} if tokenizer else {"data": {"tokenizer": {"kind": "file", "path": str(local(init))}}}
    if not model:
        last = recipe_at(str(init)).resolved_stages()[-1][1].tree()
        inherited |= {name: last[name] for name in ("model", "head")}
    return trees.merge(inherited, tree)


def recipe_at(path: str) -> Recipe:
    """The recipe of a run; for `runs/NAME` that does not exist yet, the shipped recipe NAME."""
    shipped = recipe_folder() / f"{Path(path).name}.toml"
    missing = not is_on_hub(path) and not Path(path).exists()
    return load_recipe(shipped) if shipped.is_file() and missing else recipe_of(Run.open(path))


def recipe_of(run: Run, overrides: Sequence[str] | Mapping[str, Any] = ()) -> Recipe:
    """The recipe of a run. One from elsewhere may not name classes outside the package."""
    where = run.recipe_file
    with run.guarded():
        tree = trees.read_toml(run.recipe_file)
        find_tokenizer(tree, run.path)
        return checked(config.validate(Recipe, trees.override(tree, overrides), where), where)


def with_reader(tree: Tree) -> Tree:
    """The tables, with a reader for files of the user's own where they name none, see `guess_reader`, and with what
    it implies for the objective."""
    data = tree.get("data")
    if not isinstance(data, Mapping):
        return tree
    objective, task = tree.get("objective"), kind_in(tree.get("objective"))
    found = guess_reader(task, data.get("corpus"), data.get("reader"))
    if settings := implied(task, data.get("reader") if found is None else found):
        given = objective if isinstance(objective, Mapping) else {"kind": task}
        tree = tree | {"objective": settings | dict(given)}
    return tree if found is None else tree | {"data": dict(data) | {"reader": found}}


READERS = {"tagging": "columns", "answering": "squad", "choice": "options"}
"""the kind of reader that settings without a kind are of, by the task; for others a table"""


def with_kind(tree: Tree) -> Tree:
    """The tables, with the kind of reader that fits the task where its settings name none."""
    data, kind = tree.get("data"), READERS.get(kind_in(tree.get("objective")))
    reader = data.get("reader") if isinstance(data, Mapping) else None
    if not kind or not isinstance(data, Mapping) or not isinstance(reader, Mapping) or "kind" in reader:
        return tree
    return tree | {"data": dict(data) | {"reader": {"kind": kind} | dict(reader)}}


# --- fine-tuning ----------------------------------------------------------------------------------

SOME_TOKENS = 1 << 16
"""size of the vocabulary of a model whose structure alone is looked at"""
LENGTHS = {"answering": 384, "choice": 256, "classification": 128, "similarity": 128, "tagging": 128}
"""tokens per row of a model with a bounded context, if the context is that long"""
PUBLISHED_WIDTH = 768
"""width that the learning rate of `bert-finetune-sst2` was published for; rates of Adam fall with the width
(arXiv:2203.03466)"""
POOLED = ("classification", "similarity", "choice")
"""tasks that pool a text into one vector: its mean, as the first token's needs a longer training"""
GRADIENT_LENGTH = 1400
"""last tokens of a text that gradients flow through in a recurrent model, as in the recipe for IMDB"""


def with_fine_tuning(tree: Tree) -> Tree:
    """The tables over the fine-tuning recipe of the model that `init` names."""
    base = fine_tuning(str(tree.get("init", "")), kind_in(tree.get("objective")))
    if {"limit", "trainable", "stages"} & tree.keys():  # the user plans the training
        base.pop("stages", None)
    return trees.merge(base, {name: value for name, value in tree.items() if name != "base"})


def fine_tuning(run: str, task: str) -> Tree:
    """The recipe that fine-tunes a run for a task: BERT's for a Transformer, for a recurrent model ULMFiT's."""
    _, last = recipe_at(run).resolved_stages()[-1]
    if not last.model.fine_tuned_as:
        raise ConfigError(
            f"{run}: a model of kind {last.model.kind_name()!r} has no layers to fine-tune; name another run"
        )
    backbone = backbone_of(last)
    tree = read_tree(find_recipe(last.model.fine_tuned_as))
    tree |= {"init": run, "objective": {"kind": task}}
    if task == "tagging" and "causal" in backbone.reads:
        tree["objective"]["at"] = "last"  # earlier tokens do not see the end of the word
    if backbone.context is not None:
        tree["data"]["batches"] |= {"length": min(LENGTHS.get(task, 128), backbone.context)}
    if "recurrence" in backbone.reads:
        tree["objective"]["gradient_length"] = GRADIENT_LENGTH
    else:
        tree["optimizer"]["learning_rate"] *= PUBLISHED_WIDTH / backbone.dim
        if task in POOLED and "bidirectional" in backbone.reads:
            tree["objective"]["pooling"] = {"kind": "mean"}
    if "stages" in tree:
        tree["stages"] = unfreezing(len(backbone.blocks), str(tree["limit"]))
    return tree


def backbone_of(recipe: Recipe) -> Backbone:
    """The backbone of a recipe on the meta device: its structure, which no vocabulary changes, without weights."""
    model: Any = recipe.model
    with on_paper():
        backbone: Backbone = model.build(SOME_TOKENS, np.ones(SOME_TOKENS, dtype=np.int64))
    return backbone


def unfreezing(layers: int, limit: str) -> list[Tree]:
    """Stages that train the output layers, then one more layer per epoch, then all (arXiv:1801.06146, section 3.3)."""
    top = [{"trainable": {"kind": "top", "layers": number}} for number in range(layers + 1)]
    gradual = [{"name": f"top {n}", "limit": "1epochs", "set": settings} for n, settings in enumerate(top)]
    return [*gradual, {"name": "all", "limit": limit, "set": {"trainable": "full"}}]
