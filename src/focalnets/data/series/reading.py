"""Reading series of numbers: CSV with a column a channel, and NumPy.

Axes: T positions, C channels, N series.
"""

from __future__ import annotations

import contextlib
import dataclasses
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from focalnets.data.text.tables import table_cells
from focalnets.errors import DataError, abridged, quoted_list

__all__ = ["SERIES_ENDINGS", "Series", "as_series", "check_channels", "numpy_file", "read_series"]

SERIES_ENDINGS = (".csv", ".tsv", ".npy")
"""Endings of files that hold one series."""

_MISSING = ("", "nan", "na", "n/a", "null", "none", "?", "-")
"""What a cell without a number may hold, in small letters."""


@dataclasses.dataclass(frozen=True, eq=False)
class Series:
    """A series of numbers.

    Attributes:
        values: (T, C), float32; NaN where a number is missing.
        channels: What its channels are called; empty where nobody says.
        name: What messages call it.
    """

    values: np.ndarray
    channels: tuple[str, ...]
    name: str


def read_series(file: Path, name: str = "") -> Series:
    """Read a series from a CSV file with a column a channel, or from a NumPy file (T, C) or (T,).

    The first line of a CSV file names the channels unless all of it are numbers. Missing numbers are empty cells or
    ``nan``.

    Raises:
        DataError: If the file cannot be read, is empty, or holds something else.
    """
    name = name or file.name
    if file.name.lower().endswith(".npy"):
        with numpy_file(file) as found:
            if not isinstance(found, np.ndarray):
                raise DataError(f"'{file}' is an archive of arrays; name it .npz, or write one array, see numpy.save.")
            return Series(as_series(found, f"'{file}'"), (), name)
    rows = [cells for _, cells in table_cells(file)]
    heading: tuple[str, ...] = ()
    if any(_number(cell) is None for cell in rows[0]):
        heading, rows = tuple(rows[0]), rows[1:]
        if len({each.lower() for each in heading}) < len(heading):
            raise DataError(f"line 1 of '{file}' names a channel twice ({quoted_list(heading)}); rename one.")
    values = np.empty((len(rows), len(rows[0]) if rows else 0), np.float64)
    for line, cells in enumerate(rows):
        for place, cell in enumerate(cells):
            number = _number(cell)
            if number is None:
                where = f"row {line + 1} of '{file}', column {place + 1}"
                raise DataError(f"{where}, holds {abridged(cell)}, expected a number or an empty cell.")
            values[line, place] = number
    return Series(as_series(values, f"'{file}'"), heading, name)


@contextlib.contextmanager
def numpy_file(file: Path) -> Iterator[Any]:
    """Open a NumPy file for the time of a ``with``, an array or an archive of arrays; nothing in it is unpickled.

    Raises:
        DataError: If it cannot be read.
    """
    with contextlib.ExitStack() as stack:
        try:
            # NumPy itself leaves a file open that it cannot read.
            found = np.load(stack.enter_context(open(file, "rb")), allow_pickle=False)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(
                f"'{file}' cannot be read as a NumPy file of numbers ({error!s:.100}); write it again."
            ) from error
        yield found


def _without_padding(values: np.ndarray) -> np.ndarray:
    """Cut what only fills a series (T, C) up at its end: positions at which every channel is missing."""
    filled = np.flatnonzero(~np.isnan(values).all(1))
    return values[: filled[-1] + 1] if len(filled) else values[:0]


def check_channels(series: Sequence[Series], channels: int, expected: str) -> None:
    """Refuse series with another number of channels.

    Args:
        series: All of them.
        channels: How many there must be.
        expected: What has so many, for the message.

    Raises:
        DataError: With the first that differs.
    """
    for each in series:
        if each.values.shape[1] != channels:
            raise DataError(
                f"'{each.name}' has {each.values.shape[1]} channels, expected {channels} as {expected}; give all "
                "series the same columns."
            )


def as_series(values: np.ndarray, where: str) -> np.ndarray:
    """Turn numbers (T, C) or (T,) into float32 (T, C), without what only fills up the end.

    Raises:
        DataError: If they are none, or infinite; ``where`` names the place.
    """
    if values.dtype.kind not in "fiub":
        raise DataError(f"{where} holds {values.dtype} in place of numbers.")
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2:
        raise DataError(f"{where} must be (T, C), positions by channels, got shape {values.shape}.")
    if not values.size:
        raise DataError(f"{where} holds no numbers; expected at least one position with one channel.")
    with np.errstate(over="ignore"):
        numbers = values.astype(np.float32)
    if np.isinf(numbers).any():
        raise DataError(f"{where} holds numbers that are infinite or beyond the range of float32; correct them.")
    numbers = _without_padding(numbers)
    if not len(numbers):
        raise DataError(f"{where} holds missing numbers only.")
    return numbers


def _number(cell: str) -> float | None:
    """Read a cell: NaN where a number is missing, None where it is something else."""
    text = cell.strip()
    if text.lower() in _MISSING:
        return float("nan")
    try:
        return float(text)
    except ValueError:
        return None
