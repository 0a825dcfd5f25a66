"""The descriptions of families by themselves: defaults, shipped recipes, both directions."""

import pytest

from foretell.config import validate
from foretell.errors import ConfigError
from foretell.interop.hugging_face.families import family_named, family_of
from foretell.models.transformer import TransformerConfig
from foretell.recipe.files import recipe_names
from foretell.recipe.loading import load_recipe
from foretell.recipe.recipe import Recipe

KINDS = {
    "gpt": "openai-gpt",
    "gpt2": "gpt2",
    "nanogpt": "gpt2",
    "bert": "bert",
    "roberta": "roberta",
    "albert": "albert",
    "electra": "electra",
    "megatron": "megatron-bert",
}
"""what recipes of Transformers are to be there, by the first word of their names"""


def transformer_recipes(*, own: bool = False) -> list[Recipe]:
    """Language models, with blocks that no model of transformers has or others; tasks have layers on top that no family
    here describes."""
    known = [recipe for recipe in map(load_recipe, recipe_names()) if not recipe.is_task]
    return [r for r in known if isinstance(r.model, TransformerConfig) and r.model.qk_norm == own]


@pytest.mark.parametrize("recipe", transformer_recipes(), ids=lambda recipe: recipe.name)
def test_shipped_recipes_are_of_the_family_they_are_named_for(recipe: Recipe) -> None:
    family, form, theirs = family_of(recipe.tree())
    kind = KINDS[recipe.name.partition("-")[0]]
    assert family.kind == ("bert" if kind == "roberta" and recipe.model.positions.offset == 0 else kind)
    found, back = family.recipe(theirs, [form.sign])
    assert found is form
    again = validate(TransformerConfig, back["model"], "model")
    free = {"initial": True, "dropout": True, "overlap": True, "positions": {"std"}}  # nothing to a trained model
    expected = recipe.model.model_copy(update={"biases": True, "feed_forward": again.feed_forward})
    if expected.direction == "both":
        expected = expected.model_copy(update={"segments": max(expected.segments, 1)})
    assert again.model_dump(exclude=free) == expected.model_dump(exclude=free)
    assert (recipe.model.feed_forward or 4 * again.hidden) == (again.feed_forward or 4 * again.hidden)


@pytest.mark.parametrize("recipe", transformer_recipes(own=True), ids=lambda recipe: recipe.name)
def test_small_recipes_are_of_no_family_and_told_why(recipe: Recipe) -> None:
    with pytest.raises(ConfigError, match=r"model\.qk_norm"):
        family_of(recipe.tree())


def test_a_model_that_no_family_can_be() -> None:
    tree = load_recipe("nanogpt-shakespeare", {"model.positions.kind": "rotary", "model.activation": "geglu"}).tree()
    told = r"nearest is llama, except for model\.activation = 'geglu' instead of 'swiglu', model\.norm\.type = 'layer'"
    with pytest.raises(ConfigError, match=told):
        family_of(tree)


def test_names_that_are_not_supported() -> None:
    with pytest.raises(ConfigError, match=r"'roberto' is not supported; did you mean 'roberta'\?"):
        family_named("roberto")
    with pytest.raises(ConfigError, match="None is not supported"):
        family_named(None)
    for relative in ("distilbert", "modernbert", "deberta", "ernie"):  # near in spelling, but another model
        with pytest.raises(ConfigError, match=rf"'{relative}' is not supported \(supported: gpt2, "):
            family_named(relative)


def test_settings_that_no_family_knows_are_refused() -> None:
    """A setting that came later than the families, and those that only training needs."""
    with pytest.raises(ConfigError, match=r"gpt2, except for model\.qk_norm = True is unknown; train with"):
        family_of(load_recipe("gpt2-124m", {"model.qk_norm": True}).tree())
    for free in ({"model.overlap": 3}, {"model.dropout.layer": 0.5}, {"model.initial.truncated": True}):
        assert family_of(load_recipe("gpt2-124m", free).tree())[0].kind == "gpt2"
