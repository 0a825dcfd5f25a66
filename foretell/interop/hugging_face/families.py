"""All supported families of models.

Config keys and tensor names are those of transformers 5; older checkpoints are converted to them. Where the original
code and transformers differ (as on BERT's activation), config.json decides.
"""

from __future__ import annotations

import difflib
from pathlib import Path

from foretell.errors import ConfigError
from foretell.interop.hugging_face.bert import ALBERT, BERT, CAMEMBERT, ELECTRA, MEGATRON_BERT, ROBERTA, XLM_ROBERTA
from foretell.interop.hugging_face.correspondence import Misfit, Theirs
from foretell.interop.hugging_face.family import Family, Form, far
from foretell.interop.hugging_face.gpt import GPT, GPT2
from foretell.interop.hugging_face.llama import LLAMA, MISTRAL
from foretell.strict_json import shown
from foretell.trees import Tree

FIRST = "objective.pooling.kind=first objective.pooling.dense=true"
"""how classifiers of transformers pool"""
FAMILIES = (GPT2, GPT, BERT, ROBERTA, ELECTRA, ALBERT, MEGATRON_BERT, XLM_ROBERTA, CAMEMBERT, LLAMA, MISTRAL)


def family_named(kind: object, file: Path | str = "config.json") -> Family:
    """The family of a `model_type` stated in a file."""
    known = {family.kind: family for family in FAMILIES}
    if isinstance(kind, str) and kind in known:
        return known[kind]
    # not `did_you_mean`: to it, all relatives of BERT look alike
    near = difflib.get_close_matches(str(kind), known, n=1, cutoff=0.75)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ConfigError(f"model_type {shown(kind)} is not supported{hint} (supported: {', '.join(known)})", file=file)


def family_of(recipe: Tree, first: str | None = None) -> tuple[Family, Form, Theirs]:
    """The first family that can represent a recipe, with form and config.json; `first` is tried before the others."""
    misfits = {}
    for family in sorted(FAMILIES, key=lambda family: family.kind != first):
        try:
            return family, *family.config(recipe)
        except Misfit as problem:
            misfits[family.kind] = problem
    nearest = min(misfits, key=lambda kind: far(misfits[kind].problems))
    pooled = all(problem.startswith("objective.pooling.") for problem in misfits[nearest].problems)
    raise ConfigError(
        f"no family of transformers can represent this model; the nearest is {nearest}, except for {misfits[nearest]}",
        remedy=f"to export it, fine-tune with {FIRST}"
        if pooled
        else f"train with the settings of {nearest} to export; foretell push shares a run with any settings",
    )
