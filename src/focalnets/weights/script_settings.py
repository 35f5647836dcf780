"""Settings that training scripts write as Python: read as plain values, never executed."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["find_entries", "read_assignments", "setting"]

_LONGEST_TEXT = 2_000_000
_DEEPEST = 40


def read_assignments(text: str) -> dict[str, Any]:
    """Read ``name = value`` lines of a Python text as far as the values are numbers, texts and containers of them.

    ``dict(a=1)`` is a container too. Any other expression reads as None; a text that is no Python gives nothing.
    """
    if len(text) > _LONGEST_TEXT:
        return {}
    try:
        tree = ast.parse(text)
        return {
            statement.targets[0].id: _value(statement.value, 0)
            for statement in tree.body
            if isinstance(statement, ast.Assign)
            and len(statement.targets) == 1
            and isinstance(statement.targets[0], ast.Name)
        }
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}


def setting(settings: Any, *path: str) -> Any:
    """Return what stands at a path of names, or None."""
    for name in path:
        settings = settings.get(name) if isinstance(settings, Mapping) else None
    return settings


def find_entries(settings: Any, kind: str) -> Iterator[Mapping[str, Any]]:
    """Yield the containers, however deep, whose ``type`` is that, in the order in which they stand."""
    if isinstance(settings, Mapping):
        if settings.get("type") == kind:
            yield settings
        for value in settings.values():
            yield from find_entries(value, kind)
    elif isinstance(settings, list | tuple):
        for value in settings:
            yield from find_entries(value, kind)


def _value(node: ast.expr, depth: int) -> Any:
    if depth > _DEEPEST:
        return None
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(entry, depth + 1) for entry in node.elts]
    if isinstance(node, ast.Dict):
        return {
            key.value: _value(value, depth + 1)
            for key, value in zip(node.keys, node.values, strict=True)
            if isinstance(key, ast.Constant) and isinstance(key.value, str)
        }
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        return {entry.arg: _value(entry.value, depth + 1) for entry in node.keywords if entry.arg is not None}
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
        value = node.operand.value
        return -value if isinstance(value, int | float) else None
    return None
