"""Sizes of images and anchors that fit the objects of some data.

Axes: N objects, S sizes, R ratios.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from focalnets.data.checks.anchors import best_overlaps
from focalnets.errors import DataError, ImageError
from focalnets.models.config import WholeImage

__all__ = ["ObjectSizes", "choose_anchors", "choose_image_size", "fit_of_anchors", "need_finest_map", "object_sizes"]

_MOST_IMAGES = 2000
_SMALLEST_PX = 24.0
"""What the objects of the class with the smallest ones should span, the middle one of them [px of the input]."""

_SIZE_FOR_FINEST_MAP_PX = 16.0
"""Below it only a map with a place for every 4 px shows an object."""

_FACTORS = (1.5, 2.0)
_RATIO_RANGE = (0.25, 4.0)


@dataclasses.dataclass(frozen=True, eq=False)
class ObjectSizes:
    """How large the objects of some data are.

    Attributes:
        boxes: Width and height of each in its photo (N, 2) [px].
        photos: Width and height of the photo that it is in (N, 2) [px].
        labels: Its class (N,).
    """

    boxes: np.ndarray
    photos: np.ndarray
    labels: np.ndarray

    def as_seen(self, spec: WholeImage) -> np.ndarray:
        """Width and height of each as the network sees it (N, 2) [px of the input]."""
        sizes, places = np.unique(self.photos, axis=0, return_inverse=True)
        scale = np.array([spec.size_of(int(width), int(height)) for width, height in sizes]) / np.maximum(sizes, 1)
        return self.boxes * scale[places.reshape(-1)]

    def weights(self) -> np.ndarray:
        """Weight of each, so that all classes count the same together (N,)."""
        counts = np.bincount(self.labels)
        weights = 1.0 / counts[self.labels]
        return weights / weights.sum()


def object_sizes(data: Any) -> ObjectSizes:
    """Read how large the objects of annotated images are, of at most 2,000 images from all over the data.

    Args:
        data: See :class:`focalnets.data.annotated.training.AnnotatedData`.
    """
    count = len(data)
    boxes, photos, labels = [], [], []
    for number in range(count) if count <= _MOST_IMAGES else (step * count // _MOST_IMAGES for step in range(2000)):
        try:
            annotated = data.annotation(number)
        except (DataError, ImageError):  # Told where it is trained on.
            continue
        for thing in annotated.objects:
            left, top, right, bottom = thing.box_xyxy
            if right - left >= 1 and bottom - top >= 1 and not thing.crowd and thing.label >= 0:
                boxes.append((right - left, bottom - top))
                photos.append(annotated.size)
                labels.append(thing.label)
    shaped = [np.array(values, dtype=np.float64).reshape(-1, 2) for values in (boxes, photos)]
    return ObjectSizes(shaped[0], shaped[1], np.array(labels, dtype=np.int64))


def choose_image_size(objects: ObjectSizes, usual: int, *, side: str = "shorter") -> int:
    """Choose the side at which objects of the smallest class span about 24 px, from the usual one to twice that.

    Photos are not made larger for it than they are.

    Args:
        objects: There is at least one.
        usual: Side that the network usually sees [px].
        side: Which side that is, see :class:`focalnets.models.config.WholeImage`.

    Returns:
        A multiple of 32 [px].
    """
    sides = objects.photos.max(1) if side == "longer" else objects.photos.min(1)
    span = np.sqrt(objects.boxes.prod(1)) / sides
    smallest = min(float(np.median(span[objects.labels == label])) for label in np.unique(objects.labels))
    wanted = min(_SMALLEST_PX / smallest, float(np.median(sides)))
    return int(np.clip(round(wanted / 32) * 32, usual, 2 * usual))


def need_finest_map(seen: np.ndarray, labels: np.ndarray) -> bool:
    """Tell whether the objects of a class are so small (N, 2) [px of the input] that only the finest map shows them."""
    sizes = np.sqrt(seen.prod(1))
    return any(float(np.median(sizes[labels == label])) < _SIZE_FOR_FINEST_MAP_PX for label in np.unique(labels))


def choose_anchors(seen: np.ndarray, weights: np.ndarray, maps: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Choose one anchor size for each map, and the ratios, that fit objects best.

    Args:
        seen: Width and height of each object (N, 2) [px of the input].
        weights: How much each counts (N,).
        maps: Maps S of the pyramid.

    Returns:
        Sizes, each the same multiple of the one before, and three ratios, height over width.
    """
    aspect = np.log(seen[:, 1] / seen[:, 0])
    order = np.argsort(aspect)
    reached = np.cumsum(weights[order])
    places = np.minimum(np.searchsorted(reached, [1 / 6, 1 / 2, 5 / 6]), len(order) - 1)
    low, middle, high = np.clip(np.exp(aspect[order][places]), *_RATIO_RANGE).tolist()
    # Objects of one shape still get anchors of three.
    ratios = tuple(round(ratio, 2) for ratio in (min(low, middle / 1.4), middle, max(high, middle * 1.4)))
    best = max(
        (
            (fit_of_anchors(seen, weights, [first * factor**step for step in range(maps)], ratios), first, factor)
            for first, factor in itertools.product(range(8, 132, 4), _FACTORS)
        ),
        key=lambda entry: (round(entry[0], 3), entry[2], -entry[1]),
    )
    return tuple(round(best[1] * best[2] ** step, 1) for step in range(maps)), ratios


def fit_of_anchors(seen: np.ndarray, weights: np.ndarray, sizes: Sequence[float], ratios: Sequence[float]) -> float:
    """Average the intersection over union of objects (N, 2) with the anchors of the best shape, about one middle."""
    overlaps = best_overlaps(seen, np.array(sizes, dtype=np.float64), np.array(ratios, dtype=np.float64))
    return float((overlaps * weights).sum())
