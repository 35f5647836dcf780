"""Results as a table on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

__all__ = ["show_lines", "show_results"]


def show_lines(lines: Sequence[Sequence[str]]) -> None:
    """Print lines as a table; the first is its heading, and the first column stands at the left."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for index, title in enumerate(lines[0]):
        table.add_column(title, justify="left" if index == 0 else "right", overflow="fold")
    for line in lines[1:]:
        table.add_row(*line)
    Console(highlight=False, width=None if sys.stdout.isatty() else 1000).print(table, markup=False)


def show_results(task: Any, values: Any) -> None:
    """Print the task's rows of results as a table."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from focalnets.report.words import plain_text
    from focalnets.tasks.results import table_of

    if not values:
        return
    columns, rows = table_of(task, values)
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column.title, justify="left" if column.kind == "text" else "right")
    for row in rows:
        cells = [plain_text(column.write(cell)) for column, cell in zip(columns, row, strict=True)]
        table.add_row(*map(Text, cells))  # Text: brackets in names are no markup.
    # Where nobody looks, nothing is folded: one line an image for grep and cut.
    Console(highlight=False, width=None if sys.stdout.isatty() else 10_000).print(table)
