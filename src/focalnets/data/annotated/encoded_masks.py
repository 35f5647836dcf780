"""Polygons and run lengths of COCO files, checked and kept as run lengths.

Polygons are drawn by pycocotools, which is C code that trusts what it gets: corners far outside the image make it write
beyond its memory. Nothing reaches it that was not checked before, and what it returns is checked too.

Axes: H W height and width [px], R runs. Run lengths count pixels down the columns, in turn outside and on the object.
"""

from __future__ import annotations

import dataclasses
from types import ModuleType
from typing import Any

import numpy as np

from focalnets.data.annotated.objects import Box, turned_mask
from focalnets.errors import MissingPackageError

__all__ = [
    "LARGEST_COORDINATE_PX",
    "EncodedMask",
    "encode_segmentation",
    "finite_numbers",
    "polygon_extent",
    "require_pycocotools",
]

LARGEST_COORDINATE_PX = 1e6
"""Corners of polygons and boxes lie at most so far from the corner of the image [px]."""

_LARGEST_DRAWN = 50_000_000
"""Largest H x W on which polygons are drawn [px].

From 3 x 2^24 on, pycocotools may write beyond its memory: it keeps six letters for each run, and no place for the end
of the text where all of them need six.
"""

_LONGEST_OUTLINE_PX = 4_000_000
"""Longest outline of one object, corners counted in [px]: pycocotools takes 80 bytes for each."""

_MERGED_AT_ONCE = 16

_MOST_LETTERS = 6
"""Most letters of one number in compressed run lengths: 30 bits, far more than an image has pixels."""


@dataclasses.dataclass(frozen=True, eq=False)
class EncodedMask:
    """A mask as run lengths, which take little memory.

    Attributes:
        height: Before it is turned [px].
        width: Before it is turned [px].
        runs: (R,) uint32; they cover the mask exactly.
        orientation: How it must be turned to lie on the upright photo, as EXIF counts.
    """

    height: int
    width: int
    runs: np.ndarray
    orientation: int = 1

    def decode(self) -> np.ndarray:
        """Draw it: booleans (H, W), of the upright photo."""
        columns = np.repeat(np.arange(self.runs.size) % 2 == 1, self.runs).reshape(self.width, self.height)
        return turned_mask(np.ascontiguousarray(columns.T), self.orientation)


def require_pycocotools() -> ModuleType:
    """Import what draws polygons.

    Raises:
        MissingPackageError: If it is not installed.
    """
    try:
        from pycocotools import mask
    except ImportError:
        raise MissingPackageError(
            "Polygons in COCO files need pycocotools, which is not installed; pip install 'focalnets[localize]'."
        ) from None
    return mask


def encode_segmentation(segmentation: Any, height: int, width: int) -> EncodedMask | None:
    """Check what an annotation has under ``segmentation``, and encode it.

    Args:
        segmentation: Polygons, which are joined, or run lengths as numbers or as text.
        height: Of the image that was annotated [px].
        width: Of the image that was annotated [px].

    Returns:
        The mask; None where there is neither polygon nor run length.

    Raises:
        ValueError: If it is not as COCO has it; the message is a reason without a full stop.
        MissingPackageError: If there are polygons and pycocotools is not installed.
    """
    if segmentation is None or segmentation == []:
        return None
    if isinstance(segmentation, dict):
        runs = _read_run_lengths(segmentation, height, width)
    elif isinstance(segmentation, list):
        runs = _draw_polygons(segmentation, height, width)
    else:
        raise ValueError("segmentation needs a list of polygons, or size and counts of run lengths")
    _check_runs(runs, height * width)
    return EncodedMask(height, width, runs.astype(np.uint32))


def finite_numbers(values: Any, words: str) -> np.ndarray:
    """Take a list of numbers as float64 (N,).

    Args:
        values: From a json file.
        words: What is expected, for the error.

    Raises:
        ValueError: If it is no list, holds anything but numbers, or one that is not finite or too large.
    """
    if not isinstance(values, list) or not set(map(type, values)) <= {int, float}:
        raise ValueError(words)
    try:
        numbers = np.array(values, dtype=np.float64)
    except OverflowError:
        raise ValueError(words) from None
    if not np.isfinite(numbers).all():
        raise ValueError(words)
    return numbers


def polygon_extent(polygons: list[list[float]], height: int, width: int) -> Box:
    """Find the smallest box around the corners of polygons, within the image."""
    points = np.array([number for polygon in polygons for number in polygon], dtype=np.float64).reshape(-1, 2)
    low, high = points.min(axis=0), points.max(axis=0)
    left, right = np.clip([low[0], high[0]], 0, width).tolist()
    top, bottom = np.clip([low[1], high[1]], 0, height).tolist()
    return left, top, right, bottom


def _draw_polygons(polygons: list[Any], height: int, width: int) -> np.ndarray:
    """Run lengths of what lies in any of the polygons."""
    if height * width > _LARGEST_DRAWN:
        raise ValueError(
            f"polygons are drawn on at most {_LARGEST_DRAWN / 1e6:.0f} megapixels, the image has "
            f"{height * width / 1e6:.1f}"
        )
    corners, outline_px = [], 0.0
    for polygon in polygons:
        numbers = finite_numbers(polygon, "a polygon needs an even number of at least six finite numbers")
        if numbers.size < 6 or numbers.size % 2:
            raise ValueError("a polygon needs an even number of at least six finite numbers")
        if np.abs(numbers).max() > LARGEST_COORDINATE_PX:
            raise ValueError(f"a corner of a polygon lies more than {LARGEST_COORDINATE_PX:.0f} px away")
        steps = np.abs(np.diff(numbers.reshape(-1, 2), axis=0, append=numbers[None, :2]))
        outline_px += float(steps.max(axis=1).sum()) + len(steps)
        corners.append(numbers)
    if outline_px > _LONGEST_OUTLINE_PX:
        raise ValueError(f"its outline is {outline_px:.0f} px long, more than the limit of {_LONGEST_OUTLINE_PX}")
    drawing = require_pycocotools()
    encoded = drawing.frPyObjects(corners, height, width)
    while len(encoded) > 1:  # In rounds: one after the other, each step would walk along all that was joined before.
        encoded = [
            drawing.merge(encoded[start : start + _MERGED_AT_ONCE]) for start in range(0, len(encoded), _MERGED_AT_ONCE)
        ]
    return _runs_in_text(encoded[0]["counts"], height * width)


def _read_run_lengths(segmentation: dict[str, Any], height: int, width: int) -> np.ndarray:
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if not isinstance(size, list) or not set(map(type, size)) <= {int, float} or size != [height, width]:
        raise ValueError(f"its run lengths must be of size {[height, width]}, as the image is")
    if not isinstance(counts, str):
        return finite_numbers(counts, "counts of run lengths needs a text or a list of whole numbers")
    if not counts.isascii():
        raise ValueError("its compressed run lengths hold letters that do not belong there")
    return _runs_in_text(counts.encode("ascii"), height * width)


def _runs_in_text(text: bytes, pixels: int) -> np.ndarray:
    """Run lengths (R,) int64 that a compressed text stands for.

    A number is written in letters from 0 to o with 5 bits each, lowest first; the last has no bit 32, and bit 16 as its
    sign. From the fourth number on it counts from the last but one.
    """
    letters = np.frombuffer(text, dtype=np.uint8).astype(np.int64) - 48
    if not letters.size or letters.min() < 0 or letters.max() > 63:
        raise ValueError("its compressed run lengths hold letters that do not belong there")
    last = (letters & 32) == 0
    if not last[-1]:
        raise ValueError("its compressed run lengths end too early")
    starts = np.concatenate([[0], np.flatnonzero(last)[:-1] + 1])
    lengths = np.diff(np.append(starts, letters.size))
    if lengths.max() > _MOST_LETTERS or starts.size > pixels + 1:
        raise ValueError("its compressed run lengths are longer than the image allows")
    shifts = 5 * (np.arange(letters.size) - np.repeat(starts, lengths))
    values = np.add.reduceat((letters & 31) << shifts, starts)
    values -= ((letters[last] & 16) > 0).astype(np.int64) << (5 * lengths)
    # Numbers of odd and of even place each build on their own kind; the very first stands alone.
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def _check_runs(runs: np.ndarray, pixels: int) -> None:
    """Refuse run lengths that are no whole numbers from 0 up, or do not cover the image exactly."""
    if not runs.size or runs.size > pixels + 1 or runs.min() < 0 or runs.max() > pixels or (runs % 1).any():
        raise ValueError(f"its run lengths must be whole numbers from 0 to {pixels}, at most {pixels + 1} of them")
    if runs.sum() != pixels:
        raise ValueError(f"its run lengths cover {runs.sum():.0f} pixels, the image has {pixels}")
