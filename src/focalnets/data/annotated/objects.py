"""One object in a photo: its category, box and mask, and how boxes and masks follow a photo that is turned upright.

Axes: H W height and width [px]. A box is left, top, right, bottom [px]. The pixel in row r and column c covers x from c
to c + 1 and y from r to r + 1, with its middle at (c + 0.5, r + 0.5).
"""

from __future__ import annotations

import dataclasses
from typing import Protocol

import numpy as np
from PIL import Image

from focalnets.data.images import turned_upright
from focalnets.errors import DataError

__all__ = [
    "AnnotatedObject",
    "Box",
    "Category",
    "LazyMask",
    "box_around",
    "boxes_around_numbers",
    "filled_box",
    "turn_between",
    "turned_box",
    "turned_mask",
]

Box = tuple[float, float, float, float]

_PIXELS_AT_ONCE = 1 << 20


@dataclasses.dataclass(frozen=True)
class Category:
    """What an object is.

    Attributes:
        id: As the data write it: a number, which may leave gaps, or a text. None where they give none.
        name: For people.
        supercategory: The group that it belongs to, where the data name one.
        thing: Whether it is counted in objects; others are stuff, such as sky, of which there are only pixels.
    """

    id: int | str | None
    name: str
    supercategory: str | None = None
    thing: bool = True


class LazyMask(Protocol):
    """A mask that is kept small and drawn when asked for."""

    def decode(self) -> np.ndarray:
        """Draw it: booleans (H, W)."""


@dataclasses.dataclass(frozen=True, eq=False)
class AnnotatedObject:
    """One object, in pixels of the upright photo.

    Attributes:
        category: What it is.
        label: Place of the category in ``AnnotatedImages.categories``; -1 where it is none of them.
        box_xyxy: Left, top, right, bottom [px], as the data state it: it may reach over the edge of the photo.
        mask_data: Booleans (H, W), or what draws them; None where only the box is known.
        crowd: Whether this is a region of many objects, or one to ignore, and no single object.
        area_px: Number of pixels that it covers, as the data state it; None where they do not.
    """

    category: Category
    label: int
    box_xyxy: Box
    mask_data: np.ndarray | LazyMask | None = None
    crowd: bool = False
    area_px: float | None = None

    @property
    def mask(self) -> np.ndarray | None:
        """Where it is, booleans (H, W), drawn anew each time; None where only the box is known."""
        if self.mask_data is None or isinstance(self.mask_data, np.ndarray):
            return self.mask_data
        return self.mask_data.decode()


def filled_box(box_xyxy: Box, height: int, width: int) -> tuple[slice, slice]:
    """Find the pixels whose middle lies in a box, as rows and columns of a mask (height, width)."""
    left, top, right, bottom = box_xyxy
    rows = np.ceil(np.clip(np.array([top, bottom]) - 0.5, 0, height)).astype(int)
    columns = np.ceil(np.clip(np.array([left, right]) - 0.5, 0, width)).astype(int)
    return slice(*rows.tolist()), slice(*columns.tolist())


def box_around(mask: np.ndarray) -> Box:
    """Find the smallest box around the pixels of a mask (H, W); all 0 where it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return (0.0, 0.0, 0.0, 0.0)
    return (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))


def boxes_around_numbers(numbers: np.ndarray, *, most: int = 65_536) -> dict[int, Box]:
    """Find the smallest box around each number but 0 in a map of whole numbers (H, W), in rising order.

    The time grows with the pixels, not with the pixels times the numbers.

    Raises:
        ValueError: If there are more than ``most`` numbers.
    """
    width, flat = numbers.shape[1], numbers.ravel()
    found = np.empty((0, 5), dtype=np.int64)  # Of each number: itself, left, top, right, bottom.
    for first in range(0, flat.size, _PIXELS_AT_ONCE):
        part = flat[first : first + _PIXELS_AT_ONCE]
        begins = np.concatenate([[True], part[1:] != part[:-1]])
        begins[-first % width :: width] = True  # No run goes on in the next row.
        starts = np.flatnonzero(begins)
        ends = np.append(starts[1:], part.size)
        counts = part[starts] != 0
        starts, ends = starts[counts], ends[counts]
        row, left = np.divmod(starts + first, width)
        runs = np.stack([part[starts].astype(np.int64), left, row, left + ends - starts, row + 1], axis=1)
        both = np.concatenate([found, runs])
        both = both[np.argsort(both[:, 0], kind="stable")]
        groups = np.flatnonzero(np.diff(both[:, 0], prepend=both[:1, 0] - 1))
        if groups.size > most:
            raise ValueError(f"there are more than {most} numbers")
        if groups.size:
            low, high = np.minimum.reduceat(both, groups), np.maximum.reduceat(both, groups)
            found = np.concatenate([low[:, :3], high[:, 3:]], axis=1)
    return {
        number: (float(left), float(top), float(right), float(bottom))
        for number, left, top, right, bottom in found.tolist()
    }


def turn_between(
    annotated_size: tuple[int, int], photo_size: tuple[int, int], orientation: int, *, names: tuple[str, str]
) -> int:
    """Find how annotations must be turned to lie on the upright photo.

    Annotations of the upright photo's size are taken as made on the upright photo. Those of the size that the photo has
    in its file, before it is turned, are turned in the same way.

    Args:
        annotated_size: Width and height of what was annotated [px].
        photo_size: Width and height of the upright photo [px].
        orientation: How the photo was turned, see :func:`focalnets.data.images.exif_orientation`.
        names: What errors call the annotations and the photo.

    Returns:
        The EXIF orientation to turn by; 1 leaves them as they are.

    Raises:
        DataError: If they are of neither size.
    """
    if annotated_size == photo_size:
        return 1
    if orientation >= 5 and annotated_size == photo_size[::-1]:
        return orientation
    raise DataError(
        f"{names[0]} has {annotated_size[0]} x {annotated_size[1]} pixels but {names[1]} {photo_size[0]} x "
        f"{photo_size[1]}; expected the same."
    )


def turned_mask(mask: np.ndarray, orientation: int) -> np.ndarray:
    """Turn a mask (h, w) of any kind by an EXIF orientation."""
    return mask if orientation == 1 else np.asarray(turned_upright(Image.fromarray(mask), orientation))


def turned_box(box_xyxy: Box, size: tuple[int, int], orientation: int) -> Box:
    """Turn a box by an EXIF orientation.

    Args:
        box_xyxy: Left, top, right, bottom [px].
        size: Width and height [px] before turning.
        orientation: 1 to 8.
    """
    left, top, right, bottom = box_xyxy
    if orientation in (2, 3, 7, 8):
        left, right = size[0] - right, size[0] - left
    if orientation in (3, 4, 6, 7):
        top, bottom = size[1] - bottom, size[1] - top
    return (top, left, bottom, right) if orientation >= 5 else (left, top, right, bottom)
