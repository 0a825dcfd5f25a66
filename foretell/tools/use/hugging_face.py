"""Import and export of Hugging Face folders."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from foretell.api.counting import save_finished
from foretell.api.trained import Trained
from foretell.artifacts import is_free, whole_folder, write_atomic, write_json
from foretell.data.labelled.tags import MARKS, OUTSIDE
from foretell.data.tokenizers.foreign import named_file
from foretell.data.tokenizers.tokenizer import Tokenizer, load_tokenizer
from foretell.errors import ConfigError
from foretell.interop.hugging_face.card import model_card
from foretell.interop.hugging_face.correspondence import (
    Reading,
    at,
    check_shapes,
    link_of,
    read_tensors,
    write_tensors,
)
from foretell.interop.hugging_face.families import family_named, family_of
from foretell.interop.hugging_face.family import Family, labels_there
from foretell.interop.hugging_face.folder import SHARD_BYTES, Weights, has, read_config, write_weights
from foretell.interop.hugging_face.vocabulary import filled, is_numbers, numbers, read_tokenizer, roles, write_tokenizer
from foretell.learning.kinds import data_module
from foretell.models.model_spec import ModelSpec
from foretell.nn.initializers import on_paper
from foretell.objectives.objective import Objective
from foretell.recipe.loading import load_recipe
from foretell.recipe.recipe import Recipe, as_name
from foretell.run import Record, Run
from foretell.strict_json import JsonObject, read_object, shown
from foretell.tools.measure.audits import kept, lines
from foretell.training.monitor import Monitor
from foretell.training.state_dict import load_weights, weights
from foretell.trees import Tree, override, write_toml
from foretell.trust import foreign

POOLER = re.compile(r"(^|\.)pooler\.dense\.(weight|bias)$")
"""tensors of BERT's layer between the first vector and the output layers"""

# --- import ---------------------------------------------------------------------------------------


def import_folder(folder: Path, out: Path, corpus: str, tokenizer_file: Path | None) -> dict[str, Any]:
    """Import a checkpoint folder as a run. Parts of the model that it lacks are initialised as for training, and
    reported."""
    if not is_free(out):
        raise ConfigError("exists", file=out, remedy="choose another --out")
    theirs = read_config(folder)
    family = family_named(theirs.get("model_type"), theirs.file)
    tensors = family.named(Weights.open(folder))
    form, tree = family.recipe(theirs, tensors)
    vocabulary = family.words_in(theirs, tensors)
    family.check_sizes(tree, tensors)
    labels = () if form.labels is None else form.labels.read(labels_there(theirs))
    with foreign():
        stored = read_vocabulary(folder, theirs, vocabulary, tokenizer_file)
    tokenizer = stored or numbers(vocabulary, theirs)
    generator = read_generator(folder, tree) if at(tree, "objective.kind") == "replaced" else None
    recipe = recipe_of(tree, out, corpus, folder / "config.json", labels)
    objective, reading = read_model(family.with_links_of(form), recipe, tensors, generator, vocabulary, len(labels))
    report = {"missing": reading.missing, "surplus": reading.surplus, "tokenizer": stored is not None}
    outputs = {name for name in weights(objective) if not name.startswith("backbone.")}
    bare = bool(outputs) and outputs <= {*reading.missing}
    if bare:
        Monitor().say(f"no output layers in it: they come with fine-tuning, as in foretell train classify init={out}")
    for warning in warnings_of(folder, report, bare):
        Monitor().say(f"warning: {warning}")
    with Run.whole(out, recipe=recipe.text(out)) as run:
        tokenizer.save(run.tokenizer_file)
        run.seal(run.tokenizer_file)
        data_module(recipe).keep_labels(run, labels)
        run.append(imported_from(folder, family.kind) | report)
        save_finished(run, weights(objective))
    parameters = sum(p.numel() for p in objective.parameters())
    facts = {"model_type": family.kind, "vocabulary": vocabulary, "parameters": parameters}
    return {"run": str(out), **facts, **report}


def imported_from(source: Path, model_type: str) -> Record:
    """The record that marks a run as imported."""
    moment = {"stage": "import", "step": 0, "epoch": 0.0}
    return {"kind": "import", **moment, "source": str(source), "model_type": model_type}


def read_vocabulary(folder: Path, theirs: JsonObject, vocabulary: int, file: Path | None) -> Tokenizer | None:
    """The tokenizer of a folder, or that of a file; None if the folder has none."""
    if file is not None:
        return filled(load_tokenizer(named_file(file)).library, vocabulary, file)
    return read_tokenizer(folder, theirs, vocabulary)


def read_generator(folder: Path, tree: Tree) -> Weights | None:
    """The tensors of ELECTRA's generator, from a subfolder `generator` if there is one; its settings go into `tree`."""
    inner = folder / "generator"
    if not has(folder, "generator/config.json"):
        return None
    theirs = read_config(inner)
    family = family_named(theirs.get("model_type"), theirs.file)
    tensors = family.named(Weights.open(inner))
    (_, settings), main = family.recipe(theirs, tensors), tree["model"]
    family.check_sizes(settings, tensors)
    narrow = settings["model"]
    model = {key: narrow[key] for key in ("layers", "heads", "activation")}
    model["feed_forward"] = narrow.get("feed_forward", 4 * narrow["hidden"])
    share = narrow["hidden"] / main["hidden"]
    tree["objective"]["generator"] = {"kind": "smaller", "hidden_share": share, "model": model}
    return tensors


def tagging_settings(labels: tuple[str, ...]) -> Tree:
    """Settings of a tagging task with these labels."""
    marks = {label.partition("-")[0] if "-" in label else label for label in labels}
    if marks <= {OUTSIDE, *MARKS["bioes"]}:
        return {"objective.scheme": "iob2" if marks <= {OUTSIDE, *MARKS["iob2"]} else "bioes"}
    return {"objective.scheme": "none", "objective.metric": "accuracy"}


def recipe_of(tree: Tree, out: Path, corpus: str, file: Path, labels: tuple[str, ...]) -> Recipe:
    """The recipe of an imported run: settings of its config file, and defaults to train it further."""
    length = min(tree["model"]["context"], 512)
    settings = {
        "data.corpus": corpus,
        "data.tokenizer": {"kind": "file", "path": str(out / "tokenizer.json")},
        "data.batches.batch": 8,
        "data.batches.length": length,
        "optimizer": {"kind": "adamw", "learning_rate": 5e-5},  # where fine-tuning begins (Devlin et al. 2019, A.3)
        "training.gradient_clip": 1.0,
    }
    if at(tree, "objective.kind") == "tagging":
        settings |= tagging_settings(labels)
    try:
        return load_recipe({"name": as_name(file.parent.resolve().name)} | override(tree, settings))
    except ConfigError as problem:
        raise ConfigError(f"describes no model: {problem}", file=file) from None


def read_model(
    family: Family, recipe: Recipe, tensors: Weights, generator: Weights | None, vocabulary: int, labels: int
) -> tuple[Objective, Reading]:
    """The model with the checkpoint's weights. Raises `ConfigError` if the checkpoint lacks a part of the backbone."""
    try:
        with on_paper():
            blank = recipe.build(vocabulary, labels=labels)
    except RuntimeError as problem:  # numbers that overflow
        what = f"cannot be built as config.json says: {shown(str(problem))}"
        raise ConfigError(what, file=tensors.folder) from None
    check_part(family, tensors, main_tensors(blank))
    if (computed := sum(buffer.numel() for buffer in blank.buffers())) > max(tensors.numbers, 1 << 24):
        what = f"asks for tables of {computed:,} numbers, more than the weights have; its context is too long"
        raise ConfigError(what, file=tensors.folder / "config.json", remedy="correct config.json")
    if generator is not None:
        check_part(family, generator, generator_tensors(blank))
    torch.manual_seed(recipe.seed)  # for what the checkpoint lacks
    objective = recipe.build(vocabulary, labels=labels)
    mine = weights(objective)
    reading = read_part(family, tensors, main_tensors(objective))
    if generator is not None:
        second = read_part(family, generator, generator_tensors(objective))
        for name, tensor in second.tensors.items():
            if f"generator.{name}" not in mine and not torch.equal(tensor, reading.tensors[name]):
                what = f"its {name} differs from that of the main model, and foretell shares the two"
                raise ConfigError(what, file=generator.folder)
        own = {f"generator.{name}": t for name, t in second.tensors.items() if f"generator.{name}" in mine}
        more = [[f"generator.{name}" for name in names] for names in (second.missing, second.surplus)]
        reading = Reading(reading.tensors | own, reading.missing + more[0], reading.surplus + more[1])
    load_weights(objective, {name: tensor.detach() for name, tensor in mine.items()} | reading.tensors)
    return objective, reading


def main_tensors(objective: Objective) -> dict[str, Tensor]:
    """Tensors of the main model by their names in foretell."""
    return {name: tensor for name, tensor in weights(objective).items() if not name.startswith("generator.")}


def generator_tensors(objective: Objective) -> dict[str, Tensor]:
    """Tensors of the generator, named as in a model of its own."""
    return dict(objective.get_submodule("generator").named_parameters())


def check_part(family: Family, tensors: Weights, mine: Mapping[str, Tensor]) -> None:
    """Raise `ConfigError` if a folder lacks tensors of the backbone, or has tensors of other shapes."""
    shapes = {name: tensors.shape(name) for name in tensors}
    check_shapes(family.links, shapes, mine, tensors.folder / "config.json")
    names = {name: link_of(family.links, name)[1] for name in mine}
    gone = [name for name in mine if name.startswith("backbone.") and not all(n in tensors for n in names[name])]
    if gone:
        surplus = sorted(tensors.keys() - {n for theirs in names.values() for n in theirs})
        what = f"not a complete {family.kind}: it lacks {', '.join(gone[:3])}"
        raise ConfigError(f"{what} and has {', '.join(surplus[:3]) or 'nothing else'}", file=tensors.folder)


def read_part(family: Family, tensors: Weights, mine: Mapping[str, Tensor]) -> Reading:
    """The tensors of one folder, checked by `check_part`."""
    reading = read_tensors(family.links, tensors, mine)
    for other in [name for name in reading.surplus if name in family.tied]:
        if not torch.equal(tensors[other], tensors[family.tied[other]]):
            what = f"{other} differs from {family.tied[other]}, though config.json says that they are tied"
            raise ConfigError(what, file=tensors.folder, remedy="set tie_word_embeddings to false in config.json")
        reading.surplus.remove(other)
    return reading


def warnings_of(folder: Path, report: dict[str, Any], bare: bool) -> Iterator[str]:
    """Warnings about an import; a `bare` model has no output layers, and needs no pooler for those to come."""
    if report["missing"] and not bare:
        yield f"not in the checkpoint, so newly initialised: {', '.join(report['missing'])}"
    if surplus := [name for name in report["surplus"] if not (bare and POOLER.search(name))]:
        yield f"left out, as foretell has no counterpart: {', '.join(surplus)}"
    if not report["tokenizer"]:
        piece = next((name for name in ("spiece.model", "sentencepiece.bpe.model") if (folder / name).is_file()), None)
        hint = f" (convert {piece} to tokenizer.json with save_pretrained of AutoTokenizer)" if piece else ""
        yield f"no tokenizer{hint}: the run reads ids, as in '17 4 99', instead of text; --tokenizer FILE adds one"


BEGINS = (
    "In training and evaluation every text began with the boundary token, which the tokenizer and a pipeline of "
    'transformers leave out. `input_ids = [tokenizer.bos_token_id, *tokenizer(text)["input_ids"]]` gives equal results.'
)

# --- export ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """Contents of one folder."""

    recipe: Tree
    tensors: Mapping[str, Tensor]
    """by their names in foretell"""


def export_folder(trained: Trained, out: Path, shard_bytes: int = SHARD_BYTES) -> dict[str, Any]:
    """Write a run as a folder for `AutoModel` and `AutoTokenizer` of transformers, its generator in a subfolder."""
    recipe, objective = trained.settings, trained.objective
    imported = next((record for record in trained.run.metrics() if record["kind"] == "import"), {})
    if os.path.lexists(out):
        raise ConfigError("exists", file=out, remedy="choose another --out")
    with whole_folder(out) as draft:
        facts = write_part(main_part(recipe, objective), draft, trained, imported.get("model_type"), shard_bytes)
        if (part := generator_part(recipe, objective)) is not None:
            (draft / "generator").mkdir()
            write_part(part, draft / "generator", trained, "electra", shard_bytes)
    files = sorted(str(file.relative_to(out)) for file in out.rglob("*") if file.is_file())
    return {"run": str(trained.run.path), "folder": str(out), **facts, "files": files}


def main_part(recipe: Recipe, objective: Objective) -> Part:
    """The main model."""
    return Part(recipe.tree(), main_tensors(objective))


def generator_part(recipe: Recipe, objective: Objective) -> Part | None:
    """The generator as a model of its own; None if there is none."""
    main = ModelSpec(recipe.model, recipe.head, objective.backbone.embedding.vocabulary)
    spec = recipe.objective.generator_spec(main)
    if spec is None:
        return None
    tree = {name: part.model_dump(mode="json", exclude_none=True) for name, part in spec.sections()}
    return Part(tree | {"objective": {"kind": "masked"}, "data": {}}, generator_tensors(objective))


def write_part(part: Part, folder: Path, trained: Trained, first: str | None, shard_bytes: int) -> dict[str, Any]:
    """Write config, weights, tokenizer and card; return what they are."""
    tokenizer = trained.tokenizer
    family, form, theirs = family_of(part.recipe, first)
    has_tokenizer = not is_numbers(tokenizer)
    theirs |= {"vocab_size": tokenizer.size} | token_ids(family, tokenizer, has_tokenizer)
    if form.labels is not None:
        labels = form.labels.write(trained.labels)
        theirs |= {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}
    write_json(folder / "config.json", theirs)
    write_weights(folder, write_tensors(family.with_links_of(form).links, part.tensors), shard_bytes)
    if has_tokenizer:
        segments = theirs.get("type_vocab_size", 0) > 1
        context = part.recipe["model"]["context"]
        causal = at(part.recipe, "model.direction") == "forward"
        write_tokenizer(folder, tokenizer, context=context, segments=segments, causal=causal)
    card = card_of(trained, part, family, form.task, has_tokenizer)
    write_atomic(folder / "README.md", card.encode())
    return {"model_type": family.kind, "architecture": form.architecture, "tokenizer": has_tokenizer}


def token_ids(family: Family, tokenizer: Tokenizer, has_tokenizer: bool) -> dict[str, int | None]:
    """Ids of special tokens for config.json. Raises `ConfigError` if the family relies on other ids."""
    ids = {f"{role}_token_id": roles(tokenizer).get(role) for role in ("bos", "eos", "pad")}
    for key, needed in family.theirs.items():
        if not has_tokenizer and key in ids:
            ids[key] = needed
        elif ids.get(key, needed) != needed:
            raise ConfigError(
                f"{family.kind} counts positions from {key} = {needed}, but it is {ids[key]} in this vocabulary; "
                'train with a tokenizer of specials = "roberta", or model.positions.offset = 0'
            )
    return ids


def card_of(trained: Trained, part: Part, family: Family, task: str, has_tokenizer: bool) -> str:
    """The README.md of an exported run."""
    run, model = trained.run, part.recipe["model"]
    machine = read_object(run.path / "environment.json")
    record = trained.summary()
    imported = next((record for record in run.metrics() if record["kind"] == "import"), None)
    facts = {
        "foretell": machine["foretell"],
        "parameters": f"{sum(tensor.numel() for tensor in part.tensors.values()):,}",
        "layers, width, heads": f"{model['layers']}, {model['hidden']}, {model['heads']}",
        "vocabulary": f"{trained.tokenizer.size:,} ({trained.tokenizer.kind})",
        "context": f"{model['context']:,} tokens",
        "weights": f"{trained.facts['weights']}, after step {trained.facts['step']:,}",
    }
    if record["trained_tokens"]:
        facts["trained on"] = f"{record['trained_tokens']:,} tokens in {record['seconds']:,.0f} s ({machine['device']})"
    notes = []
    if imported is not None:
        notes.append(f"Imported from the checkpoint `{Path(imported['source']).name}`; its training is unknown.")
        if imported["missing"]:
            notes.append(f"Not in that checkpoint, so newly initialised: {', '.join(imported['missing'])}.")
    if trained.recipe.init:
        notes.append(f"Training started from the weights of another run, `{Path(trained.recipe.init).name}`.")
    if not has_tokenizer:
        notes.append("It has no tokenizer: inputs are ids.")
    elif task == "text-generation" and trained.tokenizer.specials.start is None:
        notes.append(BEGINS)
    notes += trained.settings.objective.output_notes(trained.labels)
    return model_card(
        name=trained.recipe.name or run.path.name,
        kind=family.kind,
        task=task,
        facts=facts,
        measured=record,
        notes=notes,
        recipe=recipe_on_card(trained.recipe, imported is None),
        trained=imported is None,
        audits=lines(kept(run, trained.facts["step"])),
    )


def recipe_on_card(recipe: Recipe, trained: bool) -> str:
    """The recipe as TOML, without folders of this machine; for a model trained elsewhere only its architecture."""
    tree = recipe.tree()
    tree["init"] = Path(recipe.init).name
    tokenizer = tree["data"]["tokenizer"]
    if tokenizer["kind"] == "file":
        tokenizer["path"] = "tokenizer.json"
    return write_toml(tree if trained else {key: tree[key] for key in ("model", "head", "objective")})
