"""What a recipe, a run, a kind or a section is: settings, parameters, memory and arithmetic.

Nothing is trained or allocated for this: models are built on torch's meta device, which knows
shapes only.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import torch
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from rich.console import Group, RenderableType
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text
from torch import nn

from foretell.config import Amount, Config, Tree, configs_in, did_you_mean, merge, nest, write_toml
from foretell.data.opening import open_corpus
from foretell.data.preparing import cache_key, trained_before
from foretell.data.store.store import Store, is_store
from foretell.data.text.corpus import Files
from foretell.data.text.holdout import Share
from foretell.data.tokenizers.kinds import ByteConfig, CharacterConfig, FileConfig, WordConfig
from foretell.data.tokenizers.tokenizer import tokenizer_of
from foretell.errors import ConfigError
from foretell.learning.labels import load_labels
from foretell.models.kneser_ney import OrderReport
from foretell.nn.initializers import on_paper
from foretell.objectives.objective import Objective
from foretell.optim.averaging import NoAveragingConfig
from foretell.recipe.loading import load_recipe, recipe_folder, recipe_names, recipe_of
from foretell.recipe.recipe import SOME_LABELS, Recipe
from foretell.run import Run, judged
from foretell.tools.look.schema import schema
from foretell.tools.printing import plain
from foretell.training.checkpoint import find

Overrides = Sequence[str] | Mapping[str, Any]
QUICKLY_COUNTED = 32 << 20  # bytes of text whose words or characters are counted while you wait
ENDLESS = 2**20  # limits beyond which only mistakes lie; the schema has them
ORDERS = TypeAdapter(list[OrderReport])
TRAINED = 3  # a backward pass multiplies by every weight twice, for inputs and for weights


def describe(what: str, overrides: Overrides = (), vocabulary: int | None = None) -> Tree:
    """What `what` names: a recipe, a run folder, a section, a kind, `recipes` or `schema`.

    Words go before files of that name: write `./lstm` for a file. `section.kind` is one kind of one
    section. `vocabulary` is the number of tokens to count parameters for; else it is found out
    where that is quick. Raises `ConfigError` for a word that is nothing of all that.
    """
    if (word := describe_word(what)) is not None:
        if overrides:
            raise ConfigError(f"{what!r} is no recipe, so settings do not change it; leave them out")
        return word
    if (Path(what) / "recipe.toml").is_file():
        return describe_run(Run.open(what), overrides, vocabulary)
    if Path(what).is_file() or what.removesuffix(".toml") in recipe_names():
        return describe_recipe(load_recipe(what, overrides), vocabulary)
    places = sections()
    kinds = [member.kind_name() for place in places for member in place.members]
    hint = did_you_mean(what, ["recipes", "schema", *recipe_names(), *(place.name for place in places), *kinds], most=5)
    raise ConfigError(
        f"nothing to show is called {what!r:.200}{hint} (`foretell show` lists the recipes, `foretell show schema` all "
        "settings; a run or a recipe of your own goes by its path)"
    )


def describe_word(what: str) -> Tree | None:
    """What a word stands for that is no path and no recipe; None where it is no such word."""
    if what == "recipes":
        return {"what": "recipes", "recipes": [recipe_line(name) for name in recipe_names()]}
    if what == "schema":
        return schema()
    places = sections()
    named = [place for place in places if what in (place.name, place.singular, place.key)]
    if len(named) > 1 and len({place.key for place in named}) == 1:  # a table that several kinds have, each its own
        return {"what": "kinds", "kinds": [describe_section(place) for place in named]}
    if named:
        return describe_section(named[0])
    members: dict[type[Config], Section] = {}  # what several sections take is described where it comes first
    for place in places:
        for member in place.members:
            if what in (kind := member.kind_name(), f"{place.name}.{kind}", f"{place.key}.{kind}"):
                members.setdefault(member, place)
    if members:
        kinds = [describe_kind(place, member) for member, place in members.items()]
        return kinds[0] if len(kinds) == 1 else {"what": "kinds", "kinds": kinds}
    return None


# --- recipes and runs -----------------------------------------------------------------------------


def recipe_line(name: str) -> Tree:
    """A shipped recipe and the first line of its comment."""
    lines = (recipe_folder() / f"{name}.toml").read_text(encoding="utf-8").splitlines()
    comments = [line.lstrip("# ").rstrip() for line in lines if line.startswith("#")]
    first = comments[0] if comments else ""
    return {"name": name, "text": first + ("" if first.endswith(".") or not comments[1:] else " ...")}


def describe_recipe(recipe: Recipe, vocabulary: int | None = None, labels: int = SOME_LABELS) -> Tree:
    """A resolved recipe: its TOML, and for its vocabulary and labels parameters, memory and arithmetic."""
    if vocabulary is not None and vocabulary < 2:
        raise ConfigError(f"a vocabulary of {vocabulary} is none; give the number of tokens")
    size, source = (vocabulary, "given") if vocabulary else vocabulary_of(recipe)
    shown = {
        "what": "recipe",
        "name": recipe.name,
        "toml": recipe.text(),
        "vocabulary": size,
        "vocabulary_source": source,
    }
    counted = recipe.model.counted  # how many numbers that will be, only the text knows
    return shown | (cost(recipe, size, labels) if size and not counted else {})


def describe_run(run: Run, overrides: Overrides = (), vocabulary: int | None = None) -> Tree:
    """A run: its recipe, the cost of its model, and how far it came."""
    recipe = recipe_of(run, overrides)
    source = "given"
    if vocabulary is None and run.tokenizer_file.is_file():
        vocabulary, source = tokenizer_of(run).size, "the run's tokenizer"
    labels = len(load_labels(run.labels_file)) if run.labels_file.is_file() else SOME_LABELS
    shown = describe_recipe(recipe, vocabulary, labels) | {"what": "run", "run": str(run.path)}
    shown |= {"orders": orders} if (orders := orders_of(run)) else {}
    records = [record for record in run.metrics() if "loss" in record]
    named = {name: found for name in ("best", "last") if (found := find(run, name)) is not None}
    shown |= {
        "vocabulary_source": source if vocabulary else shown["vocabulary_source"],
        "best": (named["best"][0].validation() or None) if "best" in named else None,
        "last": records[-1] if records else None,
    }
    shown |= {"unnormalised": run.unnormalised} if run.unnormalised else {}
    return shown | {"checkpoints": {name: facts for name, (_, facts) in named.items()}}


def orders_of(run: Run) -> list[Tree]:
    """What its last count says of each order of an n-gram model; empty for other models."""
    found: list[Tree] = []
    for record in run.metrics():
        with contextlib.suppress(ValidationError):
            found = [vars(report) for report in ORDERS.validate_python(record.get("orders"))]
    return found


def vocabulary_of(recipe: Recipe) -> tuple[int | None, str]:
    """How many tokens a recipe will have, and how that is known; None where it takes long."""
    corpus, config = recipe.data.corpus, recipe.data.tokenizer
    if is_store(corpus):
        return Store.open(corpus).tokenizer.size, "the prepared store"
    if isinstance(config, ByteConfig):
        return config.train(()).size, "bytes and the boundary"
    if isinstance(config, FileConfig):
        there = Path(config.path).expanduser().exists()
        return (config.train(()).size if there else None), config.path
    if size := getattr(config, "size", None):
        return int(size), "at most, as data.tokenizer.size says"
    try:
        text = open_corpus(corpus)
    except ConfigError as problem:
        return None, f"unknown: {problem}"
    if (cached := trained_before(cache_key(text, config))) is not None:
        return cached.size, "prepared before"
    source = text.source("train")
    files = source.whole.files if isinstance(source, Share) else source
    stored = sum(path.stat().st_size for path in files.paths) if isinstance(files, Files) else 0
    if isinstance(config, WordConfig | CharacterConfig) and stored < QUICKLY_COUNTED:
        return config.train(piece.text for piece in text.pieces("train")).size, "counted now"
    return None, "unknown until prepared; or say --vocabulary"


def cost(recipe: Recipe, vocabulary: int, labels: int = SOME_LABELS) -> Tree:
    """Parameters by part, bytes of training state, and FLOPs per token."""
    with on_paper():
        objective = recipe.build(vocabulary, labels=labels)
        recipe.trainable.prepare(objective)
    parts, parameters = parts_of(objective), list(objective.parameters())
    trained = [p for p in parameters if p.requires_grad]
    gradients = sum(p.numel() * p.element_size() for p in trained)
    averages = 0 if isinstance(recipe.averaging, NoAveragingConfig) else gradients
    memory = {
        "weights": sum(p.numel() * p.element_size() for p in parameters),
        "gradients": gradients,
        "optimizer": optimizer_bytes(recipe, objective),
        "averages": averages,
    }
    forward = round(2 * objective.macs_per_token(recipe.data.batches.length))
    return {
        "parameters": sum(p.numel() for p in parameters),
        "trained_parameters": sum(p.numel() for p in trained),
        "parts": parts,
        "memory_bytes": {**memory, "total": sum(memory.values())},
        "flops_per_token": {"forward": forward, "training": TRAINED * forward},
    }


def parts_of(objective: Objective) -> list[Tree]:
    """The parts of a model, each with the parameters that no part before it has."""
    backbone, seen = objective.backbone, set[int]()
    named: list[tuple[str, nn.Module]] = [("embedding", backbone.embedding)]
    named += [(f"layer {number} ({type(block).__name__})", block) for number, block in enumerate(backbone.blocks, 1)]
    named += [("other layers", backbone), ("head", objective.head)]
    named += [(name, part) for name, part in objective.named_children() if name not in ("backbone", "head")]
    named += [("objective", objective)]
    parts = []
    for name, module in named:
        mine = list(module.parameters())
        fresh = [p for p in mine if id(p) not in seen]
        seen.update(id(p) for p in fresh)
        shared = sum(p.numel() for p in mine) - sum(p.numel() for p in fresh)
        if fresh or name == "head":
            part = {"part": name, "parameters": sum(p.numel() for p in fresh)}
            parts.append(part | ({"shared": shared} if name == "head" and shared else {}))
    return parts


def optimizer_bytes(recipe: Recipe, objective: Objective) -> int:
    """What the optimiser keeps beside the weights, seen after a step on the meta device."""
    parameters = [p for p in objective.parameters() if p.requires_grad]
    optimizer = recipe.optimizer.build(parameters, objective.layer_depths())
    for parameter in parameters:
        parameter.grad = torch.empty_like(parameter)
    optimizer.step()
    kept = (value for state in optimizer.state.values() for value in state.values())
    return sum(t.numel() * t.element_size() for t in kept if isinstance(t, torch.Tensor))


# --- sections and kinds ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Section:
    """A place in the recipe that takes settings of one or several kinds."""

    key: str
    """its dotted name in the recipe"""
    members: tuple[type[Config], ...]
    many: bool
    """whether it is a list"""
    default: str | None
    """the kind it is where nothing is said"""
    within: Tree = field(default_factory=dict)
    """the kinds that the sections around it have to be of"""

    @property
    def name(self) -> str:
        """The last part of the dotted name."""
        return self.key.rpartition(".")[2]

    @property
    def singular(self) -> str:
        """What one item of a list is called."""
        name = self.name
        return {"ies": name[:-3] + "y"}.get(name[-3:], name.removesuffix("s")) if self.many else name


def sections(owner: type[Config] = Recipe, prefix: str = "", within: Tree | None = None) -> list[Section]:
    """Every section of the recipe, outer ones first, read from the types of the settings."""
    found, inner = [], []
    for name, setting in owner.model_fields.items():
        if members := configs_in(setting.annotation):
            key = f"{prefix}{name}"
            given = setting.get_default()
            default = given.kind_name() if isinstance(given, Config) else None
            many = get_origin(setting.annotation) is tuple
            found.append(Section(key, tuple(members), many, default, within or {}))
            for member in members:
                own = nest(f"{key}.kind", member.kind_name()) if "kind" in member.model_fields and not many else {}
                inner += sections(member, f"{key}.", merge(within or {}, own))
    return list({(place.key, place.members): place for place in [*found, *inner]}.values())


def describe_section(place: Section) -> Tree:
    """The kinds a section takes, or its settings where it has no kinds."""
    if len(place.members) == 1 and "kind" not in place.members[0].model_fields:
        return describe_kind(place, place.members[0])
    kinds = [{"kind": member.kind_name(), "text": prose(member)} for member in place.members]
    return {"what": "section", "section": place.key, "default": place.default, "kinds": kinds}


def describe_kind(place: Section, member: type[Config]) -> Tree:
    """A kind's description, its settings, and TOML that spells them out."""
    return {
        "what": "kind",
        "kind": member.kind_name() if "kind" in member.model_fields else place.name,
        "section": place.key,
        "text": prose(member),
        "fields": [
            {
                "name": name,
                "type": type_words(setting.annotation) + limits(setting),
                "default": default_words(setting),
                "text": " ".join((setting.description or "").split()),
            }
            for name, setting in member.model_fields.items()
            if name != "kind"
        ],
        "toml": write_toml(merge(place.within, nest(place.key, [spelled(member)] if place.many else spelled(member)))),
    }


def spelled(member: type[Config]) -> Tree:
    """All settings of a kind at their defaults; those that have none with an example."""
    examples: dict[Any, Any] = {str: "...", int: 3, Amount: Amount(value=1, unit="epochs")}
    given = {
        name: examples.get(setting.annotation, "...")
        for name, setting in member.model_fields.items()
        if setting.is_required()
    }
    tree: Tree = member.model_construct(**given).model_dump(mode="json", exclude_none=True)
    return ({"kind": tree.pop("kind")} if "kind" in tree else {}) | tree


def prose(member: type[Config]) -> str:
    """A docstring as one paragraph."""
    return " ".join((member.__doc__ or "").split())


def type_words(annotation: Any) -> str:
    """A type as a person would say it."""
    if annotation is Amount:
        return 'amount ("300steps")'
    simple = {int: "whole number", float: "number", str: "text", bool: "true or false"}
    if annotation in simple:
        return simple[annotation]
    if get_origin(annotation) is Annotated and not configs_in(annotation):
        return type_words(get_args(annotation)[0]) + limits(FieldInfo.from_annotation(annotation))
    if members := configs_in(annotation):
        kinds = ", ".join(member.kind_name() for member in members if "kind" in member.model_fields)
        many = "list of " if get_origin(annotation) is tuple else ""
        return f"{many}{kinds or 'table'}"
    arguments = [part for part in get_args(annotation) if part not in (type(None), Ellipsis)]
    if get_origin(annotation) is Literal:
        return " or ".join(json.dumps(part) for part in arguments)
    if get_origin(annotation) in (Union, UnionType):
        return " or ".join(map(type_words, arguments))
    if get_origin(annotation) is tuple:
        same = Ellipsis in get_args(annotation)
        inner = type_words(arguments[0]) if same else ", ".join(map(type_words, arguments))
        return f"list of {inner}" if same else f"[{inner}]"
    return "table"


def limits(setting: FieldInfo) -> str:
    """What a number may be, as ` >= 3`."""
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    found = [
        f" {sign} {bound}"
        for item in setting.metadata
        for name, sign in signs.items()
        if (bound := getattr(item, name, None)) is not None and abs(bound) < ENDLESS
    ]
    return ",".join(found)


def default_words(setting: FieldInfo) -> str:
    """A default as TOML has it; `absent` for none, `required` where it has to be given."""
    if setting.is_required():
        return "required"
    value = setting.get_default(call_default_factory=True, validated_data={})
    if value is None:
        return "absent"
    if isinstance(value, Config):
        return value.kind_name() if "kind" in type(value).model_fields else "table below"
    plain = str(value) if isinstance(value, Amount) else value
    return write_toml({"v": plain}).partition("= ")[2].strip() if plain != {} else "{}"


# --- for people -----------------------------------------------------------------------------------


def render(shown: Mapping[str, Any]) -> RenderableType:
    """A description as a person reads it, in 80 columns."""
    what = shown.get("what")
    if what == "recipes":
        return listing((item["name"], item["text"]) for item in shown["recipes"])
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
    note = "* is the default. " if default else "A list of these. "
    note += f"Settings: foretell show {shown['kinds'][0]['kind']}"
    return Group(Text(f"[{shown['section']}]", "bold"), listing(rows), Text(note, "dim"))


def render_kind(shown: Mapping[str, Any]) -> RenderableType:
    """The settings of a kind, and TOML to copy."""
    table = plain("setting")
    table.add_column("type", ratio=3)
    table.add_column("default", ratio=2)
    table.add_column("", ratio=5)
    for item in shown["fields"]:
        words = (item["name"], item["type"], item["default"], item["text"])
        table.add_row(*(Text(word) for word in words))
    head = Text.assemble((shown["kind"], "bold"), f"  in [{shown['section']}]\n{shown['text']}\n")
    return Group(head, *([table] if shown["fields"] else []), Text(), toml(shown["toml"]))


def render_recipe(shown: Mapping[str, Any]) -> RenderableType:
    """A recipe's TOML and what it costs; for a run also how far it came."""
    facts = plain()
    facts.add_column(no_wrap=True)
    facts.add_column(justify="right", no_wrap=True)
    facts.add_column()
    known = f"{shown['vocabulary']:,}" if shown["vocabulary"] else "?"
    facts.add_row("vocabulary", known, Text(shown["vocabulary_source"], "dim"))
    if "parameters" in shown:
        trained = shown["trained_parameters"]
        note = f"of which {trained:,} are trained" if trained < shown["parameters"] else ""
        facts.add_row("parameters", f"{shown['parameters']:,}", Text(note, "dim"), style="bold")
        for part in shown["parts"]:
            note = f"{part['shared']:,} shared with the embedding" if "shared" in part else ""
            facts.add_row(f"  {part['part']}", f"{part['parameters']:,}", Text(note, "dim"))
        memory, flops = shown["memory_bytes"], shown["flops_per_token"]
        shares = ", ".join(f"{k} {readable(v)}" for k, v in memory.items() if v and k != "total")
        facts.add_row("memory", readable(memory["total"]), Text(f"{shares}; fp32, no activations", "dim"))
        note = f"forward {flops['forward'] / 1e6:,.2f}; matrix products only"
        facts.add_row("MFLOP per token", f"{flops['training'] / 1e6:,.2f}", Text(note, "dim"))
    for order in shown.get("orders", ()):
        numbers = ", ".join(f"{discount:.3f}" for discount in order["discounts"])
        note = f"discounts {numbers}" + (f": set, as {order['fallback']}" if order["fallback"] else "")
        note += f"; {order['pruned']:,} pruned" if order["pruned"] else ""
        facts.add_row(f"{order['order']}-grams", f"{order['ngrams']:,}", Text(note, "dim"))
    if "unnormalised" in shown:
        facts.add_row("probabilities", "", Text(shown["unnormalised"], "bold red"))
    for name in ("best", "last"):
        if record := shown.get(name):
            note = f"step {record['step']}, epoch {record.get('epoch', math.nan):.2f}, "
            note += "validation" if record["kind"] == "valid" else "training"
            measure = record.get("metric", "loss")
            value = record[measure] if "metric" in record else judged(record)
            facts.add_row(f"{name} {measure.replace('_', ' ')}", f"{value:.4f}", Text(note, "dim"))
    return Group(toml(shown["toml"]), facts)


def toml(text: str) -> Syntax:
    """TOML in colours that suit light and dark terminals."""
    return Syntax(text, "toml", theme="ansi_dark", background_color="default", word_wrap=True)


def listing(rows: Iterable[tuple[str, str]]) -> Table:
    """Names and what they are."""
    table = plain()
    table.add_column(style="bold", no_wrap=True)
    for name, text in rows:
        table.add_row(name, Text(text))
    return table


def readable(count: int) -> str:
    """A number of bytes, as 1.2 GiB."""
    power = min((max(count, 1).bit_length() - 1) // 10, 4)
    return f"{count / 1024**power:.{min(power, 1)}f} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"
