"""Run lengths and polygons of COCO files, checked before anything is made of them.

Axes: H W height and width [px], R runs. Run lengths count pixels down the columns, in turn outside and on the object.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from focalnets.data.annotated.objects import turned_mask
from focalnets.data.annotated.polygons import PolygonMask, check_outline, check_polygon

__all__ = ["EncodedMask", "check_runs", "encode_segmentation", "finite_numbers"]

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


def encode_segmentation(segmentation: Any, height: int, width: int) -> EncodedMask | PolygonMask | None:
    """Check what an annotation has under ``segmentation``.

    Args:
        segmentation: Polygons, which are joined, or run lengths as numbers or as text.
        height: Of the image that was annotated [px].
        width: Of the image that was annotated [px].

    Returns:
        The mask; None where there is neither polygon nor run length.

    Raises:
        ValueError: If it is not as COCO has it; the message is a reason without a full stop.
    """
    if segmentation is None or segmentation == []:
        return None
    if isinstance(segmentation, list):
        return PolygonMask(height, width, _read_polygons(segmentation))
    if not isinstance(segmentation, dict):
        raise ValueError("segmentation needs a list of polygons, or size and counts of run lengths")
    runs = _read_run_lengths(segmentation, height, width)
    check_runs(runs, height * width)
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


def _read_polygons(polygons: list[Any]) -> list[np.ndarray]:
    """Corners (C, 2) float64 of each polygon."""
    found, outline_px = [], 0.0
    for polygon in polygons:
        numbers = finite_numbers(polygon, "a polygon needs an even number of at least six finite numbers")
        if numbers.size < 6 or numbers.size % 2:
            raise ValueError("a polygon needs an even number of at least six finite numbers")
        found.append(numbers.reshape(-1, 2))
        outline_px += check_polygon(found[-1])
    check_outline(outline_px)
    return found


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


def check_runs(runs: np.ndarray, pixels: int) -> None:
    """Refuse run lengths that are no whole numbers from 0 up, or do not cover the image exactly.

    Raises:
        ValueError: The message is a reason without a full stop.
    """
    if not runs.size or runs.size > pixels + 1 or runs.min() < 0 or runs.max() > pixels or (runs % 1).any():
        raise ValueError(f"its run lengths must be whole numbers from 0 to {pixels}, at most {pixels + 1} of them")
    if runs.sum() != pixels:
        raise ValueError(f"its run lengths cover {runs.sum():.0f} pixels, the image has {pixels}")
