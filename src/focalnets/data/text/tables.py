"""Tables with a text and its label on each row: CSV, TSV, and one JSON object a line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from focalnets.data.split_names import SplitRole, role_of_name
from focalnets.data.tables import table_rows
from focalnets.data.text.reading import json_lines, read_file
from focalnets.errors import DataError, abridged, quoted_list

__all__ = ["LABEL_NAMES", "TABLE_ENDINGS", "TEXT_NAMES", "TextRow", "read_table", "table_cells"]

TABLE_ENDINGS = (".csv", ".tsv", ".jsonl", ".jsonl.gz")
"""Endings of files that hold tables of texts."""

TEXT_NAMES = (
    "text", "sentence", "message", "review", "content", "body", "comment", "tweet", "sms", "document", "utterance",
    "question",
)  # fmt: skip
"""What the column of texts may be called, in any case."""

LABEL_NAMES = ("label", "class", "class_name", "category", "target", "sentiment", "topic", "intent")
"""What the column of labels may be called, in any case."""

_SPLIT_NAMES = ("split", "set", "subset")
_QUOTED = re.compile('"(?:[^"]|"")*"')


class TextRow(NamedTuple):
    """A text of a table.

    Attributes:
        text: The text; may be empty.
        label: What it is called; empty where labels are not asked for.
        split: Which part of the data the table says that it belongs to; None where it does not say.
        name: What messages call it, e.g. ``messages.csv line 7``.
    """

    text: str
    label: str
    split: SplitRole | None
    name: str


def read_table(file: Path, *, text_field: str = "", label_field: str = "", with_labels: bool = True) -> list[TextRow]:
    """Read the texts of a table, with their labels.

    Args:
        file: With one of :data:`TABLE_ENDINGS`.
        text_field: Column of the text, or several with commas between them, which are joined by a space; empty looks
            for one of :data:`TEXT_NAMES`. Columns are named, or counted from 1 where the first line is no heading.
        label_field: Likewise for the label.
        with_labels: Whether there must be labels.

    Raises:
        DataError: If the file cannot be read or is no such table; the sentence says which line.
    """
    if is_json(file):
        return [
            _row_of_object(entry, number, file, text_field, label_field, with_labels)
            for number, entry in json_lines(read_file(file), file)
        ]
    rows = table_cells(file)
    wanted = [text_field, *([label_field] if with_labels else [])]
    counted = all(_are_numbers(fields) for fields in wanted)
    first, heading = next(rows)
    if counted:
        rows = _chained((first, heading), rows)
        heading = [str(number) for number in range(1, len(heading) + 1)]
    texts = _columns("text", text_field, TEXT_NAMES, heading, file)
    labels = _columns("label", label_field, LABEL_NAMES, heading, file) if with_labels else []
    splits = [] if counted else [place for place, name in enumerate(heading) if name.lower() in _SPLIT_NAMES][:1]
    found = []
    for number, cells in rows:
        label = " ".join(cells[place] for place in labels).strip()
        if with_labels and not label:
            raise DataError(f"line {number} of '{file}' has an empty label; fill it in or remove the line.")
        role = role_of_name(cells[splits[0]]) if splits else None
        if splits and role is None:
            raise DataError(
                f"line {number} of '{file}' has the split {abridged(cells[splits[0]])}, expected train, val or test."
            )
        text = " ".join(cells[place] for place in texts).strip()
        found.append(TextRow(text, label, role, f"{file.name} line {number}"))
    return found


def table_cells(file: Path, *, keep_empty: bool = False) -> Iterator[tuple[int, list[str]]]:
    """Read a CSV or TSV file: each line's number and its cells.

    Of a ``.tsv`` whose lines all have the same number of tabs, quotes are letters as others, except around whole cells.

    Args:
        file: The file, in UTF-8.
        keep_empty: See :func:`focalnets.data.tables.table_rows`.

    Raises:
        DataError: As :func:`focalnets.data.tables.table_rows`.
    """
    if file.name.lower().endswith(".tsv"):
        lines = list(enumerate(read_file(file).split("\n"), 1))
        filled = [number for number, line in lines if line.strip()]
        tabs = {lines[number - 1][1].count("\t") for number in filled}
        if len(tabs) == 1:
            shown = lines[: filled[-1]] if keep_empty else [lines[number - 1] for number in filled]
            rows = ((number, line.split("\t") if line.strip() else [""] * (max(tabs) + 1)) for number, line in shown)
            return ((number, [_unquoted(cell.strip()) for cell in cells]) for number, cells in rows)
    return table_rows(file, "text,label", keep_empty=keep_empty)


def is_json(file: Path) -> bool:
    """Whether a file holds one JSON object a line, by its ending."""
    return file.name.lower().removesuffix(".gz").endswith(".jsonl")


def _row_of_object(
    entry: Any, number: int, file: Path, text_field: str, label_field: str, with_labels: bool
) -> TextRow:
    if not isinstance(entry, dict):
        raise DataError(f"line {number:,} of '{file}' is no object with a text; correct or remove it.")
    where, names = f"line {number:,} of '{file}'", list(entry)
    texts = [entry[names[place]] for place in _columns("text", text_field, TEXT_NAMES, names, file, number)]
    if not all(isinstance(text, str) for text in texts):
        raise DataError(f"{where} has no text but {abridged(texts[0])}; name the field with --text_field.")
    label = ""
    if with_labels:
        (place, *_) = _columns("label", label_field, LABEL_NAMES, names, file, number)
        value = entry[names[place]]
        if not isinstance(value, str | int) or not str(value).strip():
            raise DataError(f"{where} has the label {abridged(value)}, expected a text or a whole number.")
        label = str(value).strip()
    return TextRow(" ".join(texts).strip(), label, _split_of_object(entry, where), f"{file.name} line {number}")


def _split_of_object(entry: Mapping[str, Any], where: str) -> SplitRole | None:
    named = [value for name, value in entry.items() if name.lower() in _SPLIT_NAMES]
    role = role_of_name(str(named[0])) if named else None
    if named and role is None:
        raise DataError(f"{where} has the split {abridged(named[0])}, expected train, val or test.")
    return role


def _columns(
    what: str, given: str, usual: Sequence[str], heading: Sequence[str], file: Path, line: int = 1
) -> list[int]:
    """Find the columns of a meaning: those that were named, or the one whose name is usual."""
    lowered = [name.lower() for name in heading]
    where = f"line {line:,} of '{file}'"
    if given:
        wanted = [name.strip() for name in given.split(",")]
        missing = [name for name in wanted if name.lower() not in lowered]
        if missing:
            raise DataError(f"{where} names no column {quoted_list(missing)}: it has {quoted_list(heading)}.")
        return [lowered.index(name.lower()) for name in wanted]
    found = [place for place, name in enumerate(lowered) if name in usual]
    if len(found) > 1:
        names = quoted_list([heading[place] for place in found])
        raise DataError(f"{where} has {len(found)} columns that could be the {what} ({names}); choose: --{what}_field.")
    if not found:
        raise DataError(
            f"{where} names no column for the {what}: it has {quoted_list(heading)}; name it with --{what}_field. "
            "Where the first line is no heading, give numbers, e.g. --text_field 2 --label_field 1."
        )
    return found


def _are_numbers(fields: str) -> bool:
    return bool(fields) and all(part.strip().isascii() and part.strip().isdigit() for part in fields.split(","))


def _unquoted(cell: str) -> str:
    return cell[1:-1].replace('""', '"') if _QUOTED.fullmatch(cell) else cell


def _chained(first: tuple[int, list[str]], rest: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[int, list[str]]]:
    yield first
    yield from rest
