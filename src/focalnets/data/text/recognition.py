"""Whether a place holds texts with labels, from its first lines and the names of its files."""

from __future__ import annotations

import gzip
import itertools
import json
from pathlib import Path
from typing import Any

from focalnets.data.finding import is_folder, list_folder
from focalnets.data.tables import PATH_NAMES
from focalnets.data.text.labelled import TEXT_FILE_ENDINGS, begins_with, class_folders, table_files
from focalnets.data.text.tables import LABEL_NAMES, TEXT_NAMES, is_json, table_cells
from focalnets.errors import ConfigError, DataError
from focalnets.files import is_there, user_path

__all__ = ["recognise_labelled_texts"]

_MOST_CHARACTERS = 2**24


def recognise_labelled_texts(place: str | Path) -> str:
    """Say in words which labelled texts a place holds; empty if it holds none.

    Raises:
        ConfigError: If a table could list images as well.
    """
    path = user_path(place)
    if "://" in str(place) or not is_there(path):
        return ""
    try:
        if path.is_file():
            return "a table of texts with labels" if _is_table_of_texts(path) else ""
        if not path.is_dir():
            return ""
        tables = list(table_files(path))
        if tables:
            return "tables of texts with labels" if all(_is_table_of_texts(file) for file in tables) else ""
        return "a folder of texts for each class" if _has_only_texts(path) else ""
    except (DataError, OSError):  # whoever opens it says what is wrong
        return ""


def _is_table_of_texts(file: Path) -> bool:
    name = file.name.lower()
    if is_json(file):
        fields = {field.lower() for field in _first_object(file)}
        return bool(fields & set(TEXT_NAMES)) and bool(fields & set(LABEL_NAMES))
    if not name.endswith((".csv", ".tsv")):
        return False
    rows = [cells for _, cells in itertools.islice(table_cells(file), 2)]
    heading = [cell.lower() for cell in rows[0]] if rows else []
    if not set(heading) & set(TEXT_NAMES):
        return False
    places = [place for place, cell in enumerate(heading) if cell in PATH_NAMES]
    if not places:
        return True
    if len(rows) > 1 and is_there(file.parent / rows[1][places[0]]):
        return False  # it lists images that are there
    raise ConfigError(
        f"'{file}' has a column for paths of images and one for texts; choose with --task classify or --task text."
    )


def _first_object(file: Path) -> dict[str, Any]:
    opened = gzip.open if file.name.lower().endswith(".gz") else open
    with opened(file, "rt", encoding="utf-8-sig", errors="replace") as stream:  # type: ignore[operator]
        line = next((line for line in iter(lambda: stream.readline(_MOST_CHARACTERS), "") if line.strip()), "")
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}


def _has_only_texts(folder: Path) -> bool:
    """Whether a folder has folders of text files for classes, and no file of another kind in these."""
    if not begins_with(folder, TEXT_FILE_ENDINGS):
        return False
    parts = class_folders(folder)
    inner = {file.parent for classes in parts.values() for files in classes.values() for file in files}
    files = [entry.name.lower() for each in inner for entry in list_folder(each) if not is_folder(entry)]
    return bool(parts) and all(name.endswith(TEXT_FILE_ENDINGS) or name.startswith(".") for name in files)
