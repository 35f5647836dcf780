"""Does a map lie on the object? Scores of one map against one mask, and what a map that knows nothing would get.

Axes: H W height and width of the map and of the mask [px].
"""

from __future__ import annotations

import numpy as np

from focalnets.errors import ShapeError

__all__ = ["centre_map", "energy_inside", "peak", "pointing_game"]


def peak(heat: np.ndarray) -> tuple[int, int]:
    """Row and column of the highest point of a map (H, W).

    Of several equal maxima the one nearest to the centre counts, so that a constant map points at the centre and at no
    corner.
    """
    rows, columns = np.nonzero(heat == heat.max())
    height, width = heat.shape
    distance = (rows - (height - 1) / 2) ** 2 + (columns - (width - 1) / 2) ** 2
    nearest = int(distance.argmin())
    return int(rows[nearest]), int(columns[nearest])


def pointing_game(heat: np.ndarray, mask: np.ndarray, *, tolerance_px: float = 0.0) -> bool:
    """Whether the highest point of a map lies on the object.

    Args:
        heat: Map (H, W), finite; see :func:`peak` for equal maxima.
        mask: Booleans (H, W), True on the object.
        tolerance_px: Largest distance between that point and the object that still counts [px].

    Raises:
        ShapeError: If the two differ in shape or are not two-dimensional.

    Source: Zhang et al., Top-down Neural Attention by Excitation Backprop, ECCV 2016, where the tolerance is 15 px.
    """
    _check(heat, mask)
    row, column = peak(heat)
    if tolerance_px <= 0 or mask[row, column]:
        return bool(mask[row, column])
    rows, columns = np.nonzero(mask)
    return bool(rows.size and np.hypot(rows - row, columns - column).min() <= tolerance_px)


def energy_inside(heat: np.ndarray, mask: np.ndarray) -> float:
    """Share of a map that lies on the object, from 0 to 1.

    The smallest value of the map counts as nothing, so that a constant added to the map changes no score. A constant
    map gets the share of the area, as a map does that spreads evenly.

    Args:
        heat: Map (H, W), finite.
        mask: Booleans (H, W), True on the object.

    Raises:
        ShapeError: If the two differ in shape or are not two-dimensional.

    Source: Wang et al., Score-CAM, CVPR 2020 workshops, with the mask instead of its bounding box.
    """
    _check(heat, mask)
    energy = heat.astype(np.float64) - heat.min()
    total = energy.sum()
    return float(energy[mask].sum() / total) if total > 0 else float(mask.mean())


def centre_map(height: int, width: int) -> np.ndarray:
    """A map (H, W) that looks at no image: a cone, 1 in the centre and falling to 0 in the corners."""
    y, x = np.mgrid[0:height, 0:width]
    distance = np.hypot((y - (height - 1) / 2) / max(1, height), (x - (width - 1) / 2) / max(1, width))
    return 1.0 - distance / max(float(distance.max()), 1e-12)


def _check(heat: np.ndarray, mask: np.ndarray) -> None:
    if heat.ndim != 2 or heat.shape != mask.shape or mask.dtype != bool:
        raise ShapeError(
            f"expected a map (H, W) and a boolean mask of its shape, got {heat.shape} and {mask.shape} {mask.dtype}."
        )
