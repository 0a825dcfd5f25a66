import ast
import importlib
import importlib.util
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "foretell"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

# Imported under a name of their own, but part of a dependency that is declared.
PART_OF = {"pydantic_core": "pydantic", "triton": "torch"}


@pytest.fixture(scope="module")
def modules() -> dict[str, ast.Module]:
    """Every source file of the package, parsed; keys are paths relative to the checkout."""
    paths = sorted(PACKAGE.rglob("*.py"))
    if not paths:
        pytest.skip("the package is still empty")
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


# The package


def test_every_module_says_what_it_is_for(modules: dict[str, ast.Module]) -> None:
    assert [path for path, tree in modules.items() if not ast.get_docstring(tree)] == []


def test_no_file_is_over_500_lines(modules: dict[str, ast.Module]) -> None:
    lengths = {path: len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in modules}
    assert {path: length for path, length in lengths.items() if length > 500} == {}


def test_no_function_is_over_80_lines(modules: dict[str, ast.Module]) -> None:
    too_long = [
        f"{path}:{node.lineno} {node.name}"
        for path, tree in modules.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno + 1 > 80
    ]
    assert too_long == []


def test_module_names_are_not_drawers_for_odds_and_ends(modules: dict[str, ast.Module]) -> None:
    drawers = {"utils", "util", "helpers", "common", "misc", "base"}
    assert [path for path in modules if drawers & set(Path(path).with_suffix("").parts)] == []


def test_public_names_are_sorted_and_there(modules: dict[str, ast.Module]) -> None:
    foretell = importlib.import_module("foretell")
    public = getattr(foretell, "__all__", None)
    if public is None:
        pytest.skip("no public names yet")
    assert list(public) == sorted(set(public))
    assert [name for name in public if not hasattr(foretell, name)] == []


def test_allocator_can_run_before_anything_is_imported(modules: dict[str, ast.Module]) -> None:
    tree = modules.get("foretell/process.py")
    if tree is None:
        pytest.skip("no such file")
    assert {name for name, _ in imports(tree)} <= sys.stdlib_module_names


# Dependencies


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


# scripts/bootstrap.py


@pytest.fixture(scope="module")
def bootstrap() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "scripts" / "bootstrap.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def report(*names: str) -> dict[str, object]:
    """What `pip install --dry-run --report` says, as far as bootstrap reads it."""
    return {"version": "1", "install": [{"metadata": {"name": name}} for name in names]}


NOTHING_MISSING = report()
CPU_BUILD = report("torch", "numpy", "Jinja2")
CUDA_BUILD = report("torch", "nvidia-cublas", "cuda-bindings", "triton")
INDEX = "https://example.org/cpu"


@pytest.mark.parametrize(
    ("answer", "cuda", "index", "source"),
    [
        (NOTHING_MISSING, False, "", "usual"),
        (CPU_BUILD, False, "", "usual"),
        (CPU_BUILD, False, INDEX, "usual"),
        (CUDA_BUILD, False, "", "nowhere"),
        (CUDA_BUILD, False, INDEX, "index"),
        (CUDA_BUILD, True, "", "usual"),
        (CUDA_BUILD, True, INDEX, "usual"),
        (None, True, "", "usual"),  # with a GPU pip is not even asked
        (None, False, "", "nowhere"),
        (None, False, INDEX, "index"),
    ],
)
def test_bootstrap_never_downloads_cuda_unasked(
    bootstrap: ModuleType, answer: dict[str, object] | None, cuda: bool, index: str, source: str
) -> None:
    assert bootstrap.torch_source(answer, cuda=cuda, index=index) == source


@pytest.mark.parametrize("package", ["nvidia-cudnn-cu13", "NVIDIA-NCCL-cu13", "cuda-toolkit", "triton"])
def test_bootstrap_knows_cuda_when_it_sees_it(bootstrap: ModuleType, package: str) -> None:
    assert bootstrap.brings_cuda(report("torch", package))


def test_bootstrap_stops_with_the_two_ways_on(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORETELL_TORCH_INDEX", raising=False)
    monkeypatch.setattr(bootstrap, "gpu_is_visible", lambda: False)
    monkeypatch.setattr(bootstrap, "dry_run", lambda requirement: CUDA_BUILD)
    monkeypatch.setattr(bootstrap, "pip", lambda *arguments: pytest.fail("nothing may be installed"))
    with pytest.raises(SystemExit, match=r"FORETELL_TORCH_INDEX.*--cuda"):
        bootstrap.install_torch("torch>=2", cuda=False)


@pytest.mark.parametrize("answer", [CUDA_BUILD, None])
def test_bootstrap_does_not_trust_the_index_blindly(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, answer: dict[str, object] | None
) -> None:
    monkeypatch.setenv("FORETELL_TORCH_INDEX", INDEX)
    monkeypatch.setattr(bootstrap, "gpu_is_visible", lambda: False)
    monkeypatch.setattr(bootstrap, "dry_run", lambda *arguments: answer)
    monkeypatch.setattr(bootstrap, "pip", lambda *arguments: pytest.fail("nothing may be installed"))
    with pytest.raises(SystemExit, match="no CPU build of torch>=2 by way of FORETELL_TORCH_INDEX"):
        bootstrap.install_torch("torch>=2", cuda=False)


def test_bootstrap_leaves_a_torch_that_fits_alone(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "gpu_is_visible", lambda: False)
    monkeypatch.setattr(bootstrap, "dry_run", lambda requirement: NOTHING_MISSING)
    monkeypatch.setattr(bootstrap, "pip", lambda *arguments: pytest.fail("nothing is missing"))
    bootstrap.install_torch("torch>=2", cuda=False)


def test_bootstrap_says_what_to_install_where_python_cannot_make_environments(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="apt install python3-venv"):
        bootstrap.make_venv()


def test_bootstrap_takes_the_torch_range_from_pyproject(bootstrap: ModuleType) -> None:
    lines = ["torchdata>=0.11", "torch>=2.11,<2.14", "numpy"]
    assert bootstrap.torch_requirement({"project": {"dependencies": lines}}) == lines[1]
    assert bootstrap.torch_requirement(PYPROJECT).startswith("torch")


def test_bootstrap_notices_changes_that_matter(bootstrap: ModuleType) -> None:
    before = bootstrap.fingerprint(PYPROJECT)
    changed = PYPROJECT | {"project": PYPROJECT["project"] | {"version": "9"}}
    assert bootstrap.fingerprint(changed) != before
    assert bootstrap.fingerprint(PYPROJECT | {"tool": {}}) == before


@pytest.mark.parametrize(
    ("there", "wanted", "is_enough"),
    [
        ("dev", {"dev"}, True),
        ("dev", set(), True),
        ("", set(), True),
        ("", {"dev"}, False),
        ("dev", {"docs"}, False),
        ("dev docs", {"docs"}, True),
    ],
)
def test_bootstrap_is_content_with_more_than_was_asked(
    bootstrap: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    there: str,
    wanted: set[str],
    is_enough: bool,
) -> None:
    monkeypatch.setattr(bootstrap, "STAMP", tmp_path / "stamp")
    monkeypatch.setattr(bootstrap, "PYTHON", Path(sys.executable))
    assert not bootstrap.is_set_up(PYPROJECT, wanted)
    bootstrap.STAMP.write_text(f"{bootstrap.fingerprint(PYPROJECT)} {there}", encoding="utf-8")
    assert bootstrap.is_set_up(PYPROJECT, wanted) is is_enough
    bootstrap.STAMP.write_text(f"another {there}", encoding="utf-8")
    assert not bootstrap.is_set_up(PYPROJECT, wanted)


def test_bootstrap_keeps_the_extras_of_earlier_calls(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed: list[tuple[str, ...]] = []
    monkeypatch.setattr(bootstrap, "STAMP", tmp_path / "stamp")
    monkeypatch.setattr(bootstrap, "has_pip", lambda: True)
    monkeypatch.setattr(bootstrap, "install_torch", lambda *_, **__: None)
    monkeypatch.setattr(bootstrap, "pip", lambda *arguments: installed.append(arguments))
    for option in ("--dev", "--docs"):
        monkeypatch.setattr(sys, "argv", ["bootstrap", option])
        bootstrap.main()
    assert [arguments[-1] for arguments in installed if "--editable" in arguments] == [".[dev]", ".[dev,docs]"]
    assert bootstrap.stamped()[1] == {"dev", "docs"}


def test_bootstrap_lets_an_old_python_read_its_refusal() -> None:
    source = (ROOT / "scripts" / "bootstrap.py").read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 7))
