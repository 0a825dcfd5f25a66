"""Descriptions of recipes, runs, sections and kinds: settings, parameters, memory, FLOPs.

Nothing is trained or allocated: models are built on torch's meta device, which knows shapes only.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from rich.console import Group, RenderableType
from rich.syntax import Syntax
from rich.text import Text

from foretell import plugins, units
from foretell.config import Config, installed_kinds
from foretell.data.opening import open_corpus
from foretell.data.preparing import cache_key, trained_before
from foretell.data.store.store import Store, is_store
from foretell.data.text.holdout import files_of
from foretell.data.tokenizers.tokenizer import tokenizer_of
from foretell.errors import ConfigError
from foretell.learning.labels import load_labels
from foretell.models.kneser_ney import OrderReport
from foretell.recipe.files import recipe_names
from foretell.recipe.loading import load_recipe, recipe_of
from foretell.recipe.names import no_such_word
from foretell.recipe.recipe import SOME_LABELS, Recipe
from foretell.run import Run, judged
from foretell.tools.cost import cost
from foretell.tools.look.recipes import list_recipes, render_recipes
from foretell.tools.look.schema import schema
from foretell.tools.look.sections import Section, describe_kind, describe_section, sections
from foretell.tools.measure.audits import kept, lines
from foretell.tools.tables import Column, ResponsiveTable, facts
from foretell.training.checkpoint import find
from foretell.trees import Tree

Overrides = Sequence[str] | Mapping[str, Any]
QUICKLY_COUNTED = 32 << 20
"""bytes of text up to which words or characters are counted to learn the vocabulary size"""
ORDERS = TypeAdapter(list[OrderReport])


def describe(what: str, overrides: Overrides = (), vocabulary: int | None = None) -> Tree:
    """Describe a recipe, a run folder, a section, a kind, `recipes` or `schema`.

    Words take precedence over files of that name: write `./lstm` for a file. `section.kind` is a kind of one section.
    `vocabulary`: number of tokens to count parameters for; by default it is determined if that is quick. Raises
    `ConfigError` for an unknown word.
    """
    if (word := describe_word(what)) is not None:
        if overrides:
            raise ConfigError(f"{what!r} is not a recipe, so settings do not change it; leave them out")
        return word
    if (Path(what) / "recipe.toml").is_file():
        return describe_run(Run.open(what), overrides, vocabulary)
    if Path(what).is_file() or what.removesuffix(".toml") in recipe_names():
        return describe_recipe(load_recipe(what, overrides), vocabulary)
    raise no_such_word(what)


def describe_word(what: str) -> Tree | None:
    """Describe a section, a kind, `recipes` or `schema`; None for any other word."""
    if what == "recipes":
        return list_recipes()
    if what == "schema":
        return schema()
    all_sections = sections()
    named = [section for section in all_sections if what in (section.name, section.singular, section.key)]
    if len(named) > 1 and len({section.key for section in named}) == 1:  # several kinds have such a table
        return {"what": "kinds", "kinds": [describe_section(section) for section in named]}
    if named:
        return describe_section(named[0])
    members: dict[type[Config], Section] = {}  # a kind of several sections is described in the first
    for section in all_sections:
        for member in section.members:
            if what in (kind := member.kind_name(), f"{section.name}.{kind}", f"{section.key}.{kind}"):
                members.setdefault(member, section)
    if members:
        kinds = [describe_kind(section, member) for member, section in members.items()]
        return kinds[0] if len(kinds) == 1 else {"what": "kinds", "kinds": kinds}
    return describe_installed(what, all_sections) if plugins.path_of(what) else None


def describe_installed(kind: str, all_sections: Sequence[Section]) -> Tree | None:
    """Describe a kind of an installed package in the first section it fits; None if it fits none."""
    for section in all_sections:
        for name, member in installed_kinds(section.singular, section.members).items():
            if kind in (name, f"{section.singular}.{name}"):
                return describe_kind(section, member, name)
    return None


# --- recipes and runs -----------------------------------------------------------------------------


def describe_recipe(recipe: Recipe, vocabulary: int | None = None, labels: int = SOME_LABELS) -> Tree:
    """A resolved recipe as TOML, with parameters, memory and FLOPs for its numbers of tokens and labels."""
    if vocabulary is not None and vocabulary < 2:
        raise ConfigError(f"a vocabulary of {vocabulary} is too small; give the number of tokens")
    size, source = (vocabulary, "given") if vocabulary else vocabulary_of(recipe)
    shown = {
        "what": "recipe",
        "name": recipe.name,
        "toml": recipe.text(),
        "vocabulary": size,
        "vocabulary_source": source,
    }
    counted = recipe.model.counted  # the parameters follow from the text
    return shown | (cost(recipe, size, labels) if size and not counted else {})


def describe_run(run: Run, overrides: Overrides = (), vocabulary: int | None = None) -> Tree:
    """A run: its recipe, the cost of its model, its best and last records."""
    recipe = recipe_of(run, overrides)
    source = "given"
    if vocabulary is None and run.tokenizer_file.is_file():
        vocabulary, source = tokenizer_of(run).size, "the run's tokenizer"
    labels = len(load_labels(run.labels_file)) if run.labels_file.is_file() else SOME_LABELS
    shown = describe_recipe(recipe, vocabulary, labels) | {"what": "run", "run": str(run.path)}
    shown |= {"orders": orders} if (orders := orders_of(run)) else {}
    records = [record for record in run.metrics() if record["kind"] in ("train", "valid")]
    saved = {name: found for name in ("best", "last") if (found := find(run, name)) is not None}
    shown |= {
        "vocabulary_source": source if vocabulary else shown["vocabulary_source"],
        "best": (saved["best"][0].validation() or None) if "best" in saved else None,
        "last": records[-1] if records else None,
    }
    shown |= {"unnormalised": run.unnormalised} if run.unnormalised else {}
    shown |= {"audits": audits} if "best" in saved and (audits := kept(run, saved["best"][0].step)) else {}
    return shown | {"checkpoints": {name: facts for name, (_, facts) in saved.items()}}


def orders_of(run: Run) -> list[Tree]:
    """Reports of the last count for each order of an n-gram model; empty for other models."""
    orders: list[Tree] = []
    for record in run.metrics():
        with contextlib.suppress(ValidationError):
            orders = [vars(report) for report in ORDERS.validate_python(record.get("orders"))]
    return orders


def vocabulary_of(recipe: Recipe) -> tuple[int | None, str]:
    """Vocabulary size of a recipe and its source; None if determining it takes long."""
    corpus, config = recipe.data.corpus, recipe.data.tokenizer
    if is_store(corpus):
        return Store.open(corpus).tokenizer.size, "the prepared store"
    if (known := config.known_size()) is not None:
        return known
    try:
        text = open_corpus(corpus)
    except ConfigError as problem:
        return None, f"unknown: {problem}"
    if (cached := trained_before(cache_key(text, config))) is not None:
        return cached.size, "prepared before"
    stored = sum(path.stat().st_size for path in files_of(text.source("train")))
    if config.counts_only and stored < QUICKLY_COUNTED:
        return config.train(piece.text for piece in text.pieces("train")).size, "counted now"
    return None, "unknown until prepared; --vocabulary sets it"


# --- rendering ------------------------------------------------------------------------------------


def render(shown: Mapping[str, Any]) -> RenderableType:
    """A description for a terminal of 80 columns or more."""
    what = shown.get("what")
    if what == "recipes":
        return render_recipes(shown)
    if what == "section":
        return render_section(shown)
    if what == "kinds":
        return Group(*(render_kind(kind) for kind in shown["kinds"]))
    if what == "kind":
        return render_kind(shown)
    if what in ("recipe", "run"):
        return render_recipe(shown)
    return Syntax(json.dumps(shown, indent=2), "json", theme="ansi_dark", background_color="default")


def render_section(shown: Mapping[str, Any]) -> RenderableType:
    """The kinds of a section."""
    default = shown["default"]
    rows = [(f"{item['kind']} *" if item["kind"] == default else item["kind"], item["text"]) for item in shown["kinds"]]
    note = "* is the default. " if default else "A list of these kinds. "
    note += f"Settings: foretell show {shown['kinds'][0]['kind']}"
    return Group(Text(f"[{shown['section']}]", "bold"), facts(rows), Text(note, "dim"))


def render_kind(shown: Mapping[str, Any]) -> RenderableType:
    """The settings of a kind, and TOML with all of them."""
    table = ResponsiveTable(
        Column.words("setting"),
        Column.texts("type", 2, least=16),
        Column.texts("default", least=16),
        Column.texts(least=20),
    )
    for item in shown["fields"]:
        table.add(item["name"], item["type"], item["default"], item["text"])
    head = Text.assemble((shown["kind"], "bold"), f"  in [{shown['section']}]\n{shown['text']}\n")
    return Group(head, *([table] if shown["fields"] else []), Text(), toml(shown["toml"]))


def render_recipe(shown: Mapping[str, Any]) -> RenderableType:
    """A recipe as TOML with its costs; for a run also its best and last records."""
    table = ResponsiveTable(Column.words(), Column(), Column.texts(least=16))

    def fact(name: str, value: str, note: str = "", style: str = "dim") -> None:
        table.add(name, value, Text(note, style), style="bold" if name == "parameters" else "")

    fact("vocabulary", f"{shown['vocabulary']:,}" if shown["vocabulary"] else "?", shown["vocabulary_source"])
    if "parameters" in shown:
        trained = shown["trained_parameters"]
        fact(
            "parameters",
            f"{shown['parameters']:,}",
            f"{trained:,} of them trained" if trained < shown["parameters"] else "",
        )
        for part in shown["parts"]:
            note = f"{part['shared']:,} shared with the embedding" if "shared" in part else ""
            fact(f"  {part['part']}", f"{part['parameters']:,}", note)
        memory, flops = shown["memory_bytes"], shown["flops_per_token"]
        shares = ", ".join(f"{k} {units.size(v)}" for k, v in memory.items() if v and k != "total")
        fact("memory", units.size(memory["total"]), f"{shares}; fp32, no activations")
        note = f"forward {flops['forward'] / 1e6:,.2f}; matrix products only"
        fact("MFLOP per token", f"{flops['training'] / 1e6:,.2f}", note)
    for order in shown.get("orders", ()):
        numbers = ", ".join(f"{discount:.3f}" for discount in order["discounts"])
        note = f"discounts {numbers}" + (f": fallback, as {order['fallback']}" if order["fallback"] else "")
        note += f"; {order['pruned']:,} pruned" if order["pruned"] else ""
        fact(f"{order['order']}-grams", f"{order['ngrams']:,}", note)
    if "unnormalised" in shown:
        fact("probabilities", "", shown["unnormalised"], "bold red")
    for name in ("best", "last"):
        if record := shown.get(name):
            note = f"step {record['step']}, epoch {record.get('epoch', math.nan):.2f}, "
            note += "validation" if record["kind"] == "valid" else "training"
            measure = record.get("metric", "loss")
            value = record[measure] if "metric" in record else judged(record)
            fact(f"{name} {units.label(measure)}", f"{value:.4f}", note)
    for line in lines(shown.get("audits", [])):
        split, _, text = line.partition(": ")
        fact(split, "", text)
    return Group(toml(shown["toml"]), table)


def toml(text: str) -> Syntax:
    """TOML in colours for light and dark terminals."""
    return Syntax(text, "toml", theme="ansi_dark", background_color="default", word_wrap=True)
