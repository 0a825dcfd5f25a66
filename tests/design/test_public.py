"""Module names, and the names that `import foretell` offers."""

import ast

import pytest
from design.source import package

import foretell


def test_every_module_says_what_it_is_for() -> None:
    assert [module.path for module in package().modules.values() if not ast.get_docstring(module.tree)] == []


def test_module_names_are_not_drawers_for_odds_and_ends() -> None:
    drawers = {"utils", "util", "helpers", "common", "misc", "base"}
    assert [name for name in package().modules if drawers & set(name.split("."))] == []


def test_public_names_are_sorted() -> None:
    assert list(foretell.__all__) == sorted(set(foretell.__all__))


@pytest.mark.parametrize("name", foretell.__all__)
def test_public_names_can_be_imported_and_have_docstrings(name: str) -> None:
    public = getattr(foretell, name)
    assert isinstance(public, str) or (public.__doc__ and not public.__doc__.startswith("See `"))


def test_other_names_are_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        foretell.no_such_name  # noqa: B018
