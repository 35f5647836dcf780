"""Tables of images: a CSV file with a path and a label on each line."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from focalnets.data.class_matching import match_classes
from focalnets.data.finding import natural_key
from focalnets.data.samples import ImageFile
from focalnets.data.split_names import role_of_name
from focalnets.data.splits import (
    EvaluationFolder,
    ImageFolders,
    labelled,
    require_fraction,
    split_by_class,
    with_labels,
)
from focalnets.errors import DataError, quoted_list
from focalnets.files import is_there, user_path

__all__ = ["PATH_NAMES", "find_columns", "is_table", "open_evaluation_table", "open_image_table", "table_rows"]

_COLUMNS = {
    "path": ("path", "file", "filename", "file_name", "filepath", "image", "image_path"),
    "label": ("label", "class", "class_name", "category", "target"),
    "split": ("split", "set", "subset"),
}
"""What each column may be called, in any case."""

PATH_NAMES = _COLUMNS["path"]

csv.field_size_limit(2**31 - 1)  # usually 131,072 characters, which texts exceed; more does not fit on all systems


def is_table(data: str | Path) -> bool:
    """Whether this names a table of images."""
    return str(data).lower().endswith((".csv", ".tsv"))


def open_image_table(path: str | Path, *, val_fraction: float = 0.2, seed: int = 0) -> ImageFolders:
    """Read which images a CSV file names and say which are held out.

    The first line names the columns: a path (relative to the CSV file's folder), a label, and optionally a split that
    is ``train``, ``val`` or ``test`` or another of the usual words, see :mod:`focalnets.data.split_names`; ``test`` is
    held out where no line is marked ``val``, and not used otherwise. Without it the same images are held out as would
    be from a folder. Lines of one class keep their order.

    Args:
        path: The file, in UTF-8, with commas, semicolons or tabs.
        val_fraction: Share of each class that is held out, above 0 and below 1.
        seed: Chooses another split.

    Raises:
        DataError: If the file is missing, no such table, or a line of it is wrong; the sentence says which line.
        ConfigError: If ``val_fraction`` is out of range.
    """
    require_fraction(val_fraction)
    path = user_path(path)
    sides = _read_table(path)
    base = path.parent
    notes: tuple[str, ...] = ()
    if "train" in sides and len(sides) > 1:
        held_out = "val" if "val" in sides else "test"
        if held_out == "val" and "test" in sides:
            notes = (_unused_test(sides),)
        train, val = sides["train"], sides[held_out]
        alone = sorted(set(val) - set(train), key=natural_key)
        if alone:
            raise DataError(f"'{path}' holds out classes that it does not train: {quoted_list(alone)}.")
        split = f"lines marked train and {held_out}"
    elif len(sides) > 1 or (sides and "" not in sides and "train" not in sides):
        raise DataError(f"'{path}' marks no line as train; expected train and val in its split column.")
    else:
        (images,) = sides.values()
        train, val, split = split_by_class(
            images,
            place=str(path),
            name_of=lambda file: (file.relative_to(base) if file.is_relative_to(base) else file).as_posix(),  # type: ignore[union-attr]
            val_fraction=val_fraction,
            seed=seed,
        )
    if len(train) < 2:
        raise DataError(f"'{path}' holds only the class '{next(iter(train))}', expected two or more.")
    classes = tuple(train)
    return ImageFolders(
        root=path,
        classes=classes,
        train=labelled(train, classes),
        val=labelled(val, classes),
        split=split,
        kind="csv",
        notes=notes,
    )


def open_evaluation_table(path: str | Path, classes: Sequence[str] | None = None) -> EvaluationFolder:
    """The images of a CSV file that a network is measured on: lines marked as held out, or all where none are.

    Args:
        path: The file, see :func:`open_image_table`.
        classes: Names of the network's classes; labels index into them. None takes those in the table.

    Raises:
        DataError: If the file is missing, no such table, or names classes that the network does not have.
    """
    path = user_path(path)
    sides = _read_table(path)
    held_out = next((name for name in ("val", "test") if name in sides), None)
    images = None if held_out is None else sides[held_out]
    if images is None:
        images = next(iter(sides.values()))
    names = tuple(images) if classes is None else tuple(classes)
    labels = match_classes(list(images), names, str(path))
    notes = (_unused_test(sides),) if held_out == "val" and "test" in sides else ()
    return EvaluationFolder(root=path, classes=names, samples=with_labels(images, labels), notes=notes)


def _unused_test(sides: Mapping[str, Mapping[str, Sequence[ImageFile]]]) -> str:
    return f"lines marked test, which are not used: {sum(map(len, sides['test'].values())):,}"


def _read_table(path: Path) -> dict[str, dict[str, list[ImageFile]]]:
    """The images of each split and class; the split is "" where there is no such column. Classes in natural order."""
    rows = table_rows(path, "path,label")
    columns = find_columns(next(rows)[1], path, {"path": True, "label": True, "split": False})
    sides: dict[str, dict[str, list[ImageFile]]] = {}
    seen = _SeenFiles()
    for line, row in rows:
        where = f"line {line} of '{path}'"
        values = {name: row[column] for name, column in columns.items()}
        name, label, word = values["path"], values["label"], values.get("split", "")
        for column, value in (("path", name), ("label", label)):
            if not value:
                raise DataError(f"{where} has an empty {column}; fill it in or remove the line.")
        side = role_of_name(word)
        if "split" in columns and side is None:
            raise DataError(f"{where} has the split '{word}', expected train, val or test.")
        file = path.parent / name
        if not _is_file(file):
            raise DataError(
                f"{where} names '{name}', but there is no file '{file}'; paths count from the CSV file's folder."
            )
        earlier = seen.add(file, name, line, label)
        if earlier is not None:
            contradiction = "" if earlier.label == label else f" with the label '{earlier.label}' instead of '{label}'"
            written = "" if earlier.name == name else f", where it is written '{earlier.name}',"
            raise DataError(
                f"{where} repeats '{name}' of line {earlier.line}{written}{contradiction}; keep one of them."
            )
        sides.setdefault(side or "", {}).setdefault(label, []).append(file)
    if not sides:
        raise DataError(f"'{path}' names no image; expected one on each line below the first.")
    return {side: {name: images[name] for name in sorted(images, key=natural_key)} for side, images in sides.items()}


def table_rows(path: Path, example: str, *, keep_empty: bool = False) -> Iterator[tuple[int, list[str]]]:
    """Read a CSV file: each line's number and its cells without the spaces around them, first the names of columns.

    Args:
        path: The file, in UTF-8, with commas, semicolons or tabs.
        example: What a first line may be, for messages.
        keep_empty: Give lines without anything in them as empty cells in place of leaving them out, those before the
            first filled one without any cell; a file without lines is then no error.

    Raises:
        DataError: If the file is missing, empty or no CSV, or a line has another number of cells than the first.
    """
    lines = csv.reader(io.StringIO(_read_text(path), newline=""), delimiter=_delimiter(path), strict=True)
    columns = 0
    try:
        for row in lines:
            cells = [cell.strip() for cell in row]
            if not any(cells) and (columns or keep_empty):
                if not keep_empty:
                    continue
                cells = [""] * (columns or (len(cells) if len(cells) > 1 else 0))
            if columns and len(cells) != columns:
                raise DataError(
                    f"line {lines.line_num} of '{path}' has {len(cells)} columns, expected {columns} as in the first "
                    "line; put names that hold separators in quotes."
                )
            columns = columns or len(cells) or (0 if keep_empty else 1)
            yield lines.line_num, cells
    except csv.Error as error:
        raise DataError(f"line {lines.line_num} of '{path}' is no CSV ({error}); check its quotes.") from error
    if not columns and not keep_empty:
        raise DataError(f"'{path}' is empty; expected a first line such as {example}.")


@dataclasses.dataclass(frozen=True)
class _Line:
    """Where a table names a file: as what, in which line, with which label."""

    name: str
    line: int
    label: str
    place: str


class _SeenFiles:
    """The files that a table has named so far, told apart by where they really lie."""

    def __init__(self) -> None:
        self._lines: dict[str, list[_Line]] = {}
        self._folders: dict[Path, str] = {}

    def add(self, file: Path, name: str, line: int, label: str) -> _Line | None:
        """Remember a file; returns the line that named it before, by this or another name."""
        if file.is_symlink():
            place = os.path.realpath(file)
        else:
            if file.parent not in self._folders:
                self._folders[file.parent] = os.path.realpath(file.parent)
            place = os.path.join(self._folders[file.parent], file.name)  # noqa: PTH118
        # Names that differ in case or in how accents are stored are one file on some systems and two on others.
        alike = self._lines.setdefault(unicodedata.normalize("NFC", place).casefold(), [])
        for other in alike:
            if other.place == place or Path(other.place).samefile(place):
                return other
        alike.append(_Line(name, line, label, place))
        return None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # A name that no system allows.
        return False


def _read_text(path: Path) -> str:
    if is_there(path) and path.is_dir():
        raise DataError(f"expected a CSV file, but '{path}' is a folder; name the file in it.")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"there is no CSV file '{path}'; check the path.") from None
    except OSError as error:
        raise DataError(f"the CSV file '{path}' cannot be read ({error.strerror}).") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"line {line} of '{path}' is not in UTF-8; save the file again as UTF-8.") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(f"line {line} of '{path}' holds a zero byte; save the file again as UTF-8 text.")
    return text


def _delimiter(path: Path) -> str:
    """The separator that gives the first line with anything in it the most columns."""
    first = _read_text(path).lstrip("\r\n").partition("\n")[0]
    return max((",", ";", "\t"), key=first.count)


def find_columns(header: Sequence[str], path: Path, meanings: Mapping[str, bool]) -> dict[str, int]:
    """Find where path, label and split stand in a table.

    Args:
        header: Names of its columns.
        path: The file, for messages.
        meanings: Which of the three to look for, and whether the table must have each.

    Raises:
        DataError: If one is missing or could be several.
    """
    lowered = [name.lower() for name in header]
    columns: dict[str, int] = {}
    for meaning, needed in meanings.items():
        names = _COLUMNS[meaning]
        found = [index for index, name in enumerate(lowered) if name in names]
        if len(found) > 1:
            raise DataError(
                f"line 1 of '{path}' has {len(found)} columns that could be the {meaning} "
                f"({quoted_list([header[index] for index in found])}); rename all but one."
            )
        if found:
            columns[meaning] = found[0]
        elif needed:
            raise DataError(
                f"line 1 of '{path}' names no column for the {meaning}: it has {quoted_list(header)}, expected one of "
                f"{', '.join(names)}."
            )
    return columns
