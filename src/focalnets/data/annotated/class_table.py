"""Which number or colour in a mask stands for which class: tables in json, yaml, csv and text.

Axes: H W height and width [px].
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from focalnets.data.annotated.objects import Category
from focalnets.data.annotated.problems import abridge
from focalnets.errors import DataError

__all__ = ["ClassTable", "find_class_table", "read_text"]

Colour = tuple[int, int, int]

LARGEST_NUMBER = 65_535
"""Largest number that a class may have in masks."""

_MOST_CLASSES = 4096
_MOST_BYTES = 4_000_000
_DEEPEST = 32
_IGNORED_NAMES = ("unlabelled", "unlabeled", "void", "ignore", "ignored", "__ignore__", "_ignore_", "don't care")
_BACKGROUND_NAMES = ("background", "_background_", "__background__", "none", "nothing")
_FILES = (
    "classes.json", "classes.yaml", "classes.yml", "class_dict.csv", "classes.csv", "_classes.csv", "labelmap.txt",
    "classes.txt", "class_names.txt", "labels.txt",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class ClassTable:
    """What masks are made of.

    Attributes:
        names: Name of each class by its number in masks.
        colours: Number of each colour, where masks are in colour.
    """

    names: Mapping[int, str]
    colours: Mapping[Colour, int] = dataclasses.field(default_factory=dict)

    @property
    def background(self) -> int | None:
        """Number of the class that is called background, or like that; None for none."""
        return next((number for number, name in self.names.items() if is_background(name)), None)

    def categories(self, *, background: bool) -> list[Category]:
        """List the classes in the order of their numbers, without those to ignore.

        Args:
            background: Whether a background is a class too.
        """
        return [
            Category(number, name, thing=not is_background(name))
            for number, name in sorted(self.names.items())
            if not is_ignored(name) and (background or not is_background(name))
        ]

    def numbers_of(self, colours: np.ndarray) -> np.ndarray:
        """Read the numbers that colours (H, W, 3) uint8 stand for, (H, W) int32; -1 for unknown ones.

        Raises:
            DataError: If the table gives no colours.
        """
        codes = colours.astype(np.int32) @ np.array([65536, 256, 1], dtype=np.int32)
        known = sorted((red << 16 | green << 8 | blue, number) for (red, green, blue), number in self.colours.items())
        keys = np.array([code for code, _ in known], dtype=np.int32)
        values = np.array([number for _, number in known], dtype=np.int32)
        places = np.searchsorted(keys, codes).clip(max=len(keys) - 1)
        return np.where(keys[places] == codes, values[places], np.int32(-1))


def is_ignored(name: str) -> bool:
    """Whether a class of that name is none: pixels of which nothing is said."""
    return name.casefold() in _IGNORED_NAMES


def is_background(name: str) -> bool:
    """Whether a class of that name is where nothing is to be found."""
    return name.casefold() in _BACKGROUND_NAMES


def find_class_table(folders: Sequence[Path]) -> ClassTable | None:
    """Read the first table of classes that lies in one of these folders, which are tried in turn.

    Raises:
        DataError: If it is not as expected.
    """
    for folder in folders:
        for name in _FILES:
            if (folder / name).is_file():
                return _read_table(folder / name)
    return None


def read_text(file: Path, *, most_bytes: int = _MOST_BYTES, kind: str = "text in UTF-8") -> str:
    """Read a small text file, with or without a byte order mark.

    Raises:
        DataError: If it cannot be read, is too large or no UTF-8.
    """
    try:
        if not file.is_file():
            raise DataError(f"'{file}' is no regular file; expected {kind}.")
        if file.stat().st_size > most_bytes:
            raise DataError(
                f"'{file}' has {file.stat().st_size / 1e6:.1f} MB, more than the limit of {most_bytes / 1e6:.0f} MB; "
                f"expected {kind}."
            )
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"'{file}' cannot be read ({error}); expected {kind}.") from error


def _read_table(file: Path) -> ClassTable:
    text = read_text(file)
    if file.suffix == ".json":
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DataError(f"'{file}' is no json ({error}); expected a list of names.") from error
        return _from_values(content, file)
    if file.suffix in (".yaml", ".yml"):
        content = read_yaml(text, file)
        inner = next(
            (content[key] for key in ("names", "classes") if isinstance(content, dict) and key in content), None
        )
        return _from_values(content if inner is None else inner, file)
    if file.suffix == ".csv":
        return _from_csv(text, file)
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if file.name == "labelmap.txt":
        return _from_label_map(lines, file)
    if lines and lines[0] == "__ignore__":  # As labelme writes it: the line before number 0.
        lines = lines[1:]
    return _checked(enumerate(lines), {}, file)


def read_yaml(text: str, file: Path) -> Any:
    """Read yaml of plain values; names that stand for others (anchors) are refused, for they can grow without end.

    Raises:
        DataError: If it is no such yaml.
    """
    try:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise DataError(f"'{file}' repeats parts of itself by aliases (*name); write them out.")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST:
                raise ValueError(f"lists and names lie more than {_DEEPEST} deep")
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"'{file}' is no yaml ({reason}); expected names of classes.") from error


def _from_values(content: Any, file: Path) -> ClassTable:
    """From a list of names, a list of entries, or names by number or numbers by name."""
    wanted = (
        f"'{file}' must hold a list of names of classes, the first one for number 0, or a number and a name, and a "
        "colour where masks are in colour, for each."
    )
    pairs: list[tuple[Any, Any]] = []
    colours: dict[Any, Any] = {}
    if isinstance(content, list) and all(isinstance(each, str) for each in content):
        pairs = list(enumerate(content))
    elif isinstance(content, list) and all(isinstance(each, dict) for each in content):
        for place, entry in enumerate(content):
            number = next((entry[key] for key in ("id", "number", "value", "index") if key in entry), place)
            pairs.append((number, entry.get("name", entry.get("label"))))
            colour = entry.get("color", entry.get("colour"))
            if colour is not None:
                colours[_colour(colour, file)] = number
    elif isinstance(content, dict) and all(_is_number(key) for key in content):
        pairs = [(int(key), value) for key, value in content.items()]
    elif isinstance(content, dict) and all(_is_number(value) for value in content.values()):
        pairs = [(int(value), key) for key, value in content.items()]
    if not pairs:
        raise DataError(wanted)
    return _checked(pairs, colours, file)


def _from_csv(text: str, file: Path) -> ClassTable:
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text)) if row]
    except csv.Error as error:
        raise DataError(f"'{file}' is no CSV ({error}); check its quotes.") from error
    heading = [cell.casefold() for cell in rows[0]] if rows else []
    places = {name: heading.index(name) for name in heading}
    name_at = next((places[key] for key in ("name", "class", "label", "class_name") if key in places), None)
    number_at = next((places[key] for key in ("id", "number", "value", "pixel value", "index") if key in places), None)
    colour_at = next((keys for keys in (("r", "g", "b"), ("red", "green", "blue")) if set(keys) <= set(places)), None)
    if name_at is None or not (colour_at or number_at is not None):
        raise DataError(
            f"'{file}' must have a column name and columns r, g, b or id; it has {abridge(', '.join(heading))}."
        )
    pairs: list[tuple[Any, Any]] = []
    colours: dict[Any, Any] = {}
    for place, row in enumerate(rows[1:]):
        if len(row) < len(heading):
            raise DataError(f"'{file}' has a line of {len(row)} cells; expected {len(heading)}, as its first line has.")
        number = place if number_at is None else row[number_at]
        pairs.append((number, row[name_at]))
        if colour_at:
            colours[_colour([row[places[key]] for key in colour_at], file)] = number
    return _checked(pairs, colours, file)


def _from_label_map(lines: Sequence[str], file: Path) -> ClassTable:
    """Lines ``name:red,green,blue:parts:actions``, as CVAT writes them; numbers count from 0 with the background."""
    pairs, colours = [], {}
    for number, line in enumerate(lines):
        name, _, rest = line.partition(":")
        colour = rest.partition(":")[0]
        pairs.append((number, name))
        if colour:
            colours[_colour(colour.split(","), file)] = number
    return _checked(pairs, colours, file)


def _checked(pairs: Any, colours: Mapping[Any, Any], file: Path) -> ClassTable:
    names: dict[int, str] = {}
    for given, name in pairs:
        number = _number(given)
        if number is None or not isinstance(name, str) or not name.strip():
            raise DataError(
                f"'{file}' must give each class a number from 0 to {LARGEST_NUMBER} and a name, got "
                f"{abridge(given)} and {abridge(name)}."
            )
        if names.get(number, name) != name:
            raise DataError(f"'{file}' gives number {number} to two classes; expected another one for each.")
        names[number] = name.strip()
    if not names or len(names) > _MOST_CLASSES:
        raise DataError(f"'{file}' names {len(names)} classes; expected from 1 to {_MOST_CLASSES}.")
    return ClassTable(names, {colour: _number(number) or 0 for colour, number in colours.items()})


def _number(value: Any) -> int | None:
    return int(value) if _is_number(value) and 0 <= int(value) <= LARGEST_NUMBER else None


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        return value.isascii() and value.isdecimal() and len(value) <= 6
    return isinstance(value, int) and not isinstance(value, bool)


def _colour(values: Any, file: Path) -> Colour:
    """Red, green and blue from 0 to 255, as a list or as text of six hexadecimal digits."""
    if isinstance(values, str):
        digits = values.lstrip("#")
        values = [digits[start : start + 2] for start in (0, 2, 4)] if len(digits) == 6 else None
        try:
            values = values and [int(each, 16) for each in values]
        except ValueError:
            values = None
    if not isinstance(values, list) or len(values) != 3 or not all((_number(each) or 0) <= 255 for each in values):
        raise DataError(f"'{file}' must give colours as three numbers from 0 to 255, got {abridge(values)}.")
    numbers = [_number(each) for each in values]
    if None in numbers:
        raise DataError(f"'{file}' must give colours as three numbers from 0 to 255, got {abridge(values)}.")
    return tuple(numbers)  # type: ignore[return-value]
