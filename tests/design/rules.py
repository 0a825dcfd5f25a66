"""Rules for the package, checked over its syntax trees. Each yields its violations."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from design.source import Function, Module, Source, Violation, names_in

FILE_LINES, TRAINER_LINES, TEST_LINES = 450, 350, 500
FUNCTION_LINES, MEDIAN_LINES, PERCENTILE_95_LINES = 80, 6, 25
CONFIG_FIELDS = 15
OWNED = ("models", "nn", "objectives", "tasks")


def circles(source: Source) -> Iterator[Violation]:
    """Modules on an import circle: one violation per module, with a shortest circle through it."""
    graph = {name: dict(reversed([*source.imports(module)])) for name, module in source.modules.items()}
    for group in components({name: set(targets) for name, targets in graph.items()}):
        for name in sorted(group) if len(group) > 1 else []:
            circle = shortest_circle(name, {inner: set(graph[inner]) & group for inner in group})
            steps = [
                f"{here} -> {there} ({source.modules[here].path}:{graph[here][there]})"
                for here, there in zip(circle, [*circle[1:], name], strict=True)
            ]
            yield Violation(
                source.modules[name].path, graph[name][[*circle, name][1]], "import circle: " + ", ".join(steps)
            )


def components(graph: dict[str, set[str]]) -> list[set[str]]:
    """The strongly connected components of a graph (Tarjan 1972), without recursion."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []
    for root in graph:
        work = [(root, iter(sorted(graph[root])))] if root not in index else []
        while work:
            node, targets = work[-1]
            if node not in index:
                index[node] = low[node] = len(index)
                stack.append(node)
            for target in targets:
                if target not in index:
                    work.append((target, iter(sorted(graph[target]))))
                    break
                if target in stack:
                    low[node] = min(low[node], index[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    start = stack.index(node)
                    found.append(set(stack[start:]))
                    del stack[start:]
    return found


def shortest_circle(start: str, graph: dict[str, set[str]]) -> list[str]:
    """The modules on a shortest circle through `start`."""
    paths = [[start]]
    seen = set()
    for path in paths:
        for target in sorted(graph[path[-1]]):
            if target == start:
                return path
            if target not in seen:
                seen.add(target)
                paths.append([*path, target])
    raise ValueError(f"{start} is on no circle")


def long_files(source: Source) -> Iterator[Violation]:
    """Source and test files over their limits."""
    for module in source.modules.values():
        limit = TRAINER_LINES if module.path.endswith("/trainer.py") else FILE_LINES
        if len(module.lines) > limit:
            yield Violation(module.path, limit, f"{len(module.lines)} lines, at most {limit}")
    for path in sorted((source.root / "tests").rglob("*.py")):
        lines = path.read_text(encoding="utf-8").count("\n")
        if lines > TEST_LINES:
            yield Violation(
                path.relative_to(source.root).as_posix(), TEST_LINES, f"{lines} lines, at most {TEST_LINES}"
            )


def large_configs(source: Source) -> Iterator[Violation]:
    """Config classes with too many settings, inherited ones included."""
    for name, (module, node) in source.classes.items():
        lineage = source.lineage(name)
        if any(ancestor.endswith(".Config") for ancestor in lineage):
            settings = {setting for ancestor in lineage for setting in fields(source.classes[ancestor][1])}
            if len(settings) > CONFIG_FIELDS:
                what = f"{node.name} has {len(settings)} settings, at most {CONFIG_FIELDS}"
                yield Violation(module.path, node.lineno, what)


def fields(node: ast.ClassDef) -> Iterator[str]:
    """The annotated names in a class body, except private ones and class variables."""
    for line in node.body:
        if isinstance(line, ast.AnnAssign) and "ClassVar" not in ast.unparse(line.annotation):
            name = ast.unparse(line.target)
            if not name.startswith("_"):
                yield name


def long_functions(source: Source) -> Iterator[Violation]:
    """Functions over the limit."""
    for module in source.modules.values():
        for function in module.functions():
            if length(function) > FUNCTION_LINES:
                what = f"{function.name} has {length(function)} lines, at most {FUNCTION_LINES}"
                yield Violation(module.path, function.lineno, what)


def length(function: Function) -> int:
    """Lines from `def` to the end, signature and docstring included, decorators not."""
    return (function.end_lineno or function.lineno) - function.lineno + 1


def lengths(source: Source) -> list[int]:
    """Lengths of all functions and methods in ascending order."""
    return sorted(length(function) for module in source.modules.values() for function in module.functions())


def foreign_checks(source: Source) -> Iterator[Violation]:
    """Checks for the class of batches, models, objectives, tasks or layers outside the package that defines it."""
    for module in source.modules.values():
        for line, name in class_checks(module):
            for target in source.resolve(name, module):
                owner = owner_of(source, target)
                if owner and not (module.name + ".").startswith(owner + "."):
                    yield Violation(module.path, line, f"checks for {target}; only {owner} may")


def owner_of(source: Source, name: str) -> str:
    """The only package that may check for a class, or \"\" if any may."""
    parts = name.split(".")
    if name not in source.classes or len(parts) < 3:
        return ""
    if parts[1] in OWNED:
        return ".".join(parts[:2])
    home = source.home(name)
    with_batches = any(source.descends(f"{home}.{other}", "Batches") for other in top_classes(source.modules[home]))
    if source.descends(name, "Batches") or (with_batches and source.descends(name, "Config")):
        return home.rpartition(".")[0]
    return ""


def top_classes(module: Module) -> list[str]:
    return [node.name for node in module.tree.body if isinstance(node, ast.ClassDef)]


def class_checks(module: Module) -> Iterator[tuple[int, str]]:
    """The classes named in `isinstance`, `issubclass`, `type(x) is`, class patterns and tables read by `type(x)`, with
    their lines."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass") and len(node.args) > 1:
            asked = [node.args[1]]
        elif isinstance(node, ast.MatchClass):
            asked = [node.cls]
        elif isinstance(node, ast.Compare) and any(map(is_class_of, sides := [node.left, *node.comparators])):
            asked = [side for side in sides if not is_class_of(side)]
        elif isinstance(node, ast.Subscript) and is_class_of(node.slice):
            asked = keys_of(node.value, module)
        elif isinstance(node, ast.Call) and node.args and is_class_of(node.args[0]) and "." in ast.unparse(node.func):
            asked = keys_of(getattr(node.func, "value", node.func), module)
        else:
            continue
        for expression in asked:
            yield from ((expression.lineno, name) for name in names_in(expression))


def keys_of(table: ast.expr, module: Module) -> list[ast.expr]:
    """The keys of a literal dictionary, or of a name of the module that is one."""
    if isinstance(table, ast.Name):
        table = module.assigned.get(table.id, table)
    return [key for key in table.keys if key is not None] if isinstance(table, ast.Dict) else []


def is_class_of(node: ast.expr) -> bool:
    """Whether an expression is the class of a value."""
    text = ast.unparse(node)
    return text.startswith("type(") or text.endswith(".__class__")


def missing_mirrors(source: Source) -> Iterator[Violation]:
    """Modules with branches or loops but no mirror test file: foretell/a/b.py has tests/a/test_b.py."""
    for module in source.modules.values():
        mirror = mirror_of(module)
        if decides(module) and not has_tests(source.root / mirror):
            yield Violation(module.path, 1, f"no {mirror}")


def has_tests(path: Path) -> bool:
    """Whether a file has tests, its own or imported ones."""
    return path.is_file() and "test" in path.read_text(encoding="utf-8")


def mirror_of(module: Module) -> str:
    """The test file of a module; for foretell/a/__init__.py it is tests/a/test_a.py."""
    folders = module.name.split(".")[1:]
    name = folders[-1] if folders else module.name
    return "/".join(["tests", *(folders if module.is_package else folders[:-1]), f"test_{name}.py"])


def decides(module: Module) -> bool:
    """Whether a module branches or loops in a function."""
    kinds = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.Match)
    return any(isinstance(node, kinds) for function in module.functions() for node in ast.walk(function))


def bare_references(source: Source) -> Iterator[Violation]:
    """Docstrings that only name the overridden method, which `typing.override` does and mypy checks."""
    for module in source.modules.values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                text = ast.get_docstring(node) or ""
                if text.startswith("See `") and text.rstrip(".").endswith("`") and text.count("`") == 2:
                    yield Violation(module.path, node.lineno, f"{text} Use typing.override instead")


RULES = {
    "circles": circles,
    "long_files": long_files,
    "large_configs": large_configs,
    "long_functions": long_functions,
    "foreign_checks": foreign_checks,
    "missing_mirrors": missing_mirrors,
    "bare_references": bare_references,
}
