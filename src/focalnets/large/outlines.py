"""Masks as polygons along the edges of their pixels, with holes. No torch.

Axes: H W height and width of a mask [px].
"""

from __future__ import annotations

import numpy as np

__all__ = ["outline_mask"]

Ring = list[tuple[int, int]]
"""Corners (x, y) of pixels; the last is the first again."""

_STEPS = {(1, 0): 0, (0, 1): 1, (-1, 0): 2, (0, -1): 3}


def outline_mask(mask: np.ndarray, left: int = 0, top: int = 0) -> list[list[Ring]]:
    """Outline booleans (H, W).

    Args:
        mask: Which pixels belong to it.
        left: Added to x.
        top: Added to y.

    Returns:
        One polygon for each part that hangs together by sides of pixels: its outer ring, then those of its holes.
    """
    outer: list[Ring] = []
    holes: list[Ring] = []
    for ring in _rings(mask):
        (outer if _area(ring) > 0 else holes).append(ring)
    polygons = [[ring] for ring in outer]
    for hole in holes:
        # The smallest ring around it is the one it is a hole of.
        around = [polygon for polygon in polygons if _contains(polygon[0], hole)]
        min(around, key=lambda polygon: _area(polygon[0])).append(hole)
    return [[[(x + left, y + top) for x, y in ring] for ring in polygon] for polygon in polygons]


def _rings(mask: np.ndarray) -> list[Ring]:
    """Follow the edges between pixels inside and outside, the inside always on the right."""
    inside = np.pad(mask.astype(bool), 1)
    following: dict[tuple[int, int], list[tuple[int, int]]] = {}

    def add(edges: np.ndarray, start: tuple[int, int], step: tuple[int, int]) -> None:
        rows, columns = np.nonzero(edges)
        for y, x in zip((rows + start[1]).tolist(), (columns + start[0]).tolist(), strict=True):
            following.setdefault((x, y), []).append((x + step[0], y + step[1]))

    pixels = inside[1:-1, 1:-1]
    add(pixels & ~inside[:-2, 1:-1], (0, 0), (1, 0))
    add(pixels & ~inside[1:-1, 2:], (1, 0), (0, 1))
    add(pixels & ~inside[2:, 1:-1], (1, 1), (-1, 0))
    add(pixels & ~inside[1:-1, :-2], (0, 1), (0, -1))
    rings = []
    while following:
        start = next(iter(following))
        ring, place, heading = [start], start, None
        while True:
            place, heading = _next(following, place, heading)
            ring.append(place)
            if place == start:
                break
        rings.append(_straightened(ring))
    return rings


def _next(
    following: dict[tuple[int, int], list[tuple[int, int]]], place: tuple[int, int], heading: int | None
) -> tuple[tuple[int, int], int]:
    """Take the next edge; where two pixels touch at a corner, turn right, so that they stay apart."""
    options = following[place]
    headings = [_STEPS[x - place[0], y - place[1]] for x, y in options]
    chosen = 0 if heading is None or len(options) == 1 else headings.index((heading + 1) % 4)
    target = options.pop(chosen)
    if not options:
        del following[place]
    return target, headings[chosen]


def _straightened(ring: Ring) -> Ring:
    """Leave out corners at which a ring goes straight on."""
    around = [ring[-2], *ring]
    kept = [
        place
        for before, place, after in zip(around, around[1:], [*around[2:], ring[1]], strict=False)
        if (place[0] - before[0]) * (after[1] - place[1]) != (place[1] - before[1]) * (after[0] - place[0])
    ]
    if kept[0] != kept[-1]:
        kept.append(kept[0])
    return kept


def _area(ring: Ring) -> float:
    """Area that a ring surrounds [px²], negative for holes."""
    points = np.array(ring, float)
    return float((points[:-1, 0] * points[1:, 1] - points[1:, 0] * points[:-1, 1]).sum() / 2)


def _contains(outer: Ring, hole: Ring) -> bool:
    """Whether the first corner of a hole lies within a ring, a little inside of it."""
    (first_x, first_y), (second_x, second_y) = hole[0], hole[1]
    # The pixel left of the hole's first edge, which is outside the mask and so within the hole.
    right, down = np.sign(second_x - first_x), np.sign(second_y - first_y)
    x = (first_x + second_x) / 2 + 0.5 * down
    y = (first_y + second_y) / 2 - 0.5 * right
    points = np.array(outer, float)
    starts, ends = points[:-1], points[1:]
    crosses = (starts[:, 1] > y) != (ends[:, 1] > y)
    return bool((crosses & (starts[:, 0] > x)).sum() % 2)  # edges stand upright or lie
