"""Short series of two channels: slow and fast waves, of several lengths, the same at every call."""

from __future__ import annotations

import numpy as np

CHANNELS = ("left", "right")


def waves(count=60, seed=0):
    """Return arrays (T, 2) with what they are, in turn."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        label = ("slow", "fast")[number % 2]
        time = np.arange(40 if number < 2 else random.integers(24, 41)) + random.uniform(0, 40)
        wave = np.sin(time * (0.2 if label == "slow" else 0.9))
        values = np.stack([wave, 3 * wave + 10], 1) + random.normal(0, 0.2, (len(time), 2))
        rows.append((values.round(5), label))
    return rows


def write_waves(folder, count=60, seed=0):
    """Write a folder of CSV files for each class; returns the folder."""
    for number, (values, label) in enumerate(waves(count, seed)):
        (folder / label).mkdir(parents=True, exist_ok=True)
        lines = [",".join(CHANNELS), *(",".join(f"{cell:g}" for cell in row) for row in values)]
        (folder / label / f"{number}.csv").write_text("\n".join(lines))
    return folder
