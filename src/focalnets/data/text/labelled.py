"""Texts with labels: found in a place, divided into what is learnt from and what is held out.

A place is a table, a folder of tables, or a folder with a folder of text files for each class.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from focalnets.data.finding import is_folder, is_no_data_folder, list_folder, natural_key
from focalnets.data.split_names import SplitRole, rank_of_name, role_of_name
from focalnets.data.splits import split_by_class
from focalnets.data.text.reading import read_file
from focalnets.data.text.tables import TABLE_ENDINGS, TextRow, read_table
from focalnets.data.text.tokenizers import Tokenizer
from focalnets.errors import DataError, quoted_list
from focalnets.files import is_there, user_path

__all__ = [
    "TEXT_FILE_ENDINGS",
    "FoundTexts",
    "LabelledTexts",
    "begins_with",
    "class_folders",
    "find_labelled_texts",
    "held_out_rows",
    "split_rows",
    "table_files",
]

TEXT_FILE_ENDINGS = (".txt", ".txt.gz")
"""Endings of files that hold one text."""

_ONE = {"texts": "text"}


class LabelledTexts:
    """Texts with the index of their class; see :class:`focalnets.data.labelled.LabelledData`.

    Args:
        rows: The texts, none of them empty.
        classes: What their labels are called.
        index: The class of each label; None takes their order.
        learnt_from: The texts that a network was trained on, where these are what was held out.
        tokenizer: What is to cut them into tokens, where that is known.
        notes: What of the data is not used, a line each.
    """

    def __init__(
        self,
        rows: Sequence[TextRow],
        classes: Sequence[str],
        *,
        index: Mapping[str, int] | None = None,
        learnt_from: LabelledTexts | None = None,
        tokenizer: Tokenizer | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        index = {name: place for place, name in enumerate(classes)} if index is None else index
        self.texts = tuple(row.text for row in rows)
        self.names = tuple(row.name for row in rows)
        self.class_of = [index[row.label] for row in rows]
        self.classes, self.learnt_from, self.notes = tuple(classes), learnt_from, tuple(notes)
        self.tokenizer = tokenizer

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> tuple[str, int]:
        return self.texts[index], self.class_of[index]

    @functools.cached_property
    def length_of(self) -> list[int]:
        """Characters of each text, by which texts of similar length share a batch."""
        return [len(text) for text in self.texts]


@dataclasses.dataclass(frozen=True, eq=False)
class FoundTexts:
    """The labelled texts of a place.

    Attributes:
        place: The file or folder.
        rows: All texts that are not empty.
        fingerprint: Names and sizes of all files in short.
        empty: How many texts were empty and are left out.
    """

    place: Path
    rows: tuple[TextRow, ...]
    fingerprint: str
    empty: int = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """What of the data is not used, a line each."""
        return (f"empty texts, which are left out: {self.empty:,}",) if self.empty else ()


def find_labelled_texts(place: str | Path, *, text_field: str = "", label_field: str = "") -> FoundTexts:
    """Read the texts of a place with their labels.

    Args:
        place: A table, see :func:`focalnets.data.text.tables.read_table`; a folder of tables; or a folder with a folder
            of ``.txt`` files for each class. Tables and folders may be called like parts of a data set.
        text_field: Column of tables that holds the text, see :func:`focalnets.data.text.tables.read_table`.
        label_field: Likewise for the label.

    Raises:
        DataError: If there is no such place, it holds no labelled texts, or one cannot be read.
    """
    path = user_path(place)
    if not is_there(path):
        raise DataError(f"there is no file or folder '{place}'; name a table of texts, e.g. messages.csv.")
    if path.is_file():
        tables: dict[Path, SplitRole | None] = {path: None}
    else:
        tables = table_files(path)
    if tables:
        files = list(tables)
        rows = []
        for file, role in tables.items():
            read = read_table(file, text_field=text_field, label_field=label_field)
            rows += [row._replace(split=row.split or role) for row in read]
    else:
        files, rows = _read_folders(path)
    if not rows:
        raise DataError(
            f"'{place}' holds no labelled texts; expected a table ({', '.join(TABLE_ENDINGS)}) or a folder of .txt "
            "files for each class."
        )
    filled = tuple(row for row in rows if row.text)
    if not filled:
        raise DataError(f"all {len(rows):,} texts of '{place}' are empty; give texts, or name their --text_field.")
    return FoundTexts(path, filled, _fingerprint(path, files), len(rows) - len(filled))


def split_rows(
    found: FoundTexts, *, val_fraction: float, seed: int, unit: str = "texts"
) -> tuple[list[TextRow], list[TextRow], tuple[str, ...], str, tuple[str, ...]]:
    """Divide texts into those to learn from and those held out.

    Where the place says nothing, the same fraction of each class is held out, chosen by seed and texts alone; the same
    text is never on both sides.

    Args:
        found: The texts.
        val_fraction: Fraction that is held out.
        seed: Chooses another split.
        unit: What messages call them.

    Returns:
        Texts to learn from, texts held out, names of the classes, the split in words, and what is not used.

    Raises:
        DataError: If there are fewer than two classes, or one is held out that is not learnt.
    """
    place, rows = found.place, found.rows
    parts = {role: [row for row in rows if row.split == role] for role in {row.split for row in rows}}
    notes: tuple[str, ...] = ()
    if "train" in parts and len(parts) > 1 and None not in parts:
        held_out: SplitRole = "val" if "val" in parts else "test"
        if held_out == "val" and "test" in parts:
            notes = (f"{unit} of test, which are not used: {len(parts['test']):,}",)
        train, val, words = parts["train"], parts[held_out], f"{unit} of train and {held_out}"
    else:
        train, val, words = _split_by_text(rows, str(place), val_fraction, seed, unit)
    classes = tuple(sorted({row.label for row in train}, key=natural_key))
    alone = sorted({row.label for row in val} - set(classes), key=natural_key)
    if alone:
        raise DataError(f"'{place}' holds out classes that it does not train: {quoted_list(alone)}.")
    if len(classes) < 2:
        raise DataError(f"'{place}' holds only the class '{classes[0]}', expected two or more.")
    return train, val, classes, words, notes


def held_out_rows(found: FoundTexts) -> list[TextRow]:
    """Choose the texts of a place that a network is measured on: those marked as held out, or all where none are."""
    roles = {row.split for row in found.rows}
    chosen = next((role for role in ("val", "test") if role in roles), None) if len(roles) > 1 else None
    return [row for row in found.rows if chosen is None or row.split == chosen]


def table_files(folder: Path) -> dict[Path, SplitRole | None]:
    """List the tables that lie in a folder, each with the part of the data that its name means.

    Of several files for one part the one that is meant comes alone, see :mod:`focalnets.data.split_names`.
    """
    files = [Path(entry.path) for entry in list_folder(folder) if not is_folder(entry)]
    tables = [file for file in files if file.name.lower().endswith(TABLE_ENDINGS) and not file.name.startswith(".")]
    stems = {file: file.name.partition(".")[0] for file in tables}
    roles = {file: role_of_name(stem) for file, stem in stems.items()}
    if "train" not in roles.values() or len(set(roles.values()) - {None}) < 2:
        return dict.fromkeys(tables)
    first = {}
    for role in ("train", "val", "test"):
        named = [file for file in tables if roles[file] == role]
        if named:
            first[min(named, key=lambda file: rank_of_name(stems[file]))] = role
    return first  # type: ignore[return-value]


def class_folders(
    folder: Path, endings: tuple[str, ...] = TEXT_FILE_ENDINGS
) -> dict[SplitRole | None, dict[str, list[Path]]]:
    """List the files with such endings by part and class.

    Empty where there are no two folders with any to learn from, or a part that is held out has none.
    """
    inner = _folders(folder)
    parts: dict[SplitRole | None, dict[str, list[Path]]] = {}
    named = {name: role for name in inner if (role := role_of_name(name))}
    if "train" in named.values() and len(set(named.values())) > 1:
        for role in ("train", "val", "test"):
            chosen = min((name for name in named if named[name] == role), key=rank_of_name, default=None)
            if chosen is not None:
                parts[role] = _files_by_class(inner[chosen], endings)  # type: ignore[index]
    else:
        parts[None] = _files_by_class(folder, endings)
    seen = all(len(classes) > (role is None or role == "train") for role, classes in parts.items())
    return parts if seen else {}


def begins_with(folder: Path, endings: tuple[str, ...]) -> bool:
    """Tell whether the first file found in a folder below this one has such an ending, without listing all."""
    for place, _, files in os.walk(folder):
        shown = [name for name in files if not name.startswith(".")]
        if shown and Path(place) != folder:
            return shown[0].lower().endswith(endings)
    return False


def _split_by_text(
    rows: Sequence[TextRow], place: str, val_fraction: float, seed: int, unit: str
) -> tuple[list[TextRow], list[TextRow], str]:
    labels = sorted({row.label for row in rows}, key=natural_key)
    texts = {label: list(dict.fromkeys(row.text for row in rows if row.label == label)) for label in labels}
    _, val, words = split_by_class(
        texts,
        place=place,
        name_of=str,
        val_fraction=val_fraction,
        seed=seed,
        what=f"different {_ONE.get(unit, unit)}",
    )
    # A text with several labels is held out with all of them or with none.
    held_out = {text for chosen in val.values() for text in chosen}
    train = [row for row in rows if row.text not in held_out]
    missing = set(labels) - {row.label for row in train}
    if missing:
        raise DataError(f"'{place}' holds no {unit} of the class '{min(missing)}' that have no other label as well.")
    return train, [row for row in rows if row.text in held_out], words


def _read_folders(folder: Path) -> tuple[list[Path], list[TextRow]]:
    files, rows = [], []
    for role, classes in class_folders(folder).items():
        for label, members in classes.items():
            files += members
            for file in members:
                rows.append(TextRow(read_file(file).strip(), label, role, file.relative_to(folder).as_posix()))
    return files, rows


def _folders(folder: Path) -> dict[str, Path]:
    entries = [entry for entry in list_folder(folder) if is_folder(entry) and not is_no_data_folder(entry.name)]
    return {entry.name: Path(entry.path) for entry in entries}


def _files_by_class(folder: Path, endings: tuple[str, ...]) -> dict[str, list[Path]]:
    found = {}
    for name, inner in _folders(folder).items():
        files = [Path(entry.path) for entry in list_folder(inner) if entry.name.lower().endswith(endings)]
        if files:
            found[name] = files
    return found


def _fingerprint(place: Path, files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        name = file.relative_to(place).as_posix() if file != place else file.name
        digest.update(f"{name}\0{file.stat().st_size}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
