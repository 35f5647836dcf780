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

__all__ = [
    "SERIES_ENDINGS",
    "Series",
    "as_series",
    "channel_order",
    "check_channels",
    "in_channel_order",
    "numbered_channels",
    "numpy_file",
    "read_series",
    "refuse_other_count",
]

SERIES_ENDINGS = (".csv", ".tsv", ".npy")
"""Endings of files that hold one series."""

_MISSING = ("", "nan", "na", "n/a", "null", "none", "?", "-")
"""What a cell without a number may hold, in small letters."""


@dataclasses.dataclass(frozen=True, eq=False)
class Series:
    """A series of numbers.

    Attributes:
        values: (T, C), float32, or float64 where they were given more precisely; NaN where a number is missing.
        channels: What its channels are called; empty where nobody says.
        name: What messages call it.
    """

    values: np.ndarray
    channels: tuple[str, ...]
    name: str


def read_series(file: Path, name: str = "") -> Series:
    """Read a series from a CSV file with a column a channel, or from a NumPy file (T, C) or (T,).

    The first line of a CSV file names the channels unless all of it are numbers. Missing numbers are empty cells or
    ``nan``; a line without anything in it is a position at which all are missing, except at the end.

    Raises:
        DataError: If the file cannot be read, is empty, or holds something else.
    """
    name = name or file.name
    if file.name.lower().endswith(".npy"):
        with numpy_file(file) as found:
            if not isinstance(found, np.ndarray):
                raise DataError(f"'{file}' is an archive of arrays; name it .npz, or write one array, see numpy.save.")
            return Series(as_series(found, f"'{file}'"), (), name)
    rows = [cells for _, cells in table_cells(file, keep_empty=True)]
    if len(rows) > 6 and not any(any(cells) for cells in rows[1::2]):  # doubled ends of lines, no gaps
        rows = rows[::2]
    start = next((line for line, cells in enumerate(rows) if any(cells)), None)
    if start is None:
        raise DataError(f"'{file}' holds no numbers; expected a line for each position with a column for each channel.")
    heading: tuple[str, ...] = ()
    if any(_number(cell) is None for cell in rows[start]):
        heading, rows = tuple(rows[start]), rows[start + 1 :]
        if len({each.lower() for each in heading}) < len(heading):
            raise DataError(f"line 1 of '{file}' names a channel twice ({quoted_list(heading)}); rename one.")
    values = np.full((len(rows), max(map(len, rows), default=0)), np.nan)
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


def numbered_channels(count: int) -> tuple[str, ...]:
    """Make up what channels are called that nobody named."""
    return tuple(f"channel {number}" for number in range(1, count + 1))


def refuse_other_count(count: int, wanted: Sequence[str], where: str) -> None:
    """Refuse another number of channels than a network reads.

    Raises:
        DataError: With the names of those that it reads.
    """
    if count != len(wanted):
        raise DataError(
            f"{where} has {count} channels, but the network reads {len(wanted)} ({', '.join(wanted[:4])}"
            f"{' and others' if len(wanted) > 4 else ''}); give it the same columns."
        )


def channel_order(found: Sequence[str], wanted: Sequence[str], where: str) -> list[int]:
    """Find where channels stand by their names, in any case; where either side has made-up names, by their places.

    Args:
        found: What the channels are called.
        wanted: What the network's are called.
        where: What has them, for the message.

    Raises:
        DataError: If there are more or fewer, or others.
    """
    refuse_other_count(len(found), wanted, where)
    have, need = ([name.strip().lower() for name in names] for names in (found, wanted))
    if sorted(have) == sorted(need):
        return list(range(len(have))) if have == need else [have.index(name) for name in need]
    if list(numbered_channels(len(found))) in (have, need):
        return list(range(len(found)))
    raise DataError(
        f"{where} has the channels {quoted_list(found)}, but the network reads {quoted_list(wanted)}; give it the same "
        "columns."
    )


def in_channel_order(series: Series, wanted: Sequence[str]) -> Series:
    """Put the columns of a series into the order of a network's channels, see :func:`channel_order`.

    Raises:
        DataError: If it has other channels.
    """
    found = series.channels or numbered_channels(series.values.shape[1])
    order = channel_order(found, wanted, f"'{series.name}'")
    if order == list(range(len(order))):
        return series
    channels = tuple(found[place] for place in order)
    return dataclasses.replace(series, values=np.ascontiguousarray(series.values[:, order]), channels=channels)


def as_series(values: np.ndarray, where: str) -> np.ndarray:
    """Turn numbers (T, C) or (T,) into float32 or float64 (T, C), without what only fills up the end.

    Those that float32 holds exactly by their type become float32, all others float64.

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
    exact = np.can_cast(values.dtype, np.float32, "safe")
    numbers = values.astype(np.float32 if exact else np.float64)
    if (np.abs(numbers) > np.finfo(np.float32).max).any():
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
