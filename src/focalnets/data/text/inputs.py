"""Texts to name the class of: given as they are, as files, as tables, or line by line."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO, TypeAlias

from focalnets.data.finding import is_folder, list_folder
from focalnets.data.text.labelled import TEXT_FILE_ENDINGS
from focalnets.data.text.reading import decode_text, read_file, without_surrogates
from focalnets.data.text.tables import TABLE_ENDINGS, read_table
from focalnets.errors import DataError, ShapeError
from focalnets.files import is_there, user_path

__all__ = ["GivenText", "TextInputs", "as_texts_or_paths", "gather_texts", "lines_of", "read_stream"]


class GivenText(NamedTuple):
    """A text, and what people call it: its file, its line, or ``text 0``."""

    name: str
    text: str


TextInputs: TypeAlias = "str | os.PathLike[str] | Iterable[str | os.PathLike[str] | GivenText]"
"""One text or several; paths are files or folders that hold them."""


def gather_texts(
    given: TextInputs, *, text_field: str = "", by_lines: bool = False
) -> tuple[list[GivenText], list[tuple[str, str]]]:
    """List the texts meant by what was given, in its order.

    Args:
        given: Texts, and paths (objects of ``pathlib``) of tables, of which each row is a text, of text files, or of
            folders of text files.
        text_field: Column of tables that holds the text, see :func:`focalnets.data.text.tables.read_table`.
        by_lines: Whether each line of a text file that is not empty is a text, in place of the whole file.

    Returns:
        The texts, and each path or file of a folder that leads to none, with the reason.

    Raises:
        ShapeError: If something is neither a text nor a path.
        DataError: If there is nothing.
    """
    entries = [given] if isinstance(given, str | os.PathLike) else list(given)
    texts: list[GivenText] = []
    missing: list[tuple[str, str]] = []
    for number, entry in enumerate(entries):
        if isinstance(entry, GivenText):
            texts.append(entry._replace(text=without_surrogates(entry.text)))
        elif isinstance(entry, str):
            texts.append(GivenText(f"text {number}", without_surrogates(entry)))
        elif isinstance(entry, os.PathLike):
            try:
                files = _files_of(user_path(entry))
            except DataError as error:
                missing.append((os.fspath(entry), str(error)))
                continue
            for file in files:
                try:
                    texts += _texts_of(file, text_field, by_lines)
                except DataError as error:
                    missing.append((os.fspath(file), str(error)))
        else:
            raise ShapeError(f"expected texts and paths of files, got {type(entry).__name__}.")
    if not texts and not missing:
        raise DataError("There is no text to look at; give one, or a file of texts.")
    return texts, missing


def lines_of(stream: TextIO, name: str) -> list[GivenText]:
    """Read a text on each line that is not empty.

    Raises:
        DataError: As :func:`read_stream`.
    """
    return _by_lines(read_stream(stream, name), name)


def read_stream(stream: TextIO, name: str) -> str:
    """Read a text in UTF-8 to its end, whatever encoding the surroundings ask for.

    Args:
        stream: E.g. standard input.
        name: What messages call it.

    Raises:
        DataError: If it is no text, or not in UTF-8.
    """
    content = getattr(stream, "buffer", None)
    return without_surrogates(stream.read()) if content is None else decode_text(content.read(), name)


def as_texts_or_paths(given: Sequence[str]) -> list[str | Path]:
    """Tell which words of a command line are files or folders: those that are there, or that end like one."""
    endings = (*TABLE_ENDINGS, *TEXT_FILE_ENDINGS)
    return [
        Path(word) if is_there(user_path(word)) or (word.lower().endswith(endings) and " " not in word) else word
        for word in given
    ]


def _files_of(path: Path) -> list[Path]:
    if not is_there(path):
        raise DataError(f"there is no file or folder '{path}'; check the path.")
    if path.is_dir():
        files = [Path(entry.path) for entry in list_folder(path) if not is_folder(entry)]
        files = [file for file in files if file.name.lower().endswith(TEXT_FILE_ENDINGS)]
        if not files:
            raise DataError(f"the folder '{path}' holds no text; expected files ending in .txt.")
        return files
    return [path]


def _texts_of(path: Path, text_field: str, by_lines: bool) -> list[GivenText]:
    if path.name.lower().endswith(TABLE_ENDINGS):
        return [GivenText(row.name, row.text) for row in read_table(path, text_field=text_field, with_labels=False)]
    content = read_file(path)
    if by_lines:
        return _by_lines(content, path.name)
    return [GivenText(str(path), content.strip())]


def _by_lines(text: str, name: str) -> list[GivenText]:
    lines = ((number, line.strip()) for number, line in enumerate(text.split("\n"), 1))
    return [GivenText(f"{name} line {number}", line) for number, line in lines if line]
