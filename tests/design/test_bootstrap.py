import ast
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from design.known import script
from design.source import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def bootstrap() -> ModuleType:
    return script("bootstrap")


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
    with pytest.raises(SystemExit, match="no CPU build of torch>=2 in FORETELL_TORCH_INDEX"):
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
