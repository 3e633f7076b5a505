"""Public docstrings state the shapes of arrays and the errors that are raised."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(
    path
    for package in ("models", "trainer", "service")
    for path in (ROOT / package).rglob("*.py")
)
#: A shape in a docstring: (B, I), (n,), (E, n, 1), (n, …).
SHAPE = re.compile(r"\([\w…+×·-]+,(?:\s*[\w…+×·-]+)?(?:,\s*[\w…+×·-]+)*\)")
#: What an annotation calls an array; the aliases of the project are found below.
ARRAYS = {"NDArray", "ndarray"}


@dataclass(frozen=True)
class Function:
    """A public function or method, and the docstring that speaks for it."""

    path: Path
    name: str
    node: ast.FunctionDef
    docstring: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.node.lineno} {self.name}"


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def names_in(node: ast.AST | None) -> set[str]:
    """Return the names of an annotation, quoted or not."""
    found = set()
    for part in ast.walk(node) if node is not None else ():
        if isinstance(part, ast.Name):
            found.add(part.id)
        elif isinstance(part, ast.Attribute):
            found.add(part.attr)
        elif isinstance(part, ast.Constant) and isinstance(part.value, str):
            found |= set(re.findall(r"\w+", part.value))
    return found


def is_alias(node: ast.stmt) -> bool:
    """Tell whether a statement names a type: X: TypeAlias = … or X = NDArray[…]."""
    if isinstance(node, ast.AnnAssign):
        return "TypeAlias" in names_in(node.annotation)
    return isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript)


@cache
def array_names() -> frozenset[str]:
    """Return the aliases that stand for an array or for an array or None."""
    aliases: dict[str, set[str]] = {}
    for path in SOURCES:
        for node in tree(path).body:
            if is_alias(node) and isinstance(node, (ast.Assign, ast.AnnAssign)):
                target = node.target if isinstance(node, ast.AnnAssign) else None
                target = target or node.targets[0]  # type: ignore[union-attr]
                value = node.value
                if isinstance(value, ast.BinOp):  # Array | None, not Columns | Array
                    if not any(
                        isinstance(side, ast.Constant)
                        for side in (value.left, value.right)
                    ):
                        continue
                elif isinstance(value, ast.Subscript):  # of NDArray[…], not dict[…]
                    value = value.value
                if isinstance(target, ast.Name):
                    aliases[target.id] = names_in(value)
    arrays = set(ARRAYS)
    while new := {a for a, names in aliases.items() if names & arrays} - arrays:
        arrays |= new
    return frozenset(arrays)


@cache
def classes() -> dict[str, list[ast.ClassDef]]:
    found: dict[str, list[ast.ClassDef]] = {}
    for path in SOURCES:
        for node in tree(path).body:
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(node)
    return found


def inherited(kind: ast.ClassDef, name: str) -> str:
    """Return the docstring of a method in the nearest base class that has one."""
    for base in kind.bases:
        for parent in classes().get(ast.unparse(base).rpartition(".")[2], []):
            for node in parent.body:
                if not isinstance(node, ast.FunctionDef) or node.name != name:
                    continue
                if text := ast.get_docstring(node):
                    return text
            if text := inherited(parent, name):
                return text
    return ""


def is_public(node: ast.FunctionDef) -> bool:
    """Tell whether other code may call a function: commands have help instead."""
    commands = [d for d in node.decorator_list if ast.unparse(d).endswith(".command")]
    calls = [d.func for d in node.decorator_list if isinstance(d, ast.Call)]
    commands += [call for call in calls if ast.unparse(call).endswith(".command")]
    return node.name[0] != "_" and not commands


def functions() -> Iterator[Function]:
    """Yield every public function and every public method of a public class."""
    for path in SOURCES:
        for node in tree(path).body:
            if isinstance(node, ast.FunctionDef) and is_public(node):
                yield Function(path, node.name, node, ast.get_docstring(node) or "")
            elif isinstance(node, ast.ClassDef) and node.name[0] != "_":
                about = ast.get_docstring(node) or ""
                for method in node.body:
                    if not isinstance(method, ast.FunctionDef):
                        continue
                    text = ast.get_docstring(method) or inherited(node, method.name)
                    made = method.name in ("__init__", "__post_init__", "__call__")
                    if made:
                        text = f"{about}\n{text}"
                    if made or method.name[0] != "_":
                        yield Function(path, f"{node.name}.{method.name}", method, text)


def takes_arrays(node: ast.FunctionDef) -> bool:
    arguments = [*node.args.args, *node.args.kwonlyargs]
    found = names_in(node.returns).union(*(names_in(a.annotation) for a in arguments))
    return bool(found & array_names())


def raised(node: ast.FunctionDef) -> set[str]:
    """Return the errors that stand in the function's own `raise` statements.

    Of an error that a helper makes, the name of the helper's own result is asked.
    """
    inner = {
        part
        for child in ast.walk(node)
        if isinstance(child, (ast.FunctionDef, ast.Lambda)) and child is not node
        for part in ast.walk(child)
    }
    found = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Raise) and part not in inner and part.exc is not None:
            error = part.exc.func if isinstance(part.exc, ast.Call) else part.exc
            last = ast.unparse(error).rpartition(".")[2]
            found.add(last if last[0].isupper() else "Raises")
    return found - {"NotImplementedError", "AssertionError", "SystemExit"}


def shapeless() -> list[Function]:
    return [
        f for f in functions() if takes_arrays(f.node) and not SHAPE.search(f.docstring)
    ]


def silent() -> list[tuple[Function, set[str]]]:
    found = (
        (f, {e for e in raised(f.node) if e not in f.docstring}) for f in functions()
    )
    return [(function, errors) for function, errors in found if errors]


def test_functions_over_arrays_state_their_shapes() -> None:
    found = shapeless()
    assert not found, "\n".join(map(str, found))


def test_functions_that_raise_name_the_error() -> None:
    found = silent()
    assert not found, "\n".join(f"{f} raises {', '.join(e)}" for f, e in found)


@pytest.mark.parametrize(
    ("text", "states"),
    [
        ("Return logits (B, O) of X.", True),
        ("Return one weight a row (n,).", True),
        ("Return (E, n, 1) of it.", True),
        ("Return the mean (see `above`).", False),
        ("Return the mean of the rows.", False),
    ],
)
def test_a_shape_is_told_from_a_remark(text: str, states: bool) -> None:
    assert bool(SHAPE.search(text)) is states
