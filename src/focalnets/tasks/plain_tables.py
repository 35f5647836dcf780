"""Results as tables, for tasks that have no table of their own: from plain values to columns and cells."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from focalnets.report.parts import Column, TableCell

__all__ = ["plain_row", "plain_table"]

_MOST_LETTERS = 80


def plain_row(values: Mapping[str, Any]) -> dict[Column, TableCell]:
    """Write plain values as a row for people; ``path`` is left out, and what is long is cut."""
    row: dict[Column, TableCell] = {}
    for name, value in values.items():
        if name == "path":
            continue
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            row[Column(name, "number", ".4g" if isinstance(value, float) else ",")] = value
        else:
            text = "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            row[Column(name)] = text if len(text) <= _MOST_LETTERS else f"{text[: _MOST_LETTERS - 1]}…"
    return row


def plain_table(results: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[Any]]]:
    """Make a table of plain values, one row for each result; nested values are written as JSON.

    Returns:
        The heading with all names that any result has, and the rows; what a result lacks is None.
    """
    heading = list(dict.fromkeys(name for result in results for name in result)) or ["path"]
    return heading, [[_plain(result.get(name)) for name in heading] for result in results]


def _plain(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (Mapping, list, tuple)) else value
