"""Resizing as OpenCV does it, to the last bit: detectors that were trained on its pixels are measured on the same.

Axes: H W height and width before, h w after [px], C channels.
"""

from __future__ import annotations

import numpy as np

__all__ = ["resize_as_opencv"]

_ONE = 2048
"""Weights are whole numbers of this fraction."""

_ROWS_AT_ONCE = 128


def resize_as_opencv(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize pixels (H, W, C) uint8 by linear interpolation, without smoothing where they become fewer.

    Source: ``cv2.resize`` with ``INTER_LINEAR`` for 8 bits, whose whole numbers are rounded after each of two passes.

    Returns:
        (height, width, C) uint8.
    """
    left, right, by_left, by_right = _neighbours(width, pixels.shape[1], clamped=True)
    above, below, by_above, by_below = _neighbours(height, pixels.shape[0], clamped=False)
    result = np.empty((height, width, pixels.shape[2]), dtype=np.uint8)
    weights = by_left[:, None], by_right[:, None]
    for start in range(0, height, _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        first, last = int(above[rows].min()), int(below[rows].max()) + 1
        source = pixels[first:last].astype(np.int32)
        across = (source[:, left] * weights[0] + source[:, right] * weights[1]) >> 4
        down = (across[above[rows] - first] * by_above[rows, None, None]) >> 16
        down += (across[below[rows] - first] * by_below[rows, None, None]) >> 16
        result[rows] = ((down + 2) >> 2).clip(0, 255)
    return result


def _neighbours(count: int, length: int, *, clamped: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Places of the two pixels that each new one lies between, and their weights, all int32 (count,).

    Beyond the edges columns take the last pixel alone, rows take it twice with both weights.
    """
    place = ((np.arange(count) + 0.5) * (length / count) - 0.5).astype(np.float32)
    first = np.floor(place).astype(np.int32)
    part = place - first.astype(np.float32)
    if clamped:
        outside = (first < 0) | (first >= length - 1)
        part[outside] = 0
    second = np.rint(part * _ONE).astype(np.int32)
    other = np.rint((np.float32(1) - part) * _ONE).astype(np.int32)
    last = length - 1
    return first.clip(0, last), (first + 1).clip(0, last), other, second
