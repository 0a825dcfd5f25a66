"""The names that `import foretell` offers."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import foretell
from foretell.evaluate.beam import Beam
from foretell.evaluate.features import FeaturesConfig
from foretell.evaluate.generate import Sampling


def test_dir_lists_the_public_names_before_they_are_loaded() -> None:
    code = "import foretell; print(dir(foretell) == foretell.__all__, 'train' in vars(foretell))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "True False\n"


def test_defaults_in_signatures_are_those_of_the_settings() -> None:
    for method, settings in (
        *((getattr(foretell.Trained, name), Sampling()) for name in ("stream", "generate", "texts")),
        (foretell.Trained.search, Beam()),
        *((getattr(foretell.Trained, name), FeaturesConfig()) for name in ("extractor", "features")),
    ):
        named = {name: p for name, p in inspect.signature(method).parameters.items() if p.kind is p.KEYWORD_ONLY}
        assert {name: p.default for name, p in named.items()} == vars(settings)


def test_public_names_are_sorted() -> None:
    assert list(foretell.__all__) == sorted(set(foretell.__all__))


@pytest.mark.parametrize("name", foretell.__all__)
def test_public_names_can_be_imported_and_have_docstrings(name: str) -> None:
    public = getattr(foretell, name)
    assert isinstance(public, str) or (public.__doc__ and not public.__doc__.startswith("See `"))


def test_other_names_are_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        foretell.no_such_name  # noqa: B018


def test_type_checkers_see_the_names_that_are_loaded() -> None:
    """The imports for them are of the same objects, under the same names."""
    tree = ast.parse(Path(foretell.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {}
    for line in block.body:
        assert isinstance(line, ast.ImportFrom) and line.module is not None
        module = __import__(line.module, fromlist=["*"])
        seen |= {name.name: getattr(module, name.name) for name in line.names}
    assert seen == {name: getattr(foretell, name) for name in foretell.__all__ if name != "__version__"}


def test_importing_it_does_not_wait_for_torch() -> None:
    code = "import foretell, sys; print([name for name in ('torch', 'numpy', 'pydantic') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
