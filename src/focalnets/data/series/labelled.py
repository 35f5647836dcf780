"""Series with labels: found in a place, divided into what is learnt from and what is held out.

A place is a folder with a folder of files for each class, a table that lists files, or a NumPy archive.

Axes: T positions, C channels, N series.
"""

from __future__ import annotations

import dataclasses
import hashlib
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from focalnets.data.finding import is_folder, list_folder
from focalnets.data.series.reading import (
    SERIES_ENDINGS,
    Series,
    as_series,
    check_channels,
    in_channel_order,
    numbered_channels,
    numpy_file,
    read_series,
)
from focalnets.data.split_names import SplitRole, role_of_name
from focalnets.data.tables import PATH_NAMES, find_columns, table_rows
from focalnets.data.text.labelled import FoundTexts, begins_with, class_folders
from focalnets.data.text.tables import TextRow
from focalnets.errors import DataError
from focalnets.files import is_there, user_path

__all__ = ["FoundSeries", "LabelledSeries", "find_labelled_series", "find_series", "recognise_labelled_series"]

_PARTS: tuple[SplitRole, ...] = ("train", "val", "test")


@dataclasses.dataclass(frozen=True, eq=False)
class FoundSeries:
    """The labelled series of a place.

    Attributes:
        series: All of them by name.
        rows: Label and part of each, as of texts; in place of the text stands what tells equal series.
        channels: What the channels are called.
        notes: What was filled in, a line each.
    """

    series: Mapping[str, Series]
    rows: FoundTexts
    channels: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def in_order(self, channels: Sequence[str]) -> FoundSeries:
        """Give the series with their columns in the order of a network's channels.

        Raises:
            DataError: If they have other channels.
        """
        series = {name: in_channel_order(each, channels) for name, each in self.series.items()}
        return dataclasses.replace(self, series=series, channels=tuple(channels))


class LabelledSeries:
    """Series with the index of their class; see :class:`focalnets.data.labelled.LabelledData`.

    Args:
        found: The series.
        rows: Those that are meant.
        index: The class of each label.
        notes: What of the data is not used, a line each.
        learnt_from: The series that a network was trained on, where these are what was held out.
    """

    def __init__(
        self,
        found: FoundSeries,
        rows: Sequence[TextRow],
        index: Mapping[str, int],
        notes: Sequence[str] = (),
        *,
        learnt_from: LabelledSeries | None = None,
    ) -> None:
        self.series = tuple(found.series[row.name] for row in rows)
        self.names = tuple(row.name for row in rows)
        self.class_of = [index[row.label] for row in rows]
        self.length_of = [len(each.values) for each in self.series]
        self.channels, self.notes = found.channels, tuple(notes)
        self.classes, self.learnt_from = tuple(index), learnt_from

    def __len__(self) -> int:
        return len(self.series)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        return self.series[index].values, self.class_of[index]


def find_labelled_series(place: str | Path) -> FoundSeries:
    """Read the series of a place with their labels.

    Args:
        place: A folder with a folder of :data:`focalnets.data.series.reading.SERIES_ENDINGS` for each class, which may
            lie in ``train/`` and ``val/``; a table with columns for a file and a label; or an ``.npz`` with ``x``
            (N, T, C) and ``y`` (N,), or with ``x_train``, ``y_train``, ``x_val``, ``y_val`` and so on.

    Raises:
        DataError: If there is no such place, it holds no labelled series, one cannot be read, or they differ in their
            channels.
    """
    path = user_path(place)
    if not is_there(path):
        raise DataError(f"there is no file or folder '{place}'; name a folder, table or .npz of series.")
    files = [path]
    if path.is_file():
        if path.name.lower().endswith(".npy"):
            raise DataError(
                f"'{place}' is one array; expected a folder of them for each class, or an .npz with x and y."
            )
        read = _archived(path) if path.name.lower().endswith(".npz") else _listed(path)
    else:
        parts = class_folders(path, SERIES_ENDINGS)
        files = [file for classes in parts.values() for members in classes.values() for file in members]
        read = [
            (read_series(file, file.relative_to(path).as_posix()), label, role)
            for role, classes in parts.items()
            for label, members in classes.items()
            for file in members
        ]
    if not read:
        raise DataError(
            f"'{place}' holds no labelled series; expected a folder of {', '.join(SERIES_ENDINGS)} files for each "
            "class, a table of files and labels, or an .npz with x and y."
        )
    series = [each for each, _, _ in read]
    first = series[0]
    check_channels(series, first.values.shape[1], f"'{first.name}' has")
    names = [each.name for each in series]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"'{place}' names '{twice}' more than once; keep one of the lines.")
    channels = first.channels or numbered_channels(first.values.shape[1])
    for each in series:
        if each.channels and each.channels != channels:
            raise DataError(
                f"'{each.name}' names its channels {', '.join(each.channels[:4])}, and '{first.name}' "
                f"{', '.join(channels[:4])}; give all series the same columns."
            )
    rows = tuple(TextRow(_digest(each), label, role, each.name) for each, label, role in read)
    missing = sum(int(np.isnan(each.values).any()) for each in series)
    notes = (f"series with missing numbers, which count as the mean of their channel: {missing:,}",) if missing else ()
    found = FoundTexts(path, rows, _fingerprint(path, files, rows))
    return FoundSeries({each.name: each for each in series}, found, channels, notes)


def find_series(given: Sequence[Any]) -> tuple[list[Series], list[tuple[str, str]]]:
    """Read series without labels: files, folders of files, archives with ``x``, and arrays (T, C).

    Returns:
        The series, and each path or series that cannot be read with the reason.
    """
    found: list[Series] = []
    missing: list[tuple[str, str]] = []
    for number, entry in enumerate(given):
        if isinstance(entry, np.ndarray):
            found.append(Series(as_series(entry, f"series {number}"), (), f"series {number}"))
            continue
        path = user_path(entry)
        try:
            _read_unlabelled(path, found, missing)
        except DataError as error:
            missing.append((str(entry), str(error)))
    return found, missing


def recognise_labelled_series(place: str | Path) -> str:
    """Say in words which labelled series a place holds; empty if it holds none."""
    path = user_path(place)
    if "://" in str(place) or not is_there(path):
        return ""
    try:
        if path.is_dir():
            parts = class_folders(path, SERIES_ENDINGS) if begins_with(path, SERIES_ENDINGS) else {}
            inner = {file.parent for classes in parts.values() for members in classes.values() for file in members}
            names = [entry.name.lower() for each in inner for entry in list_folder(each) if not is_folder(entry)]
            fits = all(name.endswith(SERIES_ENDINGS) or name.startswith(".") for name in names)
            return "a folder of series for each class" if parts and fits else ""
        if path.name.lower().endswith(".npz"):
            return "an archive of series"
        if not path.name.lower().endswith((".csv", ".tsv")):
            return ""
        rows = table_rows(path, "file,label")
        heading = [name.lower() for name in next(rows)[1]]
        places = [place for place, name in enumerate(heading) if name in PATH_NAMES]
        first = next(rows, None)
        listed = bool(places) and first is not None and first[1][places[0]].lower().endswith(SERIES_ENDINGS)
        return "a table of series with labels" if listed else ""
    except (DataError, OSError):  # whoever opens it says what is wrong
        return ""


def _listed(table: Path) -> list[tuple[Series, str, SplitRole | None]]:
    """Read the series that a table names, with paths from its folder on."""
    lines = table_rows(table, "file,label")
    columns = find_columns(next(lines)[1], table, {"path": True, "label": True, "split": False})
    read = []
    for number, cells in lines:
        where, name, label = f"line {number} of '{table}'", cells[columns["path"]], cells[columns["label"]]
        if not name or not label:
            raise DataError(f"{where} has an empty file or label; fill it in or remove the line.")
        role = role_of_name(cells[columns["split"]]) if "split" in columns else None
        if "split" in columns and role is None:
            raise DataError(f"{where} has the split '{cells[columns['split']]}', expected train, val or test.")
        if not is_there(table.parent / name) or not name.lower().endswith(SERIES_ENDINGS):
            raise DataError(
                f"{where} names '{name}', which is no file of a series ({', '.join(SERIES_ENDINGS)}) in "
                f"'{table.parent}'."
            )
        read.append((read_series(table.parent / name, name), label, role))
    return read


def _archived(file: Path) -> list[tuple[Series, str, SplitRole | None]]:
    """Read the series of a NumPy archive."""
    arrays = _arrays(file)
    suffixes: dict[str, SplitRole | None] = {"": None, **{f"_{part}": part for part in _PARTS}}
    read = []
    for suffix, role in suffixes.items():
        inputs, labels = (arrays.get(f"{name}{suffix}") for name in ("x", "y"))
        if inputs is None and labels is None:
            continue
        if inputs is None or labels is None or not inputs.ndim or labels.shape != inputs.shape[:1]:
            raise DataError(f"'{file}' must have as many labels y{suffix} (N,) as series x{suffix} (N, T, C).")
        words = [
            label.decode("utf-8", "backslashreplace") if isinstance(label, bytes) else str(label)
            for label in labels.tolist()
        ]
        for number, (values, label) in enumerate(zip(inputs, words, strict=True)):
            name = f"{file.name} {role or 'series'} {number}"
            read.append((Series(as_series(values, f"series {number} of '{file}'"), (), name), label, role))
    if not read:
        raise DataError(f"'{file}' holds {', '.join(arrays) or 'nothing'}; expected x (N, T, C) and y (N,).")
    return read


def _read_unlabelled(path: Path, found: list[Series], missing: list[tuple[str, str]]) -> None:
    """Add the series of a path to those found, and those of it that cannot be read to what is missing.

    Raises:
        DataError: If it leads to none.
    """
    if not is_there(path):
        raise DataError(f"there is no file or folder '{path}'; check the path.")
    if path.is_dir():
        files = [Path(entry.path) for entry in list_folder(path) if entry.name.lower().endswith(SERIES_ENDINGS)]
        if not files:
            raise DataError(f"the folder '{path}' holds no series; expected {', '.join(SERIES_ENDINGS)} files.")
        for file in files:
            try:
                found.append(read_series(file, str(file)))
            except DataError as error:
                missing.append((str(file), str(error)))
        return
    if path.name.lower().endswith(".npz"):
        inputs = _arrays(path).get("x")
        if inputs is None or inputs.ndim not in (2, 3):
            raise DataError(f"'{path}' must hold x (N, T, C).")
        if not len(inputs):
            raise DataError(f"'{path}' holds no series: its x has the shape {inputs.shape}, expected (N, T, C).")
        for number, values in enumerate(inputs):
            name = f"{path} series {number}"
            try:
                found.append(Series(as_series(values, f"series {number} of '{path}'"), (), name))
            except DataError as error:
                missing.append((name, str(error)))
        return
    if not path.name.lower().endswith(SERIES_ENDINGS):
        raise DataError(f"'{path}' is no series; expected {', '.join(SERIES_ENDINGS)} or .npz.")
    found.append(read_series(path, str(path)))


def _arrays(file: Path) -> dict[str, np.ndarray]:
    with numpy_file(file) as opened:
        if isinstance(opened, np.ndarray):
            raise DataError(f"'{file}' is a single array; expected an archive with x and y, see numpy.savez.")
        try:
            return {name: opened[name] for name in opened.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(
                f"'{file}' holds what is no plain array of numbers or texts ({error!s:.100}); write it without objects."
            ) from error


def _digest(series: Series) -> str:
    """Put what tells series apart in short: what float32 holds, unless a channel would lose how it changes."""
    values = np.ascontiguousarray(series.values, np.float32)
    lost = np.nan_to_num(np.abs(series.values - values)).max(0)
    if (lost > 1e-3 * _spread(series.values)).any():
        values = np.ascontiguousarray(series.values)
    return hashlib.sha256(repr(values.shape).encode() + values.tobytes()).hexdigest()


def _spread(values: np.ndarray) -> np.ndarray:
    """Measure how much each channel changes (C,); infinite where it is constant or nothing is known of it."""
    filled = ~np.isnan(values)
    spread = np.where(filled, values, -np.inf).max(0) - np.where(filled, values, np.inf).min(0)
    return np.where(spread > 0, spread, np.inf)


def _fingerprint(place: Path, files: Sequence[Path], rows: Sequence[TextRow]) -> str:
    """Put names, labels and numbers of all series in short."""
    digest = hashlib.sha256()
    for file in files:
        name = file.relative_to(place).as_posix() if file != place else file.name
        digest.update(f"{name}\0{file.stat().st_size}\n".encode("utf-8", "surrogateescape"))
    for row in rows:
        digest.update(f"{row.text} {row.label}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
