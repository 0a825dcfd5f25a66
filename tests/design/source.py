"""The package as syntax trees: modules, imports, classes and the definitions that names refer to."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IMPORTERS = ("importlib.import_module", "import_module", "__import__")
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Violation:
    """One violation of a rule."""

    path: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}"


class Module:
    """One source file."""

    def __init__(self, path: Path, root: Path):
        parts = path.relative_to(root).with_suffix("").parts
        self.is_package = parts[-1] == "__init__"
        self.name = ".".join(parts[:-1] if self.is_package else parts)
        self.path = path.relative_to(root).as_posix()
        self.lines = path.read_text(encoding="utf-8").splitlines()
        self.tree = ast.parse("\n".join(self.lines))

    def absolute(self, node: ast.ImportFrom) -> str:
        """The module that `from ... import` names."""
        if not node.level:
            return node.module or ""
        parents = self.name.split(".") if self.is_package else self.name.split(".")[:-1]
        return ".".join([*parents[: len(parents) - node.level + 1], *([node.module] if node.module else [])])

    @cached_property
    def bindings(self) -> dict[str, str]:
        """Names bound by imports anywhere in the file, with the dotted names they refer to."""
        bound = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    top = alias.name.partition(".")[0]
                    bound[alias.asname or top] = alias.name if alias.asname else top
            elif isinstance(node, ast.ImportFrom):
                bound |= {alias.asname or alias.name: f"{self.absolute(node)}.{alias.name}" for alias in node.names}
        return bound

    @cached_property
    def assigned(self) -> dict[str, ast.expr]:
        """Names assigned at the top of the module, with their values."""
        values: dict[str, ast.expr] = {}
        for node in self.tree.body:
            if isinstance(node, ast.Assign):
                values |= {target.id: node.value for target in node.targets if isinstance(target, ast.Name)}
            elif isinstance(node, ast.AnnAssign) and node.value is not None and isinstance(node.target, ast.Name):
                values[node.target.id] = node.value
        return values

    def functions(self) -> Iterator[Function]:
        """Every function and method, inner ones too."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node


class Source:
    """All modules of the package in a checkout."""

    def __init__(self, root: Path = ROOT, package: str = "foretell"):
        self.root, self.package = root, package

    @cached_property
    def modules(self) -> dict[str, Module]:
        """By dotted name; a package goes by the name of its folder."""
        paths = sorted((self.root / self.package).rglob("*.py"))
        return {module.name: module for module in (Module(path, self.root) for path in paths)}

    @cached_property
    def classes(self) -> dict[str, tuple[Module, ast.ClassDef]]:
        """The classes at the top of modules, by dotted name."""
        return {
            f"{module.name}.{node.name}": (module, node)
            for module in self.modules.values()
            for node in module.tree.body
            if isinstance(node, ast.ClassDef)
        }

    def home(self, name: str) -> str:
        """The module that a dotted name belongs to or is, or "" outside the package."""
        while name and name not in self.modules:
            name = name.rpartition(".")[0]
        return name

    def imports(self, module: Module) -> Iterator[tuple[str, int]]:
        """The modules that `module` imports, with lines: lazy imports included, those for types only excluded."""
        for node in at_run_time(module.tree):
            named = []
            if isinstance(node, ast.Import):
                named = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                named = [f"{module.absolute(node)}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Call) and ast.unparse(node.func) in IMPORTERS:
                named = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            for name in named:
                if (target := self.home(name)) and target != module.name:
                    yield target, node.lineno

    def resolve(self, name: str, module: Module, depth: int = 10) -> list[str]:
        """The definitions a name refers to, through re-exports; all members of a union or tuple alias."""
        first, _, rest = name.partition(".")
        if not depth:
            return [name]
        if first in module.bindings:
            name = ".".join(filter(None, [module.bindings[first], rest]))
        elif first in module.assigned:
            inner = names_in(module.assigned[first])
            return [found for name in inner for found in self.resolve(name, module, depth - 1)]
        else:
            return [f"{module.name}.{name}"]
        home = self.home(name)
        inside = name[len(home) + 1 :]
        return self.resolve(inside, self.modules[home], depth - 1) if home and inside else [name]

    def lineage(self, name: str) -> list[str]:
        """A class and its ancestors in the package, nearest first."""
        found: list[str] = []
        todo = [name]
        while todo:
            name = todo.pop(0)
            if name in self.classes and name not in found:
                found.append(name)
                module, node = self.classes[name]
                bases = [text for base in node.bases for text in names_in(base)]
                todo += [target for text in bases for target in self.resolve(text, module)]
        return found

    def descends(self, name: str, base: str) -> bool:
        """Whether a class is or inherits from a class with that bare name."""
        return any(ancestor.rpartition(".")[2] == base for ancestor in self.lineage(name))


@cache
def package() -> Source:
    """This checkout's package, parsed once per process."""
    return Source()


def at_run_time(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes outside `if TYPE_CHECKING:`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for branch in node.orelse:
                yield branch
                yield from at_run_time(branch)
        else:
            yield node
            yield from at_run_time(node)


def names_in(node: ast.AST) -> Iterator[str]:
    """The dotted names in an expression."""
    if isinstance(node, ast.Name | ast.Attribute):
        text = ast.unparse(node)
        if all(part.isidentifier() for part in text.split(".")):
            yield text
            return
    for child in ast.iter_child_nodes(node):
        yield from names_in(child)
