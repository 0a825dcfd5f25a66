"""Settings and values that continue what was typed, against the typed recipe."""

import pytest

from foretell.recipe.completing import inside, settings_from, table_at, values_of
from foretell.recipe.files import find_recipe, read_tree
from foretell.recipe.loading import load_recipe

LSTM = read_tree(find_recipe("awd-lstm-tiny"))


def texts(typed: str, tree: dict[str, object] = LSTM) -> list[str]:
    return [text for text, _ in settings_from(typed, tree)]


@pytest.mark.parametrize("section", ["model", "data", "optimizer", "training", "data.batches", "model.cell"])
@pytest.mark.parametrize("name", ["awd-lstm-tiny", "gpt2-wiki-mini", "bert-wiki-mini"])
def test_a_section_has_the_settings_of_its_kind(name: str, section: str) -> None:
    found = {
        text.removeprefix(f"{section}.").rstrip(".=") for text in texts(f"{section}.", read_tree(find_recipe(name)))
    }
    settings: object = load_recipe(name)
    for part in section.split("."):
        settings = getattr(settings, part, None)
    assert found == (set() if settings is None else {*type(settings).model_fields})  # type: ignore[attr-defined]


def test_one_section_is_continued_and_one_setting_has_values() -> None:
    assert set(texts("model.drop")) == set(texts("model.dropout."))
    assert texts("model.lay") == ["model.layers=", "model.layers=1"]
    assert texts("lim") == ["limit=", "limit=110s"]
    assert texts("optimizer.amsg") == ["optimizer.amsgrad=", "optimizer.amsgrad=true", "optimizer.amsgrad=false"]
    assert texts("model.none") == texts("nothing.at.all") == texts("seed.x") == []
    assert "model." in texts("mo") or "model.layers=" in texts("mo")
    assert "data.corpus=" in texts("data.")


def test_values_are_kinds_words_or_what_is_set() -> None:
    assert values_of("optimizer", LSTM) == values_of("optimizer.kind", LSTM)
    assert {"adamw", "sgd"} < {*values_of("optimizer", LSTM)}
    assert values_of("optimizer.betas", LSTM) == ["[0.9, 0.99]"]
    assert values_of("model.first_cell", LSTM) == values_of("model.cell", LSTM)
    assert values_of("training.gradient_clip", {}) == [] and values_of("model.none", LSTM) == []


def test_the_kind_decides_the_table() -> None:
    assert table_at("model", {"model": {"kind": "transformer"}}) == table_at("model", {"model": "transformer"})
    assert table_at("model", {"model": "their.module:Model"}) is None
    assert inside("a.b", {"a": {"b": {"c": 1}}}) == {"c": 1} and inside("a.b", {"a": 1}) == {}
