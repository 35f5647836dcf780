"""Pictures made of several: four in one, and objects of one photo laid on another.

Axes: H W height and width of the whole picture, h w of a part [px].
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from focalnets.data.annotated.images import IGNORED, AnnotatedImage
from focalnets.data.annotated.objects import AnnotatedObject, LazyMask, box_around
from focalnets.data.dense.windows import Window
from focalnets.data.labelled import LabelledData
from focalnets.errors import ConfigError

__all__ = ["MixedData", "copy_paste", "four_in_one"]

Item = tuple[Image.Image, AnnotatedImage]

_MOST_PASTED = 5
_LEAST_VISIBLE = 0.1
_SMALLEST_PX = 4
_MIDDLE = (0.3, 0.7)


class MixedData:
    """Annotated data of which some items are mixed with others, by torch's random numbers alone.

    Args:
        data: What is mixed.
        mosaic: Probability that an item becomes one of four in one picture.
        copy_paste: Probability that objects of another item are laid on it; for data with masks.
        off_epoch: Epoch, counted from 0, from which on nothing is mixed; None goes on.

    Raises:
        ConfigError: If a probability is none.
    """

    def __init__(
        self, data: LabelledData, *, mosaic: float = 0.0, copy_paste: float = 0.0, off_epoch: int | None = None
    ) -> None:
        for name, value in (("mosaic", mosaic), ("copy_paste", copy_paste)):
            if not 0.0 <= value <= 1.0:
                raise ConfigError(f"{name} is a probability from 0 to 1, got {value!r}.")
        self.data, self.mosaic, self.copy_paste, self.off_epoch = data, mosaic, copy_paste, off_epoch

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Item:
        """Read an item, and by chance mix it."""
        return self.at(index, 0)

    def at(self, index: int, epoch: int) -> Item:
        """Read an item as an epoch, counted from 0, shows it."""
        item = self.data[index]
        if self.off_epoch is not None and epoch >= self.off_epoch:
            return item
        if _random() < self.mosaic:
            item = four_in_one([item, *(self.data[self._another()] for _ in range(3))])
        if _random() < self.copy_paste:
            item = copy_paste(item, self.data[self._another()])
        return item

    def _another(self) -> int:
        return int(torch.randint(len(self.data), ()))


def four_in_one(items: Sequence[Item]) -> Item:
    """Show parts of four items in one picture of the size of the first, around a point near the middle.

    Each part is filled: photos are brought to the size at which they just cover it, or up to half larger. There is no
    grey around them as in other mosaics, from which networks would learn edges that no photo has.
    """
    width, height = items[0][1].size
    middle_x, middle_y = (
        min(max(round(side * (_MIDDLE[0] + (_MIDDLE[1] - _MIDDLE[0]) * _random())), 1), max(side - 1, 1))
        for side in (width, height)
    )
    places = ((0, 0, middle_x, middle_y), (middle_x, 0, width, middle_y), (0, middle_y, middle_x, height))
    picture = Image.new("RGB", (width, height))
    parts: list[tuple[AnnotatedImage, Window, tuple[int, int]]] = []
    for (photo, annotated), (left, top, right, bottom) in zip(
        items, (*places, (middle_x, middle_y, width, height)), strict=True
    ):
        if right <= left or bottom <= top:
            continue
        window = _covering(annotated.size, (right - left, bottom - top))
        picture.paste(window.of_photo(photo, "bilinear"), (left, top))
        parts.append((annotated, window, (left, top)))
    objects = [thing for part in parts for thing in _placed(*part, (width, height))]
    semantic = None
    if all(annotated.semantic_data is not None for annotated, _, _ in parts):
        semantic = np.full((height, width), IGNORED, dtype=np.uint8)
        for annotated, window, (left, top) in parts:
            assert annotated.semantic is not None
            part = window.of_map(annotated.semantic)
            semantic[top : top + part.shape[0], left : left + part.shape[1]] = part
    return picture, AnnotatedImage(items[0][1].name, picture, objects, semantic_data=semantic)


def copy_paste(item: Item, other: Item) -> Item:
    """Lay up to five objects of another item on this one, each somewhere, mirrored or not and of half to double size.

    What they hide is taken away from the objects below. Only objects with masks are moved.

    Source: Ghiasi et al. 2021, Simple Copy-Paste; single objects are placed anew in place of the whole second photo.
    """
    picture, below = item[0].copy(), item[1]
    width, height = below.size
    candidates = [
        thing for thing in other[1].objects if thing.mask_data is not None and not thing.crowd and thing.label >= 0
    ]
    order = torch.randperm(len(candidates)).tolist()[: 1 + int(_random() * _MOST_PASTED)]
    covered = np.zeros((height, width), dtype=bool)
    labels = None if below.semantic is None else below.semantic.copy()
    pasted: list[AnnotatedObject] = []
    for number in order:
        thing = candidates[number]
        window = _around(thing, other[1].size, (width, height))
        if window is None:
            continue
        shape = window.of_map(_mask_of(thing))
        if shape.sum() < _SMALLEST_PX:
            continue
        left, top = (
            int(_random() * (whole - part + 1)) for whole, part in zip((width, height), window.size, strict=True)
        )
        place = (slice(top, top + shape.shape[0]), slice(left, left + shape.shape[1]))
        picture.paste(window.of_photo(other[0], "bilinear"), (left, top), Image.fromarray(shape))
        whole = np.zeros((height, width), dtype=bool)
        whole[place] = shape
        pasted = [_hidden(each, whole) for each in pasted]
        pasted.append(
            dataclasses.replace(thing, box_xyxy=box_around(whole), mask_data=whole, area_px=float(shape.sum()))
        )
        covered |= whole
        if labels is not None:
            labels[whole] = thing.label
    if not pasted:
        return item
    objects = [_hidden(thing, covered) if _meets(thing, pasted) else thing for thing in below.objects]
    objects = [thing for thing in (*objects, *pasted) if thing.box_xyxy[2] > thing.box_xyxy[0]]
    return picture, AnnotatedImage(below.name, picture, objects, semantic_data=labels)


@dataclasses.dataclass(frozen=True, eq=False)
class _PlacedMask:
    """The mask of an object in its part of a picture."""

    mask: np.ndarray | LazyMask
    window: Window
    corner: tuple[int, int]
    size: tuple[int, int]

    def decode(self) -> np.ndarray:
        """Draw it: booleans (H, W)."""
        part = self.window.of_map(self.mask if isinstance(self.mask, np.ndarray) else self.mask.decode())
        whole = np.zeros(self.size[::-1], dtype=bool)
        left, top = self.corner
        whole[top : top + part.shape[0], left : left + part.shape[1]] = part
        return whole


def _placed(
    annotated: AnnotatedImage, window: Window, corner: tuple[int, int], size: tuple[int, int]
) -> list[AnnotatedObject]:
    """The objects of a part, in pixels of the whole picture; those of which too little shows are regions to ignore."""
    boxes = annotated.boxes
    shares, moved = window.visible(boxes), window.of_boxes(boxes)
    factor = window.scale[0] * window.scale[1]
    found = []
    for thing, share, box in zip(annotated.objects, shares.tolist(), moved.tolist(), strict=True):
        if share <= 0 or box[2] <= box[0] or box[3] <= box[1]:
            continue
        mask = None if thing.mask_data is None else _PlacedMask(thing.mask_data, window, corner, size)
        if mask is not None and share < 1.0 - 1e-6:  # What is left of it may be smaller than what is left of its box.
            part = window.of_map(_mask_of(thing))
            box = list(box_around(part)) if part.any() else box
        found.append(
            dataclasses.replace(
                thing,
                box_xyxy=(box[0] + corner[0], box[1] + corner[1], box[2] + corner[0], box[3] + corner[1]),
                mask_data=mask,
                crowd=thing.crowd or share < _LEAST_VISIBLE,
                area_px=None if thing.area_px is None else thing.area_px * factor * share,
            )
        )
    return found


def _covering(size: tuple[int, int], part: tuple[int, int]) -> Window:
    """A random window of a photo that fills a part, mirrored or not."""
    scale = max(part[0] / size[0], part[1] / size[1]) * (1 + 0.5 * _random())
    width, height = (min(whole, max(1, round(side / scale))) for whole, side in zip(size, part, strict=True))
    left, top = int(_random() * (size[0] - width + 1)), int(_random() * (size[1] - height + 1))
    return Window(left, top, width, height, part, mirrored=_random() < 0.5)


def _around(thing: AnnotatedObject, size: tuple[int, int], whole: tuple[int, int]) -> Window | None:
    """The window around an object, at the size at which it is laid on a picture; None where it does not fit."""
    left, top = (max(0, math.floor(value)) for value in thing.box_xyxy[:2])
    right, bottom = (min(side, math.ceil(value)) for side, value in zip(size, thing.box_xyxy[2:], strict=True))
    if right - left < 2 or bottom - top < 2:
        return None
    scale = math.sqrt(whole[0] * whole[1] / (size[0] * size[1])) * 2.0 ** (2 * _random() - 1)
    scale = min(scale, whole[0] / (right - left), whole[1] / (bottom - top))
    result = (max(1, int((right - left) * scale)), max(1, int((bottom - top) * scale)))
    return Window(left, top, right - left, bottom - top, result, mirrored=_random() < 0.5)


def _mask_of(thing: AnnotatedObject) -> np.ndarray:
    mask = thing.mask
    assert mask is not None
    return mask


def _hidden(thing: AnnotatedObject, covered: np.ndarray) -> AnnotatedObject:
    """An object without what is covered; with an empty box where too little of it is left."""
    if thing.mask_data is None:
        return thing
    mask = _mask_of(thing)
    left = mask & ~covered
    if left.sum() == mask.sum():
        return thing
    box = box_around(left) if left.sum() >= _LEAST_VISIBLE * mask.sum() else (0.0, 0.0, 0.0, 0.0)
    return dataclasses.replace(thing, box_xyxy=box, mask_data=left, area_px=float(left.sum()))


def _meets(thing: AnnotatedObject, others: Sequence[AnnotatedObject]) -> bool:
    left, top, right, bottom = thing.box_xyxy
    return any(
        left < other.box_xyxy[2]
        and other.box_xyxy[0] < right
        and top < other.box_xyxy[3]
        and other.box_xyxy[1] < bottom
        for other in others
    )


def _random() -> float:
    return float(torch.rand(()))
