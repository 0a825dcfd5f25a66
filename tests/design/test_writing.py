"""One mechanism by which what is written appears whole or not at all: who else opens files for writing, and why."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "foretell"
BY_THEMSELVES = {
    "artifacts.py": "the mechanism",
    "coding/compressors.py": "input of another program, in a folder that is deleted behind it",
    "data/store/store.py": "fills the folder of a store that is not there yet",
    "data/store/store_builder.py": "the same",
    "interop/arpa.py": "compresses into a file of the mechanism",
    "run.py": "appends to the records of a run",
    "tools/drawing.py": "draws into memory",
    "tools/measure/probe_plots.py": "the same",
    "bench/workloads/": "inputs of measurements, in a folder that is deleted behind them",
    "trust.py": "a key that has to be secret from the first byte on",
}
WRITERS = {"write_text", "write_bytes", "savez", "savez_compressed", "save_file", "savefig", "tofile", "touch"}
OPENERS = {"open", "fdopen", "GzipFile", "memmap", "open_memmap"}


def writing(tree: ast.AST) -> Iterator[int]:
    """The lines that write to files, as far as calls look like it."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        given = [argument.value for argument in [*node.args, *(k.value for k in node.keywords)] if is_text(argument)]
        modes = [mode for mode in given if len(mode) <= 3 and set(mode) & set("wax+")]
        arrays = ast.unparse(function) in ("np.save", "torch.save")
        if name in WRITERS or arrays or (name in OPENERS and modes) or "O_CREAT" in ast.unparse(node):
            yield node.lineno


def is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


@pytest.mark.parametrize(
    "source",
    [
        "path.write_text('x')",
        "path.open('w')",
        "open(path, mode='ab')",
        "path.open('r+b')",
        "np.save(path, array)",
        "torch.save(tensors, path)",
        "save_file(tensors, path)",
        "gzip.GzipFile(path, 'w')",
        "os.open(path, os.O_WRONLY | os.O_CREAT)",
    ],
)
def test_writing_is_seen(source: str) -> None:
    assert list(writing(ast.parse(source))) and not list(writing(ast.parse("path.open('rb'), open(path), np.load(p)")))


def test_nothing_is_written_but_by_the_one_mechanism() -> None:
    found = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if list(writing(ast.parse(path.read_text(encoding="utf-8")))):
            found.add("bench/workloads/" if name.startswith("bench/workloads/") else name)
    assert found == BY_THEMSELVES.keys()
