"""Uses of private attributes of an account and its client in tests.

The names are read from the code of `Account` and `Client`: what they assign to `self`, and their
methods and properties, where these begin with `_`. Of other objects, tests may name the same.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pdframe

PACKAGE = Path(pdframe.__file__).parent
TESTS = Path(__file__).parents[1]
ALLOWED = {Path("helpers/internals.py"), Path("contract/test_words.py")}
CLASSES = {"account.py": "Account", "api/client.py": "Client"}


def private_names() -> frozenset[str]:
    """Return the private attributes of `Account` and `Client`."""
    return frozenset(
        name
        for file, wanted in CLASSES.items()
        for owner in ast.walk(ast.parse((PACKAGE / file).read_text(encoding="utf-8")))
        if isinstance(owner, ast.ClassDef) and owner.name == wanted
        for name in _defined(owner)
        # Jupyter calls it, and `__x__` is Python's.
        if name.startswith("_") and not name.startswith("__") and name != "_repr_html_"
    )


def _defined(owner: ast.ClassDef) -> Iterator[str]:
    for node in ast.walk(owner):
        if isinstance(node, ast.FunctionDef) and node in owner.body:
            yield node.name
        elif isinstance(node, ast.Attribute) and _is_self(node.value):
            yield node.attr


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def uses(code: str, names: frozenset[str]) -> list[tuple[int, str]]:
    """Return line and name of each use: `x._client`, or `setattr(x, "_client", ...)`."""
    result = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Attribute) and node.attr in names and not _is_self(node.value):
            result.append((node.lineno, node.attr))
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("attr"):
            named = [part.value for part in node.args[1:2] if isinstance(part, ast.Constant)]
            result += [(node.lineno, str(name)) for name in named if name in names]
    return sorted(result)


def uses_in_tests() -> list[str]:
    """Return each use in the tests as `file:line: name`."""
    names = private_names()
    return [
        f"{path.relative_to(TESTS)}:{line}: {name}"
        for path in sorted(TESTS.rglob("*.py"))
        if path.relative_to(TESTS) not in ALLOWED
        for line, name in uses(path.read_text(encoding="utf-8"), names)
    ]
