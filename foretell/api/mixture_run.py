"""Mixtures as run folders: every command that opens a run opens them.

    recipe.toml, tokenizer.json, metrics.jsonl, ...    as in any run; the model is of kind "mixture"
    members/1-NAME/                                    the runs, each a run folder of its own
    checkpoints/step-00000000/model.safetensors        the weights [M], and the state of the rule that learns them

Members are copies, so that the folder can be moved; where the file system allows, their weights are hard links and take
no room.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from foretell.api.counting import save_finished
from foretell.api.logistic_mixing import Advised, LogisticMixed
from foretell.api.mixed import Mixed
from foretell.api.online_mixing import LearningMixed, OnlineMixed, learning, new_rule
from foretell.api.over_bytes import in_one_vocabulary
from foretell.api.trained import Trained, load_run
from foretell.checksums import damaged, plain_folder
from foretell.errors import ConfigError
from foretell.evaluate.adaptation import Counting
from foretell.evaluate.gated_weights import Gate
from foretell.evaluate.mixture import checked_weights
from foretell.models.context_mixing.advice import LIMIT
from foretell.models.context_mixing.scorer import VOCABULARY
from foretell.models.context_mixing.tables import LARGEST, within
from foretell.models.mixture import MixtureConfig
from foretell.recipe.loading import load_recipe, recipe_of
from foretell.recipe.recipe import as_name
from foretell.run import Record, Run
from foretell.run_names import MEMBERS
from foretell.training.checkpoint import files_of, pointed
from foretell.training.tensor_files import check_finite

SMALL = 1 << 20
"""bytes of a file that is copied; larger ones, which hold weights, are never changed in place"""


def save(mixed: Mixed, out: str | Path) -> Record:
    """Write a mixture as a run folder; returns its validation record.

    Raises `ConfigError` where the folder exists, or a member adapts to the text it reads, unless by counting while the
    weights learn: an adaptation is asked for when the mixture is used.
    """
    members = mixed.members
    plain = [member.adaptation is None or isinstance(member.adaptation, Counting) for member in members]
    if not all(plain) or (mixed.learned == "fixed" and any(member.adaptation for member in members)):
        raise ConfigError("how members adapt is not saved; ask for it when the mixture is used")
    out = Path(out)
    names = [f"{number}-{as_folder(member.run.path.name)}" for number, member in enumerate(members, 1)]
    recipe = load_recipe(
        {
            "name": as_name(out.name),
            "data": {
                "corpus": members[0].recipe.data.corpus,
                "tokenizer": "byte"
                if mixed.tokenizer.kind == "byte"
                else {"kind": "file", "path": str(members[0].run.tokenizer_file)},
            },
            "model": {
                "kind": "mixture",
                "members": [
                    {"folder": name, "which": member.which, "digest": digest(member)}
                    for name, member in zip(names, members, strict=True)
                ],
                "weights": mixed.learned,
                "fitted_to": mixed.fitted_to or "",
            },
        }
    )
    with Run.whole(out, recipe=recipe.text(out)) as run:
        mixed.tokenizer.save(run.tokenizer_file)
        run.seal(run.tokenizer_file)
        for name, member in zip(names, members, strict=True):
            copy_run(member.run, run.path / MEMBERS / name)
        measured = mixed.validation or mixed.evaluate("valid")
        validation = {"kind": "valid", "stage": "mixing", "step": 0, "epoch": 1.0} | measured
        run.append(validation)
        save_finished(run, mixed.tensors(), validation)
    return validation


def open_mixture(run: Run, *, device: torch.device | str | None, quiet: bool) -> Mixed:
    """The mixture of a run folder; raises `ConfigError` if a file of it, or of a member, is missing or damaged."""
    config = cast(MixtureConfig, recipe_of(run).model)
    members = []
    if len(config.members) < 2 or not plain_folder(run.path / MEMBERS):
        raise damaged(run.path / MEMBERS, "does not hold the runs of a mixture")
    for member in config.members:
        place = run.path / MEMBERS / member.folder
        if not plain_folder(place):
            raise damaged(place, "is missing or a link")
        found = load_run(place, which=member.which, device=device, quiet=quiet, trust=run.trust)
        if digest(found) != member.digest:
            raise damaged(place, "is another run than the mixture was made of")
        members.append(found)
    members = in_one_vocabulary(members)
    checkpoint, _ = pointed(run, "best")
    checkpoint.verify()
    tensors = checkpoint.result()
    check_finite(tensors, checkpoint.path)
    try:
        mixed = of_tensors(members, tensors, config)
    except (KeyError, ValueError, IndexError, ConfigError):
        raise damaged(checkpoint.path, "does not hold the weights of this mixture") from None
    mixed.run = run
    if isinstance(mixed, LearningMixed):
        mixed.fixed.run = run
    return mixed


def of_tensors(members: Sequence[Trained], tensors: Mapping[str, Tensor], config: MixtureConfig) -> Mixed:
    """The mixture with the weights of a checkpoint."""
    weights = checked_weights(tensors["weights"].tolist(), len(members))
    fitted_to = config.fitted_to or None
    if config.weights == "fixed":
        return Mixed(members, weights, None, fitted_to)
    if config.weights == "logistic":
        read = Advised(tensors["tokens"].numpy(), np.array(tensors["advice"].numpy()))
        fits = read.tokens.ndim == 1 and read.advice.shape == (len(read.tokens), len(members) - 1, 8)
        if not fits or not within(read.tokens, 0, VOCABULARY - 1) or not within(read.advice, -LIMIT, LIMIT):
            raise ValueError(read.advice.shape)
        return LogisticMixed(Mixed(members, weights, None, fitted_to), learning(members), read, config.fitted_to)
    fixed = Mixed(members, checked_weights(tensors["fixed"].tolist(), len(members)), None, fitted_to)
    rule = new_rule("gated" if config.weights == "gated" else True, weights, members[0].tokenizer)
    if isinstance(rule, Gate):
        first = tensors["gate"].double().numpy()
        if first.shape != rule.first.shape or np.abs(first).max() > LARGEST:
            raise ValueError(first.shape)
        rule.first = np.array(first)
        rule.forget()
    return OnlineMixed(fixed, learning(members), weights, config.fitted_to, rule)


def digest(member: Trained) -> str:
    """A digest of the weights and the tokenizer of a run, in hexadecimal."""
    return member.plain_digest.hex()


def as_folder(name: str) -> str:
    """The name of a run as one that is safe in every file system."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).lstrip(".-")[:60] or "run"


def copy_run(run: Run, to: Path) -> None:
    """Copy the files that make up a run; large ones are hard links where possible."""
    for name, file in files_of(run).items():
        place = to / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if file.stat().st_size < SMALL or file == run.metrics_file or not linked(file, place):
            shutil.copyfile(file, place)


def linked(file: Path, place: Path) -> bool:
    """Make a hard link; False where the file systems do not allow it."""
    try:
        os.link(file, place)
    except OSError:
        return False
    return True
