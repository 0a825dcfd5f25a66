"""Every shipped recipe loads, builds in its full size, says where it is from, and trains in a small size."""

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from labelled import write_labelled

import foretell
from foretell import config
from foretell.recipe.files import find_recipe, recipe_names
from foretell.recipe.loading import load_recipe
from foretell.recipe.recipe import Recipe
from foretell.run import judged

NAMES = recipe_names()
every_recipe = pytest.mark.parametrize("name", NAMES)
# Sizes of vocabularies as published or as set; what is built with them is compared with published sizes.
VOCABULARIES = {
    "awd-lstm-ptb": 10_000,
    "awd-lstm-ptb-char": 50,
    "awd-lstm-enwik8": 205,
    "awd-lstm-wikitext2": 33_278,
    "awd-qrnn-ptb": 10_000,
    "awd-qrnn-ptb-char": 50,
    "awd-qrnn-wikitext103": 267_735,
    "bert-large-lamb": 30_522,
    "electra-small": 30_522,
    "electra-base": 30_522,
    "electra-large": 30_522,
    "mlstm-4096": 256,
    "mos-ptb": 10_000,
    "mos-wikitext2": 33_278,
    "nanogpt-shakespeare": 65,
    "zaremba-small-ptb": 10_000,
}
PUBLISHED = {
    "awd-lstm-ptb": 24e6,  # README of salesforce/awd-lstm-lm: 24M
    "awd-lstm-ptb-char": 13.8e6,  # arXiv:1803.08240
    "awd-lstm-enwik8": 47e6,  # the same
    "awd-lstm-wikitext2": 33.56e6,  # the same: 33M; its code prints 33,556,078
    "awd-qrnn-ptb": 24e6,  # README of salesforce/awd-lstm-lm
    "awd-qrnn-ptb-char": 13.8e6,  # arXiv:1803.08240
    "awd-qrnn-wikitext103": 151e6,  # the same
    "bert-large-lamb": 336_226_108,  # BertForPreTraining of transformers
    # discriminators of 14M, 110M and 335M (README of google-research/electra) with blocks of generators
    "electra-small": 13_549_057 + 4_620_026 - 31_038 * 128,
    "electra-base": 110e6 + 12 * 12 * 256**2,
    "electra-large": 335e6 + 24 * 12 * 256**2,
    # 4096 units: 2 x 64 x 4096, 2 x 4096^2, 3 x 4 more of them; then 256 outputs, gains and biases (arXiv:1704.01444)
    "mlstm-4096": 5 * (64 * 4096 + 4096**2),
    "mos-ptb": 22e6,  # arXiv:1711.03953, table 1
    "mos-wikitext2": 35e6,  # the same, table 2
    # README: "number of parameters: 0.80M"; without positions 65 x 128, 4 x 12 x 128^2 and 9 x 128
    "nanogpt-shakespeare": 0.80e6 + 64 * 128,
    "zaremba-small-ptb": 4.65e6,  # 2 x 10,000 x 200, 10,000, and 2 x 4 x 200 x (400 + 2)
}


def test_there_are_recipes() -> None:
    assert NAMES
    assert set(PUBLISHED) <= set(NAMES)


@every_recipe
def test_it_loads_and_is_its_own_text(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert config.validate(Recipe, tomllib.loads(recipe.text()), name) == recipe


@every_recipe
def test_it_says_where_it_is_from(name: str) -> None:
    text = find_recipe(name).read_text()
    head = re.match(r"(#.*\n)+", text)
    assert head, "it starts with a comment"
    source = r"arXiv:\d{4}\.\d{4,5}|et al\. \d{4}|char-rnn|not taken from a paper"
    assert re.search(source, head[0])


@every_recipe
def test_it_begins_with_one_short_sentence(name: str) -> None:
    """Which `foretell show recipes` prints."""
    first = find_recipe(name).read_text().splitlines()[0]
    assert re.fullmatch(r"# [A-Z0-9].{9,62}\.", first)
    assert not re.search(r"(?<!et al)\. [A-Z]", first)


@pytest.mark.parametrize("name", [name for name in NAMES if not load_recipe(name).model.counted])
def test_it_builds_in_full_size(name: str) -> None:
    """On the meta device, which computes shapes and holds no numbers; in each of its stages that is another model."""
    seen = []
    for _, recipe in load_recipe(name).resolved_stages():
        parts = (recipe.model, recipe.head, recipe.objective, recipe.data.batches.kind)
        if parts in seen:
            continue
        seen.append(parts)
        with torch.device("meta"):
            objective = recipe.build(VOCABULARIES.get(name, 2048))
        size = sum(parameter.numel() for parameter in objective.parameters())
        assert size == pytest.approx(PUBLISHED.get(name, size), rel=0.025)  # published as 22M


def shrunk(recipe: Recipe, corpus: Mapping[str, str]) -> Recipe:
    """The same in small, on a tiny text: widths, lengths and limits, nothing else; from random weights."""
    tree = recipe.tree() | {"limit": "3steps", "init": ""}
    tree["data"]["corpus"] = dict(corpus)
    if recipe.data.tokenizer.kind == "file":  # that of the run it would begin with
        tree["data"]["tokenizer"] = {"kind": "word", "specials": recipe.data.tokenizer.specials}
    tree["stages"] = [stage | {"limit": "2steps"} for stage in tree["stages"]]
    sizes: dict[str, dict[str, Any]] = {
        "model": {"embedding_dim": 8, "hidden": 8, "output": 8, "layers": 2, "heads": 2, "feed_forward": 8},
        "batches": {"batch": 3, "length": 6 if recipe.measured_by == "likelihood" else 16},
        "tokenizer": {"size": 300},
        "head": {"latent": 8, "cutoffs": [4, 9]},
    }
    parts = {**tree["data"], "model": tree["model"], "head": tree["head"]}
    for section, target in ((section, parts[section]) for section in sizes):
        target |= {key: value for key, value in sizes[section].items() if key in target}
    tree["checkpoint"]["every"] = tree["evaluation"]["every"] = "1epochs"
    return load_recipe(tree)


def in_documents(corpus: Mapping[str, str], folder: Path) -> dict[str, str]:
    """The same text as documents of three lines, as pairs of texts need more than one."""
    for split, path in corpus.items():
        lines = Path(path).read_text().splitlines()
        parts = ["\n".join(lines[i : i + 3]) for i in range(0, len(lines), 3)]
        (folder / f"{split}.txt").write_text("\n<|endofdoc|>\n".join(parts) + "\n")
    return {split: str(folder / f"{split}.txt") for split in corpus}


def first_of_its_size() -> list[str]:
    """Of recipes that differ in sizes and rates alone, one."""
    seen: dict[str, str] = {}
    for name in NAMES:
        tree = shrunk(load_recipe(name), {"train": "a", "valid": "b"}).tree()
        tree["optimizer"].pop("learning_rate", None)
        tree["training"].pop("recompute")
        seen.setdefault(json.dumps(tree | {"name": ""}), name)
    return list(seen.values())


def labelled_for(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """Examples for a task, as settings of `data`."""
    task = recipe.objective.kind
    paired = recipe.data.corpus in ("rte", "mrpc")
    data = write_labelled("pairs" if paired else task, folder)
    return {f"data.{key}": value for key, value in data.items()}


@pytest.mark.parametrize("name", first_of_its_size())
def test_it_trains(name: str, corpus: dict[str, str], tmp_path: Path) -> None:
    small = shrunk(load_recipe(name), in_documents(corpus, tmp_path))
    if small.is_task:
        settings = labelled_for(load_recipe(name), tmp_path) | {"data.batches.length": 40}
        if getattr(small.objective, "positive", ""):
            settings["objective.positive"] = "same"
        trained = foretell.train(load_recipe(small, settings), tmp_path / "run", quiet=True)
        assert 0 <= judged(trained.evaluate("valid")) <= 2
        return
    trained = foretell.train(small, tmp_path / "run", quiet=True)
    record = trained.evaluate("valid")
    if small.model.counted:
        assert 0 < judged(record) < 10
        assert [r["kind"] for r in trained.run.metrics()] == ["fit", "valid"]
        return
    assert 0 < judged(record) < 1.2 * trained.objective.uniform_loss()
    steps = sum(int(stage.limit.value) for stage, _ in small.resolved_stages())
    assert [r["step"] for r in trained.run.metrics() if r["kind"] == "train"][-1] == steps
