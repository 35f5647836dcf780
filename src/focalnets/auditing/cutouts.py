"""Objects and backgrounds taken apart, and put together anew.

Axes: S side of the picture as the network sees it [px].
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from focalnets.auditing.object_masks import ObjectMasks
from focalnets.data.transforms import framing
from focalnets.models.config import Preprocessing

__all__ = ["Parted", "fill", "part", "take_apart"]

_MARGIN = 0.03
_MOST_FILLED = 0.9


@dataclasses.dataclass(frozen=True, eq=False)
class Parted:
    """A picture taken apart.

    Attributes:
        picture: (S, S, 3) uint8.
        opacity: How far the object covers each pixel, (S, S) float32, 0 to 1.
        background: The picture without the object: the box around it is filled from what surrounds it, so that its
            outline is not seen, (S, S, 3) uint8.
    """

    picture: np.ndarray
    opacity: np.ndarray
    background: np.ndarray

    def on(self, background: np.ndarray) -> np.ndarray:
        """Put the object before pixels (S, S, 3) uint8, at its place."""
        opacity = self.opacity[..., None]
        return (self.picture * opacity + background * (1 - opacity) + 0.5).astype(np.uint8)


def take_apart(
    data: Any, masks: ObjectMasks, numbers: Sequence[int], spec: Preprocessing,
    on_progress: Callable[[int], None] | None = None,
) -> dict[int, Parted]:  # fmt: skip
    """Read images as the network sees them and take them apart, by their number; those without background are missing.

    Args:
        data: Labelled images.
        masks: Of the objects.
        numbers: Which images.
        spec: How pictures are prepared.
        on_progress: Called with the number of images done.

    Raises:
        DataError, ImageError: If an image or a mask cannot be read.
    """
    crop = framing(spec)
    parted = {}
    for done, number in enumerate(numbers, 1):
        picture = np.asarray(crop(data[number][0]))
        mask = Image.fromarray(np.repeat(masks.read(number)[..., None], 3, 2).astype(np.uint8) * 255)
        found = part(picture, np.asarray(crop(mask))[..., 0].astype(np.float32) / 255)
        if found is not None:
            parted[number] = found
        if on_progress is not None:
            on_progress(done)
    return parted


def part(picture: np.ndarray, opacity: np.ndarray) -> Parted | None:
    """Take a picture apart.

    Args:
        picture: (S, S, 3) uint8.
        opacity: (S, S) float32, 0 to 1.

    Returns:
        Its parts; None where no object is seen, or its box fills nine tenths of the picture, so that there is no
        background.
    """
    rows, columns = (np.flatnonzero((opacity >= 0.5).any(axis)) for axis in (1, 0))
    if not len(rows):
        return None
    margin = max(1, round(_MARGIN * len(picture)))
    known = np.ones(opacity.shape, dtype=bool)
    known[max(0, rows[0] - margin) : rows[-1] + 1 + margin, max(0, columns[0] - margin) : columns[-1] + 1 + margin] = (
        False
    )
    if known.mean() < 1 - _MOST_FILLED:
        return None
    return Parted(picture, opacity, fill(picture, known))


def fill(picture: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Fill what is not known smoothly from what is.

    Args:
        picture: (H, W, 3) uint8.
        known: (H, W) bool, at least one pixel.

    Returns:
        (H, W, 3) uint8, unchanged where it was known.

    Source: push-pull interpolation, Gortler et al., The lumigraph, 1996.
    """
    values, weights = picture.astype(np.float32) * known[..., None], known.astype(np.float32)
    return np.clip(_pull(values, weights) + 0.5, 0, 255).astype(np.uint8)


def _pull(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Fill from coarser and coarser pictures; ``values`` are multiplied by ``weights``."""
    height, width = weights.shape
    own = values / np.maximum(weights, 1e-6)[..., None]
    if weights.min() >= 1 or max(height, width) == 1:
        return own
    padded = np.pad(weights, ((0, height % 2), (0, width % 2)))
    padded_values = np.pad(values, ((0, height % 2), (0, width % 2), (0, 0)))
    sums = padded[::2, ::2] + padded[1::2, ::2] + padded[::2, 1::2] + padded[1::2, 1::2]
    totals = padded_values[::2, ::2] + padded_values[1::2, ::2] + padded_values[::2, 1::2] + padded_values[1::2, 1::2]
    share = np.minimum(sums, 1) / np.maximum(sums, 1e-6)
    coarse = _pull(totals * share[..., None], np.minimum(sums, 1))
    # Each pixel lies a quarter of a coarse one off the middle of its own.
    rows, columns = (_places(length, size) for length, size in ((height, len(coarse)), (width, coarse.shape[1])))
    between = _between(_between(coarse, rows, 0), columns, 1)
    return own * weights[..., None] + between * (1 - weights[..., None])


def _places(length: int, coarse: int) -> np.ndarray:
    return np.clip((np.arange(length) - 0.5) / 2, 0, coarse - 1)


def _between(values: np.ndarray, places: np.ndarray, axis: int) -> np.ndarray:
    lower = np.floor(places).astype(int)
    upper = np.minimum(lower + 1, values.shape[axis] - 1)
    shape = [1, 1, 1]
    shape[axis] = len(places)
    share = (places - lower).astype(np.float32).reshape(shape)
    return np.take(values, lower, axis) * (1 - share) + np.take(values, upper, axis) * share
