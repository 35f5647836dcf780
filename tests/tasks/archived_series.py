"""Series of the UCR and UEA archive as the package aeon carries them, read without importing it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np


def aeon_folder():
    """Return where aeon keeps its series; None without it."""
    found = importlib.util.find_spec("aeon")
    return None if found is None else Path(found.origin).parent / "datasets" / "data"


def write_archive(folder, name, file):
    """Write both parts of a data set of series of one length into an ``.npz``, as ``train`` and ``val``; returns it."""
    arrays = {}
    for part, ending in (("train", "TRAIN"), ("val", "TEST")):
        arrays[f"x_{part}"], arrays[f"y_{part}"] = _read(folder / name / f"{name}_{ending}.ts")
    np.savez(file, **arrays)
    return file


def _read(file):
    """Read a ``.ts`` file: behind ``@data`` a series a line, channels between colons, the label last."""
    lines = file.read_text(encoding="utf-8").splitlines()
    begin = next(number for number, line in enumerate(lines) if line.strip().lower() == "@data")
    rows = [line.strip().split(":") for line in lines[begin + 1 :] if line.strip()]
    series = [np.array([channel.split(",") for channel in row[:-1]], dtype=np.float32).T for row in rows]
    return np.stack(series), np.array([row[-1] for row in rows])
