"""Objects found in windows that overlap, put together: none doubled, none cut.

Two windows both see where they overlap. What they found there is the same object if, within what both see, it covers
the same pixels: an object that is whole in one window and cut in the other, one that both see whole, or one larger than
the overlap that both see cut. No torch.

Axes: N objects, h w height and width of a mask [px]. A box is left, top, right, bottom [px of the image].
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from focalnets.large.windows import Window

__all__ = ["PartMask", "WindowObject", "merge_objects"]

Box = tuple[float, float, float, float]


@dataclasses.dataclass(frozen=True, eq=False)
class PartMask:
    """Which pixels belong to an object, around which there are none.

    Attributes:
        left, top: Of the pixels [px of the image].
        pixels: Booleans (h, w).
    """

    left: int
    top: int
    pixels: np.ndarray

    def cut(self, box: Box) -> np.ndarray:
        """Take the pixels within a box, all of it, booleans."""
        left, top, right, bottom = (round(corner) for corner in box)
        part = np.zeros((max(0, bottom - top), max(0, right - left)), bool)
        height, width = self.pixels.shape
        first, last = max(left, self.left), min(right, self.left + width)
        upper, lower = max(top, self.top), min(bottom, self.top + height)
        if first < last and upper < lower:
            inside = self.pixels[upper - self.top : lower - self.top, first - self.left : last - self.left]
            part[upper - top : lower - top, first - left : last - left] = inside
        return part


@dataclasses.dataclass(frozen=True, eq=False)
class WindowObject:
    """An object as one window shows it.

    Attributes:
        window: The window.
        label: Number of its class.
        score: From 0 to 1.
        box: In the image.
        mask: In the image; None where there is only the box.
    """

    window: Window
    label: int
    score: float
    box: Box
    mask: PartMask | None = None

    def is_cut(self, size: tuple[int, int], border_px: float) -> bool:
        """Tell whether it reaches a border of its window that is none of the image (height, width)."""
        left, top, right, bottom = self.box
        window = self.window
        return (
            (window.left > 0 and left - window.left < border_px)
            or (window.top > 0 and top - window.top < border_px)
            or (window.right < size[1] and window.right - right < border_px)
            or (window.bottom < size[0] and window.bottom - bottom < border_px)
        )


def merge_objects(
    objects: Sequence[WindowObject],
    size: tuple[int, int],
    *,
    agreement: float = 0.5,
    containment: float = 0.75,
    border_px: float = 3.0,
) -> list[WindowObject]:
    """Put together what several windows found.

    Args:
        objects: Of all windows; of one window each object once.
        size: Height and width of the image [px].
        agreement: Intersection over union, within what both windows see, from which two are the same object.
        containment: For one that is cut: the share of it within the other from which it is the same object.
        border_px: What comes closer to a border of its window counts as cut by it [px].

    Returns:
        Each object once, the surest first. An object that a window shows whole is taken from there, the surest if there
        are several; of one that is cut everywhere the parts are joined, under the highest score.
    """
    cut = [each.is_cut(size, border_px) for each in objects]
    rule = _Rule(agreement, containment, border_px)
    pairs = []
    for first, second in _neighbours(objects):
        likeness = _likeness(objects[first], objects[second], cut[first], cut[second], rule)
        if likeness > 0:
            pairs.append((likeness, first, second))
    groups = [{index} for index in range(len(objects))]
    for _, first, second in sorted(pairs, key=lambda pair: (-pair[0], pair[1:])):
        one, other = groups[first], groups[second]
        numbers = {objects[index].window.number for index in one}
        # A window shows an object once: two of its objects are two.
        if one is other or any(objects[index].window.number in numbers for index in other):
            continue
        one |= other
        for index in other:
            groups[index] = one
    merged = [
        _joined([objects[index] for index in sorted(group)], [cut[index] for index in sorted(group)])
        for number, group in enumerate(groups)
        if number == min(group)
    ]
    return sorted(merged, key=lambda each: -each.score)


def _neighbours(objects: Sequence[WindowObject]) -> Iterator[tuple[int, int]]:
    """List the pairs of one class from different windows whose boxes overlap."""
    by_class: dict[int, list[int]] = {}
    for index, each in enumerate(objects):
        by_class.setdefault(each.label, []).append(index)
    for members in by_class.values():
        boxes = np.array([objects[index].box for index in members])
        order = np.argsort(boxes[:, 0], kind="stable")
        lefts = boxes[order, 0]
        ends = np.searchsorted(lefts, boxes[order, 2], side="left")
        for place, end in enumerate(ends):
            own = boxes[order[place]]
            following = order[place + 1 : end]
            beside = following[(boxes[following, 1] < own[3]) & (boxes[following, 3] > own[1])]
            for other in beside:
                first, second = sorted((members[order[place]], members[other]))
                if objects[first].window.number != objects[second].window.number:
                    yield first, second


@dataclasses.dataclass(frozen=True)
class _Rule:
    """When two are the same object; see :func:`merge_objects`."""

    agreement: float
    containment: float
    border_px: float


def _likeness(one: WindowObject, other: WindowObject, one_cut: bool, other_cut: bool, rule: _Rule) -> float:
    """How much two are the same where both windows see, from 0 to 2; 0 if they are not."""
    both = _intersection(_box_of(one.window), _box_of(other.window))
    if both is None:
        return 0.0
    first, second, common = _areas(one, other, both)
    if common > 0 and common / (first + second - common) >= rule.agreement:
        return 1.0 + common / (first + second - common)
    contained = 0.0
    for part, whole, is_cut in ((one, other, one_cut), (other, one, other_cut)):
        if is_cut:  # Perhaps a narrow part of it, of which a pixel more or less is much.
            area, _, common = _areas(part, whole, both, margin=rule.border_px)
            contained = max(contained, common / area if area else 0.0)
    return contained if contained >= rule.containment else 0.0


def _areas(one: WindowObject, other: WindowObject, both: Box, margin: float = 0.0) -> tuple[float, float, float]:
    """Areas of two objects within a box, and of what they share there; the box of the other has a margin."""
    left, top, right, bottom = other.box
    around = (left - margin, top - margin, right + margin, bottom + margin)
    first, second = _intersection(one.box, both), _intersection(around, both)
    if first is None or second is None:
        return 0.0, 0.0, 0.0
    if one.mask is not None and other.mask is not None:
        around = (
            min(first[0], second[0]),
            min(first[1], second[1]),
            max(first[2], second[2]),
            max(first[3], second[3]),
        )
        whole = (np.floor(around[0]), np.floor(around[1]), np.ceil(around[2]), np.ceil(around[3]))
        pixels, others = one.mask.cut(whole), other.mask.cut(whole)
        return float(pixels.sum()), float(others.sum()), float((pixels & others).sum())
    common = _intersection(first, second)
    return _area(first), _area(second), 0.0 if common is None else _area(common)


def _joined(members: Sequence[WindowObject], cut: Sequence[bool]) -> WindowObject:
    whole = [member for member, is_cut in zip(members, cut, strict=True) if not is_cut]
    if whole or len(members) == 1:
        return max(whole or members, key=lambda member: member.score)
    best = max(members, key=lambda member: member.score)
    boxes = np.array([member.box for member in members])
    left, top = boxes[:, :2].min(0)
    right, bottom = boxes[:, 2:].max(0)
    box = (float(left), float(top), float(right), float(bottom))
    masks = [member.mask for member in members if member.mask is not None]
    return dataclasses.replace(best, box=box, mask=_union(masks) if masks else None)


def _union(masks: Sequence[PartMask]) -> PartMask:
    left, top = min(mask.left for mask in masks), min(mask.top for mask in masks)
    right = max(mask.left + mask.pixels.shape[1] for mask in masks)
    bottom = max(mask.top + mask.pixels.shape[0] for mask in masks)
    pixels = np.zeros((bottom - top, right - left), bool)
    for mask in masks:
        height, width = mask.pixels.shape
        pixels[mask.top - top : mask.top - top + height, mask.left - left : mask.left - left + width] |= mask.pixels
    return PartMask(left, top, pixels)


def _box_of(window: Window) -> Box:
    return window.left, window.top, window.right, window.bottom


def _intersection(one: Box, other: Box) -> Box | None:
    left, top = max(one[0], other[0]), max(one[1], other[1])
    right, bottom = min(one[2], other[2]), min(one[3], other[3])
    return (left, top, right, bottom) if left < right and top < bottom else None


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
