"""Names of modules."""

import ast

from design.source import package


def test_every_module_says_what_it_is_for() -> None:
    assert [module.path for module in package().modules.values() if not ast.get_docstring(module.tree)] == []


def test_module_names_are_not_drawers_for_odds_and_ends() -> None:
    drawers = {"utils", "util", "helpers", "common", "misc", "base"}
    assert [name for name in package().modules if drawers & set(name.split("."))] == []
