"""Polygons as masks, pixel for pixel as COCO's own tools draw them, in NumPy and only when they are asked for.

Axes: H W height and width [px], C corners, E steps along an outline. Corners are (C, 2) float64, x to the right and y
down [px].
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from focalnets.data.annotated.objects import Box, turned_mask

__all__ = ["LARGEST_COORDINATE_PX", "PolygonMask", "check_outline", "check_polygon", "polygon_extent"]

LARGEST_COORDINATE_PX = 1e6
"""Corners of polygons and boxes lie at most so far from the corner of the image [px]."""

_LONGEST_OUTLINE_PX = 4_000_000
"""Longest outline of one object, corners counted in [px]: drawing takes a few hundred bytes for each."""

_FINENESS = 5
"""Steps of a pixel in which outlines are followed."""

_STEPS_AT_ONCE = 1 << 20


@dataclasses.dataclass(frozen=True, eq=False)
class PolygonMask:
    """What lies in any of some polygons. Within one polygon, what its outline goes round twice is outside.

    Attributes:
        height: Before it is turned [px].
        width: Before it is turned [px].
        polygons: Corners of each, see :func:`check_polygon`.
        orientation: How it must be turned to lie on the upright photo, as EXIF counts.
    """

    height: int
    width: int
    polygons: Sequence[np.ndarray]
    orientation: int = 1

    def decode(self) -> np.ndarray:
        """Draw it: booleans (H, W), of the upright photo."""
        columns = np.zeros((self.width, self.height), dtype=bool)
        for corners in self.polygons:
            _draw(corners, columns)
        return turned_mask(np.ascontiguousarray(columns.T), self.orientation)


def check_polygon(corners: np.ndarray) -> float:
    """Refuse corners that no outline can have, and measure the outline.

    Args:
        corners: (C, 2) float64, finite.

    Returns:
        Its length with the corners counted in [px].

    Raises:
        ValueError: If there are fewer than three corners, one lies too far away or the outline is too long; the message
            is a reason without a full stop.
    """
    if len(corners) < 3:
        raise ValueError(f"a polygon needs at least three corners, it has {len(corners)}")
    if np.abs(corners).max() > LARGEST_COORDINATE_PX:
        raise ValueError(f"a corner of a polygon lies more than {LARGEST_COORDINATE_PX:.0f} px away")
    steps = np.abs(np.diff(corners, axis=0, append=corners[:1]))
    length = float(steps.max(axis=1).sum()) + len(corners)
    check_outline(length)
    return length


def check_outline(length_px: float) -> None:
    """Refuse outlines that would take too much memory, with a ValueError like that of :func:`check_polygon`."""
    if length_px > _LONGEST_OUTLINE_PX:
        raise ValueError(f"its outline is {length_px:.0f} px long, more than the limit of {_LONGEST_OUTLINE_PX}")


def polygon_extent(polygons: Sequence[np.ndarray], height: int, width: int) -> Box:
    """Find the smallest box around the corners of polygons, within the image."""
    points = np.concatenate(polygons)
    low, high = points.min(axis=0), points.max(axis=0)
    left, right = np.clip([low[0], high[0]], 0, width).tolist()
    top, bottom = np.clip([low[1], high[1]], 0, height).tolist()
    return left, top, right, bottom


def _draw(corners: np.ndarray, columns: np.ndarray) -> None:
    """Set the inside of one polygon in booleans (W, H), whose rows are the columns of the image.

    Source: ``rleFrPoly`` of pycocotools: outlines are followed in fifths of a pixel, and where they cross the middle of
    a column, that column changes between outside and inside.
    """
    width, height = columns.shape
    places = np.sort(np.concatenate([*_crossings(corners, height, width), np.zeros(0, dtype=np.int64)]))
    if not places.size:
        return
    first, last = int(places[0]) // height, min(int(places[-1]) // height, width - 1)
    begin, end = first * height, (last + 1) * height
    runs = np.diff(places, prepend=begin, append=end)  # Outside and inside in turn.
    inside = np.repeat(np.arange(runs.size) % 2 == 1, runs)
    columns[first : last + 1] |= inside.reshape(-1, height)


def _crossings(corners: np.ndarray, height: int, width: int) -> Sequence[np.ndarray]:
    """Places down the columns, one after the other, before which a polygon begins or ends."""
    fine = np.trunc(_FINENESS * corners + 0.5).astype(np.int64)
    starts, ends = fine, np.roll(fine, -1, axis=0)
    counts = np.abs(ends - starts).max(axis=1) + 1
    found: list[np.ndarray] = []
    begin, previous = 0, np.zeros((0, 2), dtype=np.int64)
    while begin < len(fine):
        until = max(begin + 1, int(np.searchsorted(np.cumsum(counts[begin:]), _STEPS_AT_ONCE)) + begin)
        points = _follow(starts[begin:until], ends[begin:until], counts[begin:until])
        joined = np.concatenate([previous, points])
        previous = points[-1:]
        x, y = joined[:, 0], joined[:, 1]
        moved = np.flatnonzero(x[1:] != x[:-1])
        column = np.where(x[moved + 1] < x[moved], x[moved + 1], x[moved + 1] - 1)
        column = (column + 0.5) / _FINENESS - 0.5
        right = (np.floor(column) == column) & (column >= 0) & (column <= width - 1)
        row = (np.minimum(y[moved + 1], y[moved]) + 0.5) / _FINENESS - 0.5
        row = np.ceil(np.clip(row, 0, height))
        found.append((column[right] * height + row[right]).astype(np.int64))
        begin = until
    return found


def _follow(starts: np.ndarray, ends: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """All steps (E, 2) int64 along some edges: along the longer side of each by one, rounded along the other.

    An edge is the same in both directions, so that neighbours share their outline.
    """
    change = ends - starts
    flat = np.abs(change[:, 0]) >= np.abs(change[:, 1])
    along = np.where(flat, 0, 1)
    rows = np.arange(len(starts))
    back = starts[rows, along] > ends[rows, along]
    low, high = np.where(back[:, None], ends, starts), np.where(back[:, None], starts, ends)
    length = np.maximum(counts - 1, 1)
    slope = (high - low)[rows, 1 - along] / length
    edge = np.repeat(rows, counts)
    step = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts)
    step = np.where(back[edge], counts[edge] - 1 - step, step)
    points = np.empty((len(edge), 2), dtype=np.int64)
    points[np.arange(len(edge)), along[edge]] = step + low[rows, along][edge]
    across = low[rows, 1 - along][edge] + slope[edge] * step + 0.5
    points[np.arange(len(edge)), 1 - along[edge]] = np.trunc(across).astype(np.int64)
    return points
