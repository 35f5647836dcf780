"""Sizes of images and anchors that fit the objects of some data: what training chooses, and `check` proposes.

Axes: N objects, S sizes, R ratios.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from focalnets.errors import DataError, ImageError
from focalnets.models.config import WholeImage

__all__ = [
    "AnchorProposal",
    "ObjectSizes",
    "best_overlaps",
    "choose_anchors",
    "choose_image_size",
    "fit_of_anchors",
    "need_finest_map",
    "object_sizes",
    "propose_anchors",
]

_MOST_IMAGES = 2000
_SMALLEST_PX = 24.0
"""What the objects of the class with the smallest ones should span, the middle one of them [px of the input]."""

_SIZE_FOR_FINEST_MAP_PX = 16.0
"""Below it only a map with a place for every 4 px shows an object."""

_FACTORS = (1.5, 2.0)
_RATIO_RANGE = (0.25, 4.0)


@dataclasses.dataclass(frozen=True)
class AnchorProposal:
    """What fits the objects.

    Attributes:
        image_size_px: Side at which a network should see images; which side it is, its input says.
        stages: Stages whose maps a detector should read, counted from 0; None for all.
        sizes_px: Size of the anchors of each map, finest first, one map more than there are stages [px of the input].
        ratios: Height over width of anchors.
        overlap: Intersection over union of an object with the best anchor in the same place, all classes weighing the
            same.
        usual_overlap: The same of the usual anchors, 32 to 512 px with ratios 1/2, 1 and 2.
    """

    image_size_px: int
    stages: tuple[int, ...] | None
    sizes_px: tuple[float, ...]
    ratios: tuple[float, ...]
    overlap: float
    usual_overlap: float


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
    for number in (
        range(count) if count <= _MOST_IMAGES else (step * count // _MOST_IMAGES for step in range(_MOST_IMAGES))
    ):
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


def propose_anchors(
    objects: ObjectSizes,
    spec: WholeImage,
    *,
    image_size: int | None = None,
    stages: tuple[int, ...] | None = (1, 2, 3),
    fixed_stages: bool = False,
    maps: int = 4,
) -> AnchorProposal:
    """Choose the size of images, the stages and the anchors that fit objects best.

    Args:
        objects: There is at least one.
        spec: How images are prepared; its size is the usual one.
        image_size: Size of images [px]; None chooses it.
        stages: Stages that a detector reads if no object is too small for it; None for all.
        fixed_stages: Whether it reads these anyway.
        maps: Stages of the network.
    """
    if image_size is None:
        image_size = choose_image_size(objects, spec.input_size_px, side=spec.side)
    seen, weights = objects.as_seen(dataclasses.replace(spec, input_size_px=image_size)), objects.weights()
    if not fixed_stages and stages is not None and 0 not in stages and need_finest_map(seen, objects.labels):
        stages = tuple(range(stages[-1] + 1))
    sizes, ratios = choose_anchors(seen, weights, (maps if stages is None else len(stages)) + 1)
    return AnchorProposal(
        image_size_px=image_size,
        stages=stages,
        sizes_px=sizes,
        ratios=ratios,
        overlap=fit_of_anchors(seen, weights, sizes, ratios),
        usual_overlap=fit_of_anchors(seen, weights, (32, 64, 128, 256, 512), (0.5, 1.0, 2.0)),
    )


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


def best_overlaps(boxes: np.ndarray, sizes_px: np.ndarray, ratios: np.ndarray) -> np.ndarray:
    """Compute the best intersection over union of each box with an anchor that has the same middle.

    Args:
        boxes: Width and height of each box, (N, 2) float64 [px].
        sizes_px: Square roots of the areas of the anchors [px].
        ratios: Heights of anchors over their widths.

    Returns:
        (N,) float64.
    """
    widths = (sizes_px[:, None] / np.sqrt(ratios)[None]).ravel()
    heights = (sizes_px[:, None] * np.sqrt(ratios)[None]).ravel()
    inside = np.minimum(boxes[:, :1], widths) * np.minimum(boxes[:, 1:], heights)
    return (inside / (boxes.prod(axis=1, keepdims=True) + widths * heights - inside)).max(axis=1)
