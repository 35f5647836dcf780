"""The series of a training, the file that says what was held out, and what normalises a series.

Axes: T positions, C channels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from focalnets.data.labelled import TrainingData
from focalnets.data.series.labelled import FoundSeries, LabelledSeries, find_labelled_series
from focalnets.data.series.reading import Series, refuse_other_count
from focalnets.data.text.labelled import split_rows
from focalnets.files import user_path, write_json
from focalnets.models.input_specs import LARGEST_CONTEXT, SeriesInput
from focalnets.tasks.split_files import read_split_file

__all__ = ["LARGEST_NORMALISED", "SeriesTransform", "measure_input", "read_split", "training_data"]

LARGEST_NORMALISED = 1e4
"""Largest size of a normalised number that a network reads."""

_SPLIT_FORMAT = "focalnets.labelled_series"
_FIELDS = {"root": str, "val_fraction": float, "seed": int, "classes": list}


@dataclasses.dataclass(frozen=True, eq=False)
class SeriesTransform:
    """What normalises a series.

    Normalised numbers beyond :data:`LARGEST_NORMALISED` on either side count as that, so that no network overflows.

    Attributes:
        spec: Mean and standard deviation of each channel, and how much is read.
        noise: Standard deviation of what is added to each number, by torch's random numbers.
    """

    spec: SeriesInput
    noise: float = 0.0

    def __call__(self, item: tuple[Any, Any], _index: int) -> tuple[Tensor, int]:
        """Return a series (T, C), float32, with 0 for missing numbers, and its label.

        Raises:
            DataError: If it has another number of channels.
        """
        values, label = item
        refuse_other_count(values.shape[1], self.spec.channels, "a series")
        mean, std = (np.array(each, np.float64) for each in (self.spec.mean, self.spec.std))
        with np.errstate(over="ignore"):  # what becomes infinite is cut off as well
            normalised = (values[: self.spec.length].astype(np.float64) - mean) / std
        limited = np.clip(np.nan_to_num(normalised), -LARGEST_NORMALISED, LARGEST_NORMALISED)
        series = torch.from_numpy(limited.astype(np.float32))
        if self.noise:
            series = series + self.noise * torch.randn(series.shape)
        return series, int(label)


def training_data(
    place: str | Path, *, val_fraction: float, seed: int, channels: Sequence[str] | None = None
) -> TrainingData:
    """Read series and divide them into those to learn from and those held out.

    Args:
        place: As for :func:`focalnets.data.series.labelled.find_labelled_series`.
        val_fraction: Fraction of each class that is held out where the place says nothing about it.
        seed: Chooses what is held out.
        channels: What the channels of a network are called that is to read them; None where there is none yet.

    Raises:
        DataError: If the place holds no labelled series, or series with other channels.
    """
    found: FoundSeries = find_labelled_series(place)
    if channels is not None:
        found = found.in_order(channels)
    train_rows, val_rows, classes, words, unused = split_rows(
        found.rows, val_fraction=val_fraction, seed=seed, unit="series"
    )
    index = {name: number for number, name in enumerate(classes)}
    train = LabelledSeries(found, train_rows, index)
    _, constant = measure_input(train.series, found.channels, 0)
    content = {
        "format": _SPLIT_FORMAT,
        "root": str(user_path(place).resolve()),
        "split": words,
        "val_fraction": val_fraction,
        "seed": seed,
        "classes": list(classes),
    }
    flat = (f"constant channels, which tell nothing: {', '.join(constant[:8])}",) if constant else ()
    return TrainingData(
        labels=classes,
        train=train,
        val=LabelledSeries(found, val_rows, index, learnt_from=train),
        description=str(place),
        notes=(*found.notes, *flat, *unused),
        fingerprint=found.rows.fingerprint,
        write_split=lambda file: write_json(file, content),
    )


def measure_input(series: Sequence[Series], channels: Sequence[str], length: int) -> tuple[SeriesInput, list[str]]:
    """Measure mean and standard deviation of each channel over the series of a training.

    Args:
        series: At least one.
        channels: What their channels are called.
        length: Positions to read; 0 takes the longest.

    Returns:
        How a series is read, and the channels that never change, whose standard deviation counts as 1.
    """
    numbers = len(channels)
    sums, squares, counts = (np.zeros(numbers) for _ in range(3))
    for each in series:
        filled = np.isfinite(each.values)
        sums += np.where(filled, each.values, 0).astype(np.float64).sum(0)
        counts += filled.sum(0)
    mean = sums / np.maximum(counts, 1)
    for each in series:
        squares += np.nansum((each.values.astype(np.float64) - mean) ** 2, 0)
    std = np.sqrt(squares / np.maximum(counts, 1))
    precision = 1e-7 if all(each.values.dtype == np.float32 for each in series) else 1e-12
    flat = std <= precision * np.maximum(np.abs(mean), 1e-30)
    std = np.where(flat, 1.0, std)
    longest = max(len(each.values) for each in series)
    spec = SeriesInput(
        length=min(length or longest, LARGEST_CONTEXT), channels=tuple(channels), mean=tuple(mean.tolist()),
        std=tuple(std.tolist()),
    )  # fmt: skip
    return spec, [channels[place] for place in np.flatnonzero(flat).tolist()]


def read_split(split: Path) -> dict[str, Any]:
    """Read what :func:`training_data` writes.

    Raises:
        DataError: If the file is missing or of another kind.
    """
    return read_split_file(split, _SPLIT_FORMAT, _FIELDS, "labelled series")
