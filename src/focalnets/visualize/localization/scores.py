"""Does a map lie on the object? Scores of maps against one mask, and maps that know nothing.

Axes: ... any number of maps, H W height and width of the maps and of the mask [px], T thresholds.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from focalnets.errors import ShapeError

__all__ = [
    "AREA_FRACTIONS",
    "centre_map",
    "energy_inside",
    "grown_mask",
    "overlap_by_area",
    "peak",
    "pixel_auc",
    "pointing_game",
]

AREA_FRACTIONS: tuple[float, ...] = tuple(np.geomspace(0.002, 1.0, 64).tolist())
"""Thresholds as quantiles: the fraction of the picture that is at least as high, from very little to everything."""


def peak(heat: np.ndarray) -> tuple[int, int]:
    """Find the row and column of the highest point of a map (H, W), for drawing.

    Of several equal maxima the one nearest to the centre counts, so that a constant map points at the centre and at no
    corner.
    """
    rows, columns = np.nonzero(heat == heat.max())
    height, width = heat.shape
    distance = (rows - (height - 1) / 2) ** 2 + (columns - (width - 1) / 2) ** 2
    nearest = int(distance.argmin())
    return int(rows[nearest]), int(columns[nearest])


def pointing_game(heat: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Score whether the highest point of each map lies on the object.

    Of several equal maxima each counts alike: the score is the fraction of them on the object, which is what drawing
    one of them would hit on average. A constant map thus gets what a point drawn anywhere gets: the object's fraction
    of the picture.

    Args:
        heat: Maps (..., H, W), finite.
        mask: Booleans (H, W), True on the object; see :func:`grown_mask` for points close to it.

    Returns:
        (...) float64, from 0 to 1; for a map with one maximum 0 or 1.

    Raises:
        ShapeError: If maps and mask differ in shape.

    Source: Zhang et al., Top-down Neural Attention by Excitation Backprop, ECCV 2016.
    """
    _check(heat, mask)
    highest = heat == heat.max((-2, -1), keepdims=True)
    return (highest & mask).sum((-2, -1)) / highest.sum((-2, -1))


def energy_inside(heat: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Measure the fraction of each map that lies on the object, from 0 to 1.

    The smallest value of the map counts as nothing, so that a constant added to the map changes no score. A constant
    map gets the object's fraction of the picture, as a map does that spreads evenly.

    Args:
        heat: Maps (..., H, W), finite.
        mask: Booleans (H, W), True on the object.

    Returns:
        (...) float64.

    Raises:
        ShapeError: If maps and mask differ in shape.

    Source: Wang et al., Score-CAM, CVPR 2020 workshops, with the mask instead of its bounding box.
    """
    _check(heat, mask)
    energy = heat.astype(np.float64) - heat.min((-2, -1), keepdims=True)
    total, inside = energy.sum((-2, -1)), energy[..., mask].sum(-1)
    return np.where(total > 0, inside / np.where(total > 0, total, 1.0), mask.mean())


def pixel_auc(heat: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Measure how well each map's height tells the object's pixels from the others: area under the ROC curve.

    The probability that a pixel of the object is higher than one beside it; equal heights count half. 0.5 is chance.

    Args:
        heat: Maps (..., H, W), finite.
        mask: Booleans (H, W) with at least one pixel on the object and one beside it.

    Returns:
        (...) float64, exact: over all pairs of pixels.

    Raises:
        ShapeError: If maps and mask differ in shape.
    """
    _check(heat, mask)
    assert 0 < mask.sum() < mask.size, "a ROC curve needs pixels on the object and beside it"
    scores = [_pixel_auc_of_map(on, beside) for on, beside in zip(*_on_and_beside(heat, mask), strict=True)]
    return np.array(scores).reshape(heat.shape[:-2])


def overlap_by_area(
    heat: np.ndarray, mask: np.ndarray, area_fractions: tuple[float, ...] = AREA_FRACTIONS
) -> np.ndarray:
    """Measure intersection over union of the object and the highest pixels of each map, for several thresholds.

    A threshold is a fraction of the picture: as many of the highest pixels are taken, and with them all that are as
    high as the last. Thresholds mean the same for every map and picture, whatever the units of maps.

    Args:
        heat: Maps (..., H, W), finite.
        mask: Booleans (H, W) with at least one pixel on the object.
        area_fractions: The thresholds, above 0 and at most 1.

    Returns:
        (..., T) float64, from 0 to 1.

    Raises:
        ShapeError: If maps and mask differ in shape.
    """
    _check(heat, mask)
    ranks = [max(1, math.ceil(fraction * mask.size - 1e-9)) for fraction in area_fractions]
    overlaps = []
    for on, beside in zip(*_on_and_beside(heat, mask), strict=True):
        threshold = np.sort(np.concatenate((on, beside)))[mask.size - np.array(ranks)]
        found = on.size - np.searchsorted(on, threshold, side="left")
        wrong = beside.size - np.searchsorted(beside, threshold, side="left")
        overlaps.append(found / (on.size + wrong))
    return np.array(overlaps).reshape(*heat.shape[:-2], len(area_fractions))


def centre_map(height: int, width: int) -> np.ndarray:
    """Draw a map (H, W) that looks at no image: a Gaussian around the centre, 1 there.

    Its standard deviation is a quarter of the height and of the width.
    """
    y = (np.arange(height) - (height - 1) / 2) / (height / 4)
    x = (np.arange(width) - (width - 1) / 2) / (width / 4)
    return np.exp(-0.5 * (y[:, None] ** 2 + x**2))


def grown_mask(mask: np.ndarray, distance_px: float) -> np.ndarray:
    """Mark pixels (H, W) whose middle is at most so far from the middle of a pixel of the object [px]."""
    radius = int(distance_px)
    if radius < 1:
        return mask
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk = torch.from_numpy(np.hypot(y, x) <= distance_px)
    reached = torch.nn.functional.conv2d(
        torch.from_numpy(mask)[None, None].float(), disk[None, None].float(), padding=radius
    )
    return (reached[0, 0] > 0.5).numpy()


def _pixel_auc_of_map(on: np.ndarray, beside: np.ndarray) -> float:
    lower = np.searchsorted(beside, on, side="left")
    lower_or_equal = np.searchsorted(beside, on, side="right")
    return float((lower.sum(dtype=np.int64) + lower_or_equal.sum(dtype=np.int64)) / (2 * on.size * beside.size))


def _on_and_beside(heat: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split each map into values on the object and beside it: two arrays (maps, pixels), each row in rising order."""
    maps = heat.reshape(-1, *mask.shape)
    return np.sort(maps[:, mask], axis=1), np.sort(maps[:, ~mask], axis=1)


def _check(heat: np.ndarray, mask: np.ndarray) -> None:
    if mask.ndim != 2 or heat.shape[-2:] != mask.shape or mask.dtype != bool:
        raise ShapeError(
            f"expected maps (..., H, W) and a boolean mask of their shape, got {heat.shape} and {mask.shape} "
            f"{mask.dtype}."
        )
