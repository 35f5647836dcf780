"""Attributes of images, such as where a photo was taken, from a CSV file with a line for each image."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from focalnets.data.samples import ImageFile
from focalnets.data.shards.members import ShardMember
from focalnets.data.tables import find_columns, table_rows
from focalnets.errors import DataError
from focalnets.files import user_path

__all__ = ["Attributes", "read_attributes"]


@dataclasses.dataclass(frozen=True, eq=False)
class Attributes:
    """Attributes of files, as a table says.

    Attributes:
        path: The table.
        names: Of the attributes, in the order of its columns.
        values: By key of a file, the value of each attribute; empty where it is not known.
    """

    path: Path
    names: tuple[str, ...]
    values: Mapping[str, Sequence[str]]

    def of(self, files: Sequence[ImageFile]) -> dict[str, list[str]]:
        """Return the values of each attribute for these files, empty where they are not known.

        Raises:
            DataError: If the table names none of the files.
        """
        rows = [self.values.get(_key(file)) for file in files]
        if all(row is None for row in rows):
            raise DataError(
                f"'{self.path}' names none of the {len(files):,} images, of which the first is '{files[0]}'; "
                "paths count from the CSV file's folder, and those in shards from the shards'."
            )
        return {name: ["" if row is None else row[column] for row in rows] for column, name in enumerate(self.names)}


def read_attributes(path: str | os.PathLike[str]) -> Attributes:
    """Read attributes of images.

    The first line names the columns: a path (relative to the CSV file's folder, or within shards) and any number of
    attributes. An empty cell says that the value is not known.

    Raises:
        DataError: If the file is missing, no such table, or names an image twice.
    """
    path = user_path(path)
    rows = table_rows(path, "path,camera,place")
    header = next(rows)[1]
    place = find_columns(header, path, {"path": True})["path"]
    columns = [number for number in range(len(header)) if number != place]
    names = tuple(header[number] for number in columns)
    if not names or not all(names) or len(set(names)) != len(names):
        raise DataError(
            f"line 1 of '{path}' must name a path and one or more attributes, each once; got {','.join(header)}."
        )
    values: dict[str, Sequence[str]] = {}
    lines: dict[str, int] = {}
    folder = os.path.realpath(path.parent)
    for line, cells in rows:
        if not cells[place]:
            raise DataError(f"line {line} of '{path}' has an empty {header[place]}; fill it in or remove the line.")
        row = [cells[number] for number in columns]
        for key in {os.path.realpath(os.path.join(folder, cells[place])), cells[place]}:  # noqa: PTH118
            if key in lines:
                raise DataError(
                    f"line {line} of '{path}' repeats '{cells[place]}' of line {lines[key]}; keep one of them."
                )
            values[key], lines[key] = row, line
    return Attributes(path, names, values)


def _key(file: ImageFile) -> str:
    return file.name_in_shards if isinstance(file, ShardMember) else os.path.realpath(file)
