"""Images whose objects stand in lists: boxes and shapes as files have them, laid on the upright photo.

Axes: H W height and width [px].
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from focalnets.data.annotated.encoded_masks import EncodedMask
from focalnets.data.annotated.images import AnnotatedImage, AnnotatedImages, DenseTask, find_photo
from focalnets.data.annotated.objects import AnnotatedObject, Box, Category, turn_between, turned_box
from focalnets.data.annotated.polygons import PolygonMask, check_polygon, polygon_extent

__all__ = ["JoinedMask", "ListedImage", "Shape", "ShapeReader", "grouped", "listed_images", "polygon_shape"]


@dataclasses.dataclass(frozen=True, eq=False)
class JoinedMask:
    """What lies in any of some masks of the same size.

    Attributes:
        parts: The masks, not turned.
        orientation: How it must be turned to lie on the upright photo, as EXIF counts.
    """

    parts: Sequence[PolygonMask | EncodedMask | JoinedMask]
    orientation: int = 1

    def decode(self) -> np.ndarray:
        """Draw it: booleans (H, W), of the upright photo."""
        union = None
        for part in self.parts:
            mask = dataclasses.replace(part, orientation=self.orientation).decode()
            union = mask if union is None else union | mask
        assert union is not None, "at least one mask is joined"
        return union


ShapeMask = PolygonMask | EncodedMask | JoinedMask


@dataclasses.dataclass(frozen=True, eq=False)
class Shape:
    """One object in pixels of the image that was annotated, before it is turned upright.

    Attributes:
        category: Id or name of its class, as the categories have it.
        box_xyxy: Left, top, right, bottom [px].
        mask: Where it is; None where only the box is known.
        crowd: Whether it is a region to ignore.
        area_px: Number of its pixels where the file states it.
        group: Shapes of one class and group are one object; None for none.
    """

    category: int | str
    box_xyxy: Box
    mask: ShapeMask | None = None
    crowd: bool = False
    area_px: float | None = None
    group: int | str | None = None


class ShapeReader(Protocol):
    """Reads the shapes of an image of this size [px]; processes can be sent one."""

    def __call__(self, width: int, height: int) -> list[Shape]: ...


@dataclasses.dataclass(frozen=True, eq=False)
class ListedImage:
    """An image and what reads its shapes.

    Attributes:
        name: Of the image, for people and splits.
        file: The photo.
        shapes: See :class:`ShapeReader`.
        size: Width and height of the image that was annotated [px]; None where that is not stated.
        stored: Where no size is stated: whether it was annotated as it lies in its file, before it is turned upright.
        source: What errors call the annotations.
    """

    name: str
    file: Path
    shapes: ShapeReader
    size: tuple[int, int] | None = None
    stored: bool = False
    source: str = "The annotations"


def listed_images(
    data: str,
    images: Sequence[ListedImage],
    categories: Sequence[Category],
    *,
    kinds: frozenset[DenseTask],
    sources: Sequence[Path],
) -> AnnotatedImages:
    """Make annotated images of a list."""
    return AnnotatedImages(
        data=data,
        objects="all objects",
        names=[image.name for image in images],
        read=_ListReader(images, categories),
        categories=categories,
        kinds=kinds,
        files=[image.file for image in images],
        sources=sources,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _ListReader:
    """Reads the image of a number."""

    images: Sequence[ListedImage]
    categories: Sequence[Category]

    def __call__(self, index: int) -> AnnotatedImage:
        entry = self.images[index]
        photo = find_photo(entry.file)
        size, turn = photo.size, 1
        if entry.size is not None:
            size = entry.size
            turn = turn_between(size, photo.size, photo.orientation, names=(entry.source, f"'{entry.file}'"))
        elif entry.stored and photo.orientation >= 5:
            size, turn = photo.size[::-1], photo.orientation
        labels: dict[int | str | None, int] = {}
        for label, category in enumerate(self.categories):
            labels[category.name if category.id is None else category.id] = label
        objects = []
        for shape in grouped(entry.shapes(*size)):
            label = labels[shape.category]
            objects.append(
                AnnotatedObject(
                    self.categories[label],
                    label,
                    turned_box(shape.box_xyxy, size, turn),
                    None if shape.mask is None else dataclasses.replace(shape.mask, orientation=turn),
                    crowd=shape.crowd,
                    area_px=shape.area_px,
                )
            )
        return AnnotatedImage(entry.name, photo, objects)


def grouped(shapes: Sequence[Shape]) -> list[Shape]:
    """Make one object of all shapes of one class and group, at the place of the first."""
    groups: dict[object, list[Shape]] = {}
    for number, shape in enumerate(shapes):
        key = number if shape.group is None else (shape.category, shape.group, "group")
        groups.setdefault(key, []).append(shape)
    return [members[0] if len(members) == 1 else _joined(members) for members in groups.values()]


def _joined(members: Sequence[Shape]) -> Shape:
    boxes = np.array([shape.box_xyxy for shape in members])
    low, high = boxes[:, :2].min(axis=0).tolist(), boxes[:, 2:].max(axis=0).tolist()
    masks = [shape.mask for shape in members if shape.mask is not None]
    joined: ShapeMask | None = None
    if len(masks) == len(members):
        drawn = [mask for mask in masks if isinstance(mask, PolygonMask)]
        if len(drawn) == len(masks):
            joined = dataclasses.replace(drawn[0], polygons=[corners for mask in drawn for corners in mask.polygons])
        else:
            joined = JoinedMask(masks)
    return dataclasses.replace(
        members[0],
        box_xyxy=(*low, *high),
        mask=joined,
        crowd=any(shape.crowd for shape in members),
        area_px=None,
    )


def polygon_shape(category: int | str, corners: np.ndarray, width: int, height: int, **facts: object) -> Shape:
    """Make an object of one polygon.

    Args:
        category: Its class.
        corners: (C, 2) float64, finite [px].
        width: Of the image [px].
        height: Of the image [px].
        **facts: Further fields of the shape.

    Raises:
        ValueError: See :func:`focalnets.data.annotated.polygons.check_polygon`.
    """
    check_polygon(corners)
    mask = PolygonMask(height, width, [corners])
    return Shape(category, polygon_extent([corners], height, width), mask, **facts)  # type: ignore[arg-type]
