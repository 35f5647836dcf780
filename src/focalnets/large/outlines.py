"""Masks and the areas of class maps as polygons along the edges of pixels, with holes, at any size. No torch.

A map is read by bands of rows; what is kept are the horizontal edges of areas, from corner to corner. Edges that are
met by walking up or down a column from a corner to the next one follow each other, which closes them to rings.

Axes: H W height and width of the map [px], E horizontal edges.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

__all__ = ["Area", "count_edges", "outline_classes", "outline_mask"]

_BAND_ROWS = 256

Ring = list[tuple[int, int]]
"""Corners (x, y) of pixels; the last is the first again."""


@dataclasses.dataclass(frozen=True)
class Area:
    """A part of a class that hangs together by sides of pixels.

    Attributes:
        label: Number of the class.
        rings: The outer one, then those of its holes.
        pixels: How many it has.
    """

    label: int
    rings: list[Ring]
    pixels: int


def outline_mask(mask: np.ndarray, left: int = 0, top: int = 0) -> list[list[Ring]]:
    """Outline booleans (H, W).

    Args:
        mask: Which pixels belong to it.
        left: Added to x.
        top: Added to y.

    Returns:
        One polygon for each part that hangs together by sides of pixels: its outer ring, then those of its holes.
    """
    areas = outline_classes(np.where(mask, 0, -1))
    return [[[(x + left, y + top) for x, y in ring] for ring in area.rings] for area in areas]


def count_edges(labels: np.ndarray) -> int:
    """Count the horizontal edges of the areas of a map (H, W), which is what outlining takes time and memory for."""
    return sum(len(edges) for edges in _edges(labels))


def outline_classes(labels: np.ndarray) -> Iterator[Area]:
    """Outline the areas of a map.

    Args:
        labels: The class of each pixel, (H, W) whole numbers, below 0 for none; it may lie in a file.

    Yields:
        The areas, class by class. Parts that touch at a corner stay apart.
    """
    edges = np.concatenate(list(_edges(labels)))
    if not len(edges):
        return
    following, verticals, keys = _follow(edges, labels.shape)
    ring_of = _rings(following)
    left, top = edges[:, :2].min(1), edges[:, 2]
    order = np.lexsort((left, top, ring_of))
    # The leftmost of the uppermost edges of each ring.
    firsts = order[np.unique(ring_of[order], return_index=True)[1]]
    areas = np.bincount(ring_of, weights=(edges[:, 0] - edges[:, 1]) * top)  # negative for holes
    outer = np.arange(len(firsts))
    holes: dict[int, list[int]] = {}
    inner = np.flatnonzero(areas < 0)
    # From above: what lies left of a hole is then known already, or an outer ring.
    for number in inner[np.lexsort((left[firsts[inner]], top[firsts[inner]]))].tolist():
        x, y, label = int(left[firsts[number]]), int(top[firsts[number]]), int(edges[firsts[number], 3])
        others = np.flatnonzero(labels[y - 1, : x + 1] != label)
        begin = int(others[-1]) + 1 if len(others) else 0
        place = int(np.searchsorted(keys, _key(label, begin, y - 1, labels.shape), side="right")) - 1
        outer[number] = outer[ring_of[verticals[place]]]
        holes.setdefault(int(outer[number]), []).append(number)
    whole = np.flatnonzero(areas > 0)
    for number in whole[np.argsort(edges[firsts[whole], 3], kind="stable")].tolist():
        rings = [number, *holes.get(number, [])]
        yield Area(
            int(edges[firsts[number], 3]),
            [_corners(edges, following, int(firsts[each])) for each in rings],
            round(areas[rings].sum()),
        )


def _edges(labels: np.ndarray) -> Iterator[np.ndarray]:
    """Horizontal edges, with the area on the right: from x, to x, y and class, (E, 4) int64."""
    height, width = labels.shape
    nothing = np.full((1, width), -1, np.int64)
    for first in range(0, height + 1, _BAND_ROWS):
        last = min(first + _BAND_ROWS, height + 1)
        # Row y of the two lies above and below the line y.
        above = labels[max(first - 1, 0) : last - 1].astype(np.int64)
        below = labels[first : min(last, height)].astype(np.int64)
        above = np.concatenate([nothing, above]) if first == 0 else above
        below = np.concatenate([below, nothing]) if last == height + 1 else below
        differs = above != below
        for inside, rightwards in ((below, True), (above, False)):
            edge = differs & (inside >= 0)
            goes_on = edge[:, 1:] & edge[:, :-1] & (inside[:, 1:] == inside[:, :-1])
            starts, ends = edge.copy(), edge.copy()
            starts[:, 1:] &= ~goes_on
            ends[:, :-1] &= ~goes_on
            rows, left = np.nonzero(starts)
            right = np.nonzero(ends)[1] + 1
            sides = (left, right) if rightwards else (right, left)
            yield np.stack([*sides, rows + first, inside[rows, left]], 1)


def _key(label: Any, x: Any, y: Any, shape: tuple[int, ...]) -> Any:
    """Numbers by which corners are sorted: by class, from left to right, from above."""
    height, width = shape
    return (label * (width + 1) + x) * (height + 1) + y


def _follow(edges: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the edge that follows each; also of each vertical line its edge, and the sorted keys of their upper ends."""
    count = len(edges)
    x = np.concatenate([edges[:, 0], edges[:, 1]])  # beginnings, then ends
    y, label = np.tile(edges[:, 2], 2), np.tile(edges[:, 3], 2)
    rightwards = np.tile(edges[:, 1] > edges[:, 0], 2)
    keys = _key(label, x, y, shape)
    # Where two pixels touch at a corner, what goes to the left belongs to the line above.
    order = np.lexsort((rightwards, keys))
    upper, lower = order[0::2], order[1::2]
    ends = np.where(upper >= count, upper, lower) - count
    beginnings = np.where(upper >= count, lower, upper)
    following = np.empty(count, np.int64)
    following[ends] = beginnings
    return following, ends, keys[upper]


def _rings(following: np.ndarray) -> np.ndarray:
    """Number the ring of each edge."""
    steps, rings = following.tolist(), [-1] * len(following)
    count = 0
    for start in range(len(steps)):
        if rings[start] >= 0:
            continue
        edge = start
        while rings[edge] < 0:
            rings[edge] = count
            edge = steps[edge]
        count += 1
    return np.array(rings, np.int64)


def _corners(edges: np.ndarray, following: np.ndarray, first: int) -> Ring:
    ring: Ring = []
    edge = first
    while True:
        begin, end, y, _ = edges[edge].tolist()
        ring += [(begin, y), (end, y)]
        edge = int(following[edge])
        if edge == first:
            break
    ring.append(ring[0])
    return ring
