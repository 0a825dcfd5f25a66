"""Families by themselves: what a missing key means, which form a checkpoint has, how far a recipe is from one."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from foretell.errors import ConfigError
from foretell.interop.hugging_face.bert import BERT, ROBERTA
from foretell.interop.hugging_face.correspondence import Misfit
from foretell.interop.hugging_face.families import FAMILIES, family_named
from foretell.interop.hugging_face.family import Family, far, labels_there, plain, unknown_settings
from foretell.interop.hugging_face.folder import Weights
from foretell.models.transformer import TransformerConfig
from foretell.recipe.loading import load_recipe

BERT_RECIPE: dict[str, Any] = {
    "data": {"tokenizer": {"kind": "wordpiece", "specials": "bert"}, "batches": {"kind": "full", "length": 16}},
    "model": {
        **{"kind": "transformer", "direction": "both", "hidden": 8, "layers": 2, "heads": 2, "context": 16},
        **{"segments": 2, "norm": {"kind": "post", "embedding": True}},
    },
    "head": {"tied": True, "bias": True, "transform": {}},
    "objective": "masked",
}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.kind)
def test_what_a_missing_key_means(family: Family, transformers: ModuleType) -> None:
    theirs = transformers.AutoConfig.for_model(family.kind)
    settings = [setting for form in family.forms for setting in (*family.settings, *form.settings)]
    assert {s.theirs: s.default for s in settings} == {s.theirs: getattr(theirs, s.theirs) for s in settings}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.kind)
def test_a_form_is_the_one_named_or_the_one_whose_tensors_are_there(family: Family) -> None:
    for form in family.forms:
        alike = [other for other in family.forms if other.architecture == form.architecture]
        found, tree = family.recipe({"architectures": [form.architecture]} | form.theirs, [form.sign])
        assert found in alike
        if form.sign and len(alike) == 1:
            assert family.recipe(dict(form.theirs), [form.sign])[0].sign == form.sign
        assert tree["model"]["kind"] == "transformer"
    assert family.recipe({"architectures": ["Unknown"]}, [])[0] is family.forms[-1]


def test_a_recipe_is_of_the_nearest_form() -> None:
    form, theirs = BERT.config(load_recipe(BERT_RECIPE).tree())
    assert (form.architecture, theirs["model_type"], theirs["hidden_size"]) == ("BertForMaskedLM", "bert", 8)
    assert theirs["intermediate_size"] == 32 and theirs["is_decoder"] is False
    pairs = load_recipe(BERT_RECIPE, {"data.batches": {"kind": "segment-pair", "length": 16}}).tree()
    assert BERT.config(pairs)[0].architecture == "BertForPreTraining"
    assert BERT.recipe(theirs, [form.sign])[1]["model"]["hidden"] == 8
    with pytest.raises(Misfit) as problem:
        BERT.config(load_recipe(BERT_RECIPE, {"model.positions": "sinusoid", "head.bias": False}).tree())
    assert {
        "model.positions.kind = 'sinusoid' instead of 'learned'",
        "head.bias = False instead of True",
    } <= {*problem.value.problems}


def test_another_objective_is_farther_than_any_settings() -> None:
    near, far_away = ["model.layers is absent"] * 9, ["objective.kind = 'causal' instead of 'masked'"]
    assert far(near) < far(far_away) < far([*far_away, "more"])


def test_settings_that_say_the_same_are_one() -> None:
    wordy = load_recipe(BERT_RECIPE, {"model.feed_forward": 32, "model.groups": 2}).tree()
    assert plain(wordy)["model"] == plain(load_recipe(BERT_RECIPE).tree())["model"]
    other = load_recipe(BERT_RECIPE, {"model.feed_forward": 33, "model.groups": 1}).tree()
    assert (plain(other)["model"]["feed_forward"], plain(other)["model"]["groups"]) == (33, 1)


@pytest.mark.parametrize(
    ("theirs", "said"),
    [
        ({"is_decoder": True}, "is_decoder = True is not supported for bert, only False"),
        ({"quantization_config": {}}, "quantised weights are not supported"),
        ({"hidden_act": "silu"}, "hidden_act = 'silu' is not supported"),
        ({"num_hidden_layers": 0}, "num_hidden_layers"),
    ],
)
def test_settings_that_are_not_supported(theirs: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        BERT.recipe(theirs, [])


# --- tensors --------------------------------------------------------------------------------------


def weights_of(folder: Path, *names: str, **shapes: tuple[int, ...]) -> Weights:
    save_file({name: torch.zeros(shapes.get("shape", (5, 8))) for name in names}, folder / "model.safetensors")
    return Weights.open(folder)


def test_names_of_old_and_of_bare_bodies(tmp_path: Path) -> None:
    names = ["embeddings.word_embeddings.weight", "embeddings.LayerNorm.gamma", "embeddings.LayerNorm.beta"]
    found = BERT.named(weights_of(tmp_path, *names, "embeddings.position_ids"))
    assert sorted(found) == [
        "bert.embeddings.LayerNorm.bias",
        "bert.embeddings.LayerNorm.weight",
        "bert.embeddings.word_embeddings.weight",
    ]


def test_a_tensor_that_is_there_under_its_other_name(tmp_path: Path) -> None:
    word, other = "roberta.embeddings.word_embeddings.weight", "lm_head.decoder.weight"
    assert list(ROBERTA.named(weights_of(tmp_path, other, "roberta.x"))) == [word, "roberta.x"]
    assert sorted(ROBERTA.named(weights_of(tmp_path, other, word))) == sorted([other, word])


def test_sizes_are_those_of_the_weights(tmp_path: Path) -> None:
    word = "bert.embeddings.word_embeddings.weight"
    layers = [f"bert.encoder.layer.{number}.output.dense.weight" for number in range(2)]
    weights = weights_of(tmp_path, word, *layers)
    assert BERT.words_in({}, weights) == 5
    with pytest.raises(ConfigError, match="it lacks the embedding"):
        BERT.words_in({}, weights.without(lambda name: name == word))
    BERT.check_sizes({"model": {"layers": 2, "hidden": 8}}, weights)
    with pytest.raises(ConfigError, match="says 3 layers, but the weights hold 2"):
        BERT.check_sizes({"model": {"layers": 3}}, weights)
    with pytest.raises(ConfigError, match="states hidden = 70,000, larger than any dimension of the weights"):
        BERT.check_sizes({"model": {"layers": 2, "hidden": 70_000}}, weights)


def test_labels_that_are_no_names() -> None:
    assert labels_there({}) == labels_there({"id2label": None}) == ("LABEL_0", "LABEL_1")
    assert labels_there({"id2label": {"1": "no", "0": 7}}) == ("7", "no")
    for wrong, told in (
        ({"0": "a", "2": "b"}, "must name each output by its number"),
        ({"00": "a"}, "must name each output by its number"),
        ("ab", "must name each output by its number"),
        ({"0": "a\nb"}, r"id2label has the name 'a\\nb', which is not a line of text"),
        ({"0": "\x1b[2J"}, "which is not a line of text"),
        ({"0": None}, "id2label has the name None"),
        ({"0": "a", "1": "a"}, "id2label gives two outputs the name 'a'"),
    ):
        with pytest.raises(ConfigError, match=told):
            labels_there({"id2label": wrong})


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.kind)
def test_aliases_of_keys_are_those_of_transformers(family: Family, transformers: ModuleType) -> None:
    assert family.aliases == type(transformers.AutoConfig.for_model(family.kind)).attribute_map


def test_a_config_with_aliases_is_the_same_model() -> None:
    gpt2 = family_named("gpt2")
    own = {"n_embd": 24, "n_head": 2, "n_layer": 3, "n_positions": 16}
    others = {alias: own[key] for alias, key in gpt2.aliases.items()}
    assert gpt2.recipe(others, [])[1] == gpt2.recipe(own, [])[1] == gpt2.recipe(own | others, [])[1]
    with pytest.raises(ConfigError, match=r"num_attention_heads = 3, but n_head = 2.*keep n_head only"):
        gpt2.recipe(own | {"num_attention_heads": 3}, [])


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.kind)
def test_a_family_knows_every_setting_or_that_it_is_absent_there(family: Family) -> None:
    """A new setting of Transformers needs an entry in a family, or in `family.WITHOUT`, whatever its default."""
    for form in family.forms:
        known = {*family.ours, *form.ours, *(setting.ours for setting in (*family.settings, *form.settings))}
        assert unknown_settings(TransformerConfig().model_dump(mode="json"), known) == []
        assert unknown_settings({"new": False}, known) == ["model.new = False is unknown"]
