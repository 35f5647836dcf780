"""From an annotated photo to the input of a network for dense tasks and what it is to answer.

Axes: N objects, C channels, H W height and width of the photo, h w of what the network sees [px]. Boxes are left, top,
right, bottom [px].
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from focalnets.data.annotated.images import AnnotatedImage, draw_object
from focalnets.data.annotated.objects import AnnotatedObject, box_around
from focalnets.data.dense.windows import Window
from focalnets.data.transforms import to_tensor
from focalnets.errors import ConfigError
from focalnets.models.config import WholeImage

__all__ = ["DenseAugmentation", "DenseTransform"]

_ATTEMPTS = 10
_WELL_VISIBLE = 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class DenseAugmentation:
    """What is changed at random in training.

    Attributes:
        scale: Smallest and largest factor on the size at which the network sees a photo.
        crop_px: Height and width of a random cut, at most; None shows whole photos.
        horizontal_flip, vertical_flip: Probabilities of mirroring.
        colour_jitter: Largest relative change of brightness, contrast and saturation.
        least_visible: Objects of whose box a cut shows less than this share count as regions to ignore.
        most_of_one_class: Cuts of class maps in which one class takes more than this share are drawn again.
    """

    scale: tuple[float, float] = (1.0, 1.0)
    crop_px: tuple[int, int] | None = None
    horizontal_flip: float = 0.5
    vertical_flip: float = 0.0
    colour_jitter: float = 0.0
    least_visible: float = 0.2
    most_of_one_class: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 < self.scale[0] <= self.scale[1] <= 10.0:
            raise ConfigError(f"scale must be two factors with 0 < smallest <= largest <= 10, got {self.scale}.")
        if self.crop_px is not None and not all(type(side) is int and 1 <= side <= 8192 for side in self.crop_px):
            raise ConfigError(f"crop_px must be a height and a width from 1 to 8192 px or None, got {self.crop_px}.")
        for name in ("horizontal_flip", "vertical_flip", "colour_jitter", "least_visible", "most_of_one_class"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"{name} must lie between 0 and 1, got {getattr(self, name)!r}.")


class DenseTransform:
    """Prepare an annotated photo for a network, by torch's random numbers alone; reading processes can take it along.

    Args:
        spec: Size, interpolation and normalisation.
        augmentation: What is changed at random; None for evaluation.
        masks: Whether masks of objects are wanted.
        semantic: Whether the class of each pixel is wanted.
        alter: Changes the picture that the network is to see, with its number, see :mod:`focalnets.tasks.robustness`.
        antialias: Whether photos are smoothed where they become smaller.
    """

    def __init__(
        self,
        spec: WholeImage,
        augmentation: DenseAugmentation | None = None,
        *,
        masks: bool = False,
        semantic: bool = False,
        alter: Callable[[Image.Image, int], Image.Image] | None = None,
        antialias: bool = True,
    ) -> None:
        self.spec, self.augmentation, self.alter = spec, augmentation, alter
        self.masks, self.semantic, self.antialias = masks, semantic, antialias
        self.tensor = to_tensor(spec)
        strength = 0.0 if augmentation is None else augmentation.colour_jitter
        self.colours = v2.ColorJitter(strength, strength, strength) if strength else None

    def __call__(self, item: tuple[Image.Image, AnnotatedImage], index: int) -> tuple[Tensor, dict[str, Any]]:
        """Prepare the item of a number.

        Returns:
            The picture (C, h, w) float32, normalised, and a dictionary of tensors: ``boxes`` (N, 4) float32 [px of the
            picture], ``labels`` (N,) int64, ``crowd`` (N,) bool, ``area`` (N,) float32, pixels of each object in the
            photo as it is stored, ``image_id`` () int64, ``size`` (2,) int64, height and width of the photo, ``scale``
            (2,) float32, pixels of the picture for one of the photo along x and y; where wanted ``masks`` (N, h, w)
            bool and ``semantic`` (h, w) int64 with 255 for what is ignored. Objects that are out of sight, or have no
            area, are left out.
        """
        photo, annotated = item
        window = self._window(annotated)
        picture = window.of_photo(photo, self.spec.interpolation, antialias=self.antialias)
        picture = picture if self.colours is None else self.colours(picture)
        picture = picture if self.alter is None else self.alter(picture, index)
        target: dict[str, Any] = {
            **self._objects(annotated, window),
            "image_id": torch.tensor(index),
            "size": torch.tensor(annotated.size[::-1]),
            "scale": torch.tensor(window.scale, dtype=torch.float32),
        }
        if self.semantic:
            assert annotated.semantic is not None, "data for semantic tasks knows the class of each pixel"
            target["semantic"] = torch.from_numpy(window.of_map(annotated.semantic))
        return self.tensor(picture), target

    def _window(self, annotated: AnnotatedImage) -> Window:
        width, height = annotated.size
        size, change = self.spec.size_of(width, height), self.augmentation
        if change is None:
            return Window(0, 0, width, height, size)
        factor = change.scale[0] + (change.scale[1] - change.scale[0]) * _random()
        size = (max(1, round(size[0] * factor)), max(1, round(size[1] * factor)))
        flips = (_random() < change.horizontal_flip, _random() < change.vertical_flip)
        if change.crop_px is None or (size[0] <= change.crop_px[1] and size[1] <= change.crop_px[0]):
            return Window(0, 0, width, height, size, *flips)
        cut = (min(size[0], change.crop_px[1]), min(size[1], change.crop_px[0]))
        part = (
            min(width, max(1, round(cut[0] * width / size[0]))),
            min(height, max(1, round(cut[1] * height / size[1]))),
        )
        boxes = annotated.boxes[~annotated.crowd]
        for attempt in range(_ATTEMPTS):
            left, top = round(_random() * (width - part[0])), round(_random() * (height - part[1]))
            if attempt == _ATTEMPTS - 1 and len(boxes):  # Chance missed all objects: go to one of them.
                middle = boxes[min(int(_random() * len(boxes)), len(boxes) - 1)].reshape(2, 2).mean(dim=0).tolist()
                left, top = (
                    min(max(round(at - _random() * side), 0), whole - side)
                    for at, side, whole in zip(middle, part, (width, height), strict=True)
                )
            window = Window(left, top, *part, cut, *flips)
            if self._shows_enough(annotated, boxes, window):
                break
        return window

    def _shows_enough(self, annotated: AnnotatedImage, boxes: Tensor, window: Window) -> bool:
        assert self.augmentation is not None
        if len(boxes) and not bool((window.visible(boxes) >= _WELL_VISIBLE).any()):
            return False
        if self.augmentation.most_of_one_class < 1.0 and annotated.semantic is not None:
            part = annotated.semantic[window.top : window.top + window.height : 4]
            counts = np.bincount(part[:, window.left : window.left + window.width : 4].ravel(), minlength=256)[:255]
            return bool(counts.max() <= self.augmentation.most_of_one_class * counts.sum()) and bool(counts.sum())
        return True

    def _objects(self, annotated: AnnotatedImage, window: Window) -> dict[str, Tensor]:
        stated = annotated.boxes
        visible, moved = window.visible(stated), window.of_boxes(stated)
        least = 0.0 if self.augmentation is None else self.augmentation.least_visible
        boxes, labels, crowd, areas, masks = [], [], [], [], []
        for number, thing in enumerate(annotated.objects):
            box, share = moved[number].tolist(), float(visible[number])
            if share <= 0 or box[2] - box[0] < 1e-3 or box[3] - box[1] < 1e-3:
                continue
            ignored = thing.crowd or share < least
            if self.masks:
                mask = window.of_map(_mask_of(thing, annotated))
                if share < 1.0 - 1e-6 and mask.any():
                    box = list(box_around(mask))
                ignored = ignored or thing.mask_data is None or not mask.any()
                masks.append(mask)
            boxes.append(box)
            labels.append(thing.label)
            crowd.append(ignored)
            areas.append(_area(thing))
        found = {
            "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            "labels": torch.tensor(labels, dtype=torch.int64),
            "crowd": torch.tensor(crowd, dtype=torch.bool),
            "area": torch.tensor(areas, dtype=torch.float32),
        }
        if self.masks:
            empty = np.zeros((0, window.size[1], window.size[0]), dtype=bool)
            found["masks"] = torch.from_numpy(np.stack(masks) if masks else empty)
        return found


def _mask_of(thing: AnnotatedObject, annotated: AnnotatedImage) -> np.ndarray:
    mask = thing.mask
    if mask is None:
        mask = np.zeros(annotated.size[::-1], dtype=bool)
        draw_object(thing, mask)
    return mask


def _area(thing: AnnotatedObject) -> float:
    if thing.area_px is not None:
        return thing.area_px
    left, top, right, bottom = thing.box_xyxy
    return math.fabs((right - left) * (bottom - top))


def _random() -> float:
    """A number from 0 to below 1 by torch's random numbers."""
    return float(torch.rand(()))
