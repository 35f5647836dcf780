"""Tables, commands and paragraphs of the pages that are made from results."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

__all__ = ["commands", "table", "wrapped"]


def table(rows: Sequence[Sequence[str]]) -> str:
    """Write a table; the first row is its heading."""
    whole = [[cell.replace("|", r"\|") for cell in row] for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in whole]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def commands(*given: str) -> str:
    """Write commands, each continued on further lines where it is long."""
    lines = []
    for command in given:
        pieces = textwrap.wrap(command, 112, break_long_words=False, break_on_hyphens=False)
        lines += [f"    {'' if index == 0 else '    '}{line}" for index, line in enumerate(pieces)]
        lines[-len(pieces) :] = [f"{line} \\" for line in lines[-len(pieces) : -1]] + lines[-1:]
    return "\n".join(lines)


def wrapped(text: str) -> str:
    """Fill the lines of a paragraph."""
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)
