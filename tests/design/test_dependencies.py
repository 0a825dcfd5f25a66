import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions

import pytest
from design.source import ROOT, package

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

# Imported under a name of their own, but part of a dependency that is declared.
PART_OF = {"pydantic_core": "pydantic", "triton": "torch", "typing_extensions": "pydantic"}


@pytest.fixture(scope="module")
def modules() -> dict[str, ast.Module]:
    """Every source file of the package, parsed, by path."""
    return {module.path: module.tree for module in package().modules.values()}


def test_every_import_is_declared(modules: dict[str, ast.Module]) -> None:
    required = distribution_names(PYPROJECT["project"]["dependencies"])
    extras = PYPROJECT["project"]["optional-dependencies"]
    optional = required.union(*(distribution_names(lines) for lines in extras.values()))
    undeclared = {
        f"{path}: {name}"
        for path, tree in modules.items()
        for name, always in imports(tree)
        if name not in sys.stdlib_module_names | {"foretell"}
        and not providers(name) & (required if always else optional)
    }
    assert undeclared == set()


def test_allocator_can_run_before_anything_is_imported(modules: dict[str, ast.Module]) -> None:
    assert {name for name, _ in imports(modules["foretell/process.py"])} <= sys.stdlib_module_names


def test_the_test_sees_what_is_imported_always_and_what_is_not() -> None:
    source = """
        import os.path, torch.nn
        from . import types
        if os:
            from numpy import array
        try:
            import triton
        except ImportError:
            pass
        def export():
            from transformers import AutoModel
    """
    tree = ast.parse("if True:" + source)
    always = {"os": True, "torch": True, "numpy": True, "triton": False, "transformers": False}
    assert dict(imports(tree)) == always


def imports(tree: ast.AST, *, always: bool = True) -> Iterator[tuple[str, bool]]:
    """Yield top-level names imported and whether merely importing the module needs them."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], always) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").partition(".")[0], always
        else:
            lazy = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Try)
            yield from imports(node, always=always and not lazy)


def providers(module: str) -> set[str]:
    """The distributions that bring a module; one that is not installed is taken at its name."""
    module = PART_OF.get(module, module)
    return {normalised(name) for name in installed().get(module, [module])}


installed = cache(packages_distributions)  # which reads the files of every distribution


def distribution_names(requirements: list[str]) -> set[str]:
    return {normalised(re.split(r"[^\w.-]", line, maxsplit=1)[0]) for line in requirements}


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
