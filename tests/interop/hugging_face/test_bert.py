"""Relatives of BERT: the names and shapes of all tensors are those of transformers, for every form."""

from types import ModuleType
from typing import Any

import pytest
import torch
from hugging_face import BERT_SIZES, unwarned

from foretell.interop.hugging_face.bert import ALBERT, BERT, CAMEMBERT, ELECTRA, MEGATRON_BERT, ROBERTA, XLM_ROBERTA
from foretell.interop.hugging_face.correspondence import write_tensors
from foretell.interop.hugging_face.family import Family, Form
from foretell.recipe.loading import load_recipe
from foretell.training.state_dict import weights

RELATIVES = [BERT, ROBERTA, XLM_ROBERTA, CAMEMBERT, ALBERT, ELECTRA, MEGATRON_BERT]
FORMS = [
    (family, form)
    for family in RELATIVES
    for form in family.forms
    # another number of outputs, and a number of options that no checkpoint tells
    if "problem_type" not in form.theirs and form.task != "multiple-choice"
]
SIZES = {"roberta": {"pad_token_id": 1}, "albert": {"embedding_size": 12}, "electra": {"embedding_size": 12}}


def recipe_of(family: Family, form: Form, theirs: dict[str, Any]) -> Any:
    """The recipe of a checkpoint with what its config.json does not say."""
    found, tree = family.recipe(theirs, [form.sign])
    assert found.architecture == form.architecture
    kind = tree["objective"]["kind"]
    task = kind not in ("masked", "replaced")
    batches = {"kind": "examples", "length": 8} if task else {"length": 8}
    tree["data"] = {
        "tokenizer": {"kind": "wordpiece", "specials": "bert"},
        "batches": tree.get("data", {}).get("batches", {}) | batches,
    }
    return load_recipe(tree)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("family", "form"), FORMS, ids=lambda part: getattr(part, "architecture", ""))
def test_tensors_have_the_names_and_shapes_of_transformers(
    family: Family, form: Form, transformers: ModuleType
) -> None:
    with unwarned():
        config = transformers.AutoConfig.for_model(family.kind, **BERT_SIZES | SIZES.get(family.kind, {}))
        with torch.device("meta"):
            theirs = getattr(transformers, form.architecture)(config)
            mine = recipe_of(family, form, config.to_dict() | {"architectures": [form.architecture]} | form.theirs)
            objective = mine.build(BERT_SIZES["vocab_size"], labels=2)
    written = write_tensors(family.with_links_of(form).links, weights(objective))
    found = {name: tuple(tensor.shape) for name, tensor in written}
    every = theirs.named_parameters(remove_duplicate=False)
    expected = {family.tied.get(name, name): tuple(parameter.shape) for name, parameter in every}
    assert found == expected
