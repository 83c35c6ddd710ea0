"""The import graph of the package, read from its source without running it."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, order=True)
class Arrow:
    """One module imports another."""

    source: str
    target: str
    line: int
    typing_only: bool
    """Below `if TYPE_CHECKING:`, so it never runs."""
    hidden: bool
    """Inside a function, so it runs only when that is called."""

    def __str__(self) -> str:
        return f"{self.source}:{self.line} imports {self.target}"


def modules(root: Path = ROOT) -> dict[str, Path]:
    """Return every module of the package by its dotted name."""
    found = {}
    for path in sorted((root / "otjobs").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def arrows(root: Path = ROOT) -> list[Arrow]:
    """Return every import of one module of the package by another."""
    known = modules(root)
    found = set()
    for name, path in known.items():
        for node, typing_only, hidden in _imports(ast.parse(path.read_text()), typing_only=False, hidden=False):
            for target in _targets(node, known):
                if target != name:
                    found.add(Arrow(name, target, node.lineno, typing_only, hidden))
    return sorted(found)


def _imports(
    node: ast.AST, *, typing_only: bool, hidden: bool
) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child, typing_only, hidden
        elif isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            for part in child.body:
                yield from _imports(ast.Module([part], []), typing_only=True, hidden=hidden)
            for part in child.orelse:
                yield from _imports(ast.Module([part], []), typing_only=typing_only, hidden=hidden)
        else:
            inside = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            yield from _imports(child, typing_only=typing_only, hidden=hidden or inside)


def _targets(node: ast.Import | ast.ImportFrom, known: Mapping[str, Path]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in known)
        return
    assert node.level == 0, "imports are absolute"
    if node.module and node.module in known:
        for alias in node.names:
            whole = f"{node.module}.{alias.name}"
            yield whole if whole in known else node.module


def circles(found: list[Arrow]) -> list[tuple[str, ...]]:
    """Return the groups of modules that import each other, each sorted (Tarjan's strongly connected components)."""
    graph: dict[str, set[str]] = {}
    for arrow in found:
        graph.setdefault(arrow.source, set()).add(arrow.target)
        graph.setdefault(arrow.target, set())
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    out = []

    def visit(name: str) -> None:
        number[name] = lowest[name] = len(number)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in number:
                visit(other)
                lowest[name] = min(lowest[name], lowest[other])
            elif other in stack:
                lowest[name] = min(lowest[name], number[other])
        if lowest[name] == number[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1:
                out.append(tuple(sorted(group)))

    for name in sorted(graph):
        if name not in number:
            visit(name)
    return sorted(out)
