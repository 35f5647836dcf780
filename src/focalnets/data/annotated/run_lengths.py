"""Masks as run lengths: made from pixels, and read from CVAT's.

Axes: H W height and width, h w of a part [px], R runs.
"""

from __future__ import annotations

import numpy as np

__all__ = ["part_of_rows", "run_lengths_of"]


def run_lengths_of(part: np.ndarray, left: int, top: int, width: int, height: int) -> np.ndarray:
    """Count the pixels of a mask down its columns, in turn outside and on the object.

    Args:
        part: Booleans (h, w); everything around them is outside.
        left: Column of its first pixel.
        top: Row of its first pixel.
        width: Of the whole mask [px].
        height: Of the whole mask [px].

    Returns:
        (R,) uint32; they cover the whole mask, as those of :class:`focalnets.data.annotated.encoded_masks.EncodedMask`.
    """
    if not part.size:
        return np.array([width * height], dtype=np.uint32)
    framed = np.zeros((part.shape[1], part.shape[0] + 2), dtype=np.int8)
    framed[:, 1:-1] = part.T
    columns, rows = np.nonzero(np.diff(framed, axis=1))
    places = (columns + left) * height + rows + top
    runs = np.diff(places, prepend=0, append=width * height)
    return runs.astype(np.uint32)


def part_of_rows(counts: np.ndarray, width: int, height: int) -> np.ndarray:
    """Draw runs that go along the rows of a part, in turn outside and inside.

    Args:
        counts: (R,) int64, from 0 up; they cover the part exactly.
        width: Of the part [px].
        height: Of the part [px].

    Returns:
        Booleans (h, w).
    """
    return np.repeat(np.arange(counts.size) % 2 == 1, counts).reshape(height, width)
