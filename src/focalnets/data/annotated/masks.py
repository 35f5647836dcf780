"""Folders of images with masks for each: numbers of objects, numbers or colours of classes, or a mask for each object.

Axes: H W height and width [px].
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from focalnets.data.annotated.class_table import find_class_table, is_background, is_ignored
from focalnets.data.annotated.images import AnnotatedImage, AnnotatedImages, find_photo
from focalnets.data.annotated.label_images import read_label_image
from focalnets.data.annotated.mask_folders import MaskFolders, masks_of_photos, paired
from focalnets.data.annotated.objects import (
    AnnotatedObject,
    Box,
    Category,
    box_around,
    boxes_around_numbers,
    turn_between,
    turned_mask,
)
from focalnets.data.finding import find_images
from focalnets.data.images import image_size, upright_size
from focalnets.errors import DataError

__all__ = ["open_masks"]

_PENN_FUDAN_NAMES = ("pedestrian", "person")


def open_masks(folders: MaskFolders, category: str | None = None, *, everything: bool = False) -> AnnotatedImages:
    """Open images with one mask image each, of the same name in the other folder, with ``_mask`` behind it or not.

    Numbers in a mask are 0 where nothing is and another number on objects: their own number, as in Penn-Fudan, or that
    of their class. Names of classes are read from a table, see :mod:`focalnets.data.annotated.class_table`.

    Each number is one object: in Penn-Fudan a pedestrian; elsewhere all that is of one class in the image. A number
    without a name beside others with names is a region to ignore (``crowd``). Without names the number is the
    category's id and its name. Masks in colour or with fractions show one object.

    Args:
        folders: See :func:`focalnets.data.annotated.mask_folders.find_mask_folders`.
        category: Name or number of a class; None takes everything that is not 0.
        everything: Whether 0 is an object too where it stands for a class like the others.

    Raises:
        DataError: If masks are missing or of another size, if there is no such class, or if none is given where 0
            is a class like the others.
        ImageError: If the header of a file cannot be read.
    """
    table = None if is_penn_fudan(folders) else find_class_table(table_folders(folders))
    names = {} if table is None else dict(table.names)
    zero_counts = 0 in names and not is_background(names[0]) and not is_ignored(names[0])
    number, words = _chosen_number(folders, names, category, zero_counts and not everything)
    photos = find_images([folders.images])
    masks = paired(masks_of_photos(photos, folders), photos, folders)
    for photo, mask in zip(photos, masks, strict=True):
        check_sizes(photo, mask)
    if is_penn_fudan(folders):
        categories = [Category(1, _PENN_FUDAN_NAMES[0])]
    else:
        categories = [Category(place, name) for place, name in sorted(names.items()) if place or zero_counts]
    return AnnotatedImages(
        data=str(folders.root),
        objects=words,
        names=[photo.relative_to(folders.images).as_posix() for photo in photos],
        read=_MaskReader(
            photos,
            masks,
            names,
            categories,
            number,
            instances=is_penn_fudan(folders),
            with_zero=zero_counts and everything,
        ),
        categories=categories,
        files=photos,
        sources=masks,
    )


def is_penn_fudan(folders: MaskFolders) -> bool:
    """Whether folders are called as those of Penn-Fudan, whose masks tell pedestrians apart."""
    return folders.masks.name == "PedMasks"


def table_folders(folders: MaskFolders) -> tuple[Path, ...]:
    """List the folders in which a table of classes may lie."""
    return tuple(dict.fromkeys((folders.images.parent, folders.masks, folders.masks.parent, folders.root)))


@dataclasses.dataclass(frozen=True, eq=False)
class NumberMask:
    """Where a map (H, W) holds a number."""

    numbers: np.ndarray
    number: int

    def decode(self) -> np.ndarray:
        """Draw it: booleans (H, W)."""
        return np.asarray(self.numbers == self.number)


def read_upright_mask(mask: Path, photo: Path, photo_size: tuple[int, int], orientation: int) -> np.ndarray:
    """Read the numbers (H, W) or colours (H, W, 3) of a mask so that they lie on the upright photo.

    Raises:
        DataError: If it is of another size than the photo.
        ImageError: If it cannot be read.
    """
    numbers = read_label_image(mask)
    names = (f"The mask '{mask}'", f"'{photo}'")
    turn = turn_between((numbers.shape[1], numbers.shape[0]), photo_size, orientation, names=names)
    return turned_mask(numbers, turn)


@dataclasses.dataclass(frozen=True, eq=False)
class _MaskReader:
    """Reads the image of a number, with its objects.

    Attributes:
        photos: Files.
        masks: A file for each.
        names: Of the numbers; none where they are not known.
        categories: What objects can be; none where numbers have no names.
        number: The one number that counts; None takes all but 0.
        instances: Whether numbers tell objects of the one category apart.
        with_zero: Whether 0 counts too.
    """

    photos: Sequence[Path]
    masks: Sequence[Path]
    names: dict[int, str]
    categories: Sequence[Category]
    number: int | None
    instances: bool
    with_zero: bool

    def __call__(self, index: int) -> AnnotatedImage:
        photo, mask = self.photos[index], self.masks[index]
        image = find_photo(photo)
        numbers = read_upright_mask(mask, photo, image.size, image.orientation)
        colours = numbers.ndim == 3
        if self.number is not None and colours:
            raise DataError(f"The mask '{mask}' holds colours; a category can be told apart in numbers only.")
        if colours:
            numbers = np.any(numbers, axis=-1)
        inside = np.asarray(numbers != 0 if self.number is None else numbers == self.number)
        if self.number is not None or colours or numbers.dtype.kind == "f":
            objects = [self._object(self.number, box_around(inside), inside)] if inside.any() else []
            return AnnotatedImage(photo.name, image, objects, union=inside)
        objects = [self._object(number, box, shape) for number, box, shape in numbered_objects(numbers, mask)]
        if self.with_zero and not inside.all():
            objects.insert(0, self._object(0, box_around(~inside), ~inside))
            inside = np.ones_like(inside)
        return AnnotatedImage(photo.name, image, objects, union=inside)

    def _object(self, number: int | None, box: Box, mask: np.ndarray | NumberMask) -> AnnotatedObject:
        """One object; ``number`` None where the mask does not tell what it is."""
        if self.instances:
            return AnnotatedObject(self.categories[0], 0, box, mask)
        if number is None:
            return AnnotatedObject(Category(None, "object"), -1, box, mask)
        if number not in self.names:
            return AnnotatedObject(Category(number, str(number)), -1, box, mask, crowd=bool(self.names))
        category = Category(number, self.names[number])
        label = self.categories.index(category) if category in self.categories else -1
        return AnnotatedObject(category, label, box, mask)


def numbered_objects(numbers: np.ndarray, mask: Path) -> list[tuple[int, Box, NumberMask]]:
    """List the numbers but 0 in a mask (H, W) with box and place of each, in rising order.

    Raises:
        DataError: If there are too many, as in a photo.
    """
    if numbers.dtype == bool:
        numbers = numbers.astype(np.uint8)
    try:
        boxes = boxes_around_numbers(numbers)
    except ValueError as error:
        raise DataError(f"The mask '{mask}' cannot be one of objects or classes: {error}.") from error
    return [(number, box, NumberMask(numbers, number)) for number, box in boxes.items()]


def check_sizes(photo: Path, mask: Path) -> None:
    """Compare headers, so that a mistake shows before an hour of work and not after it.

    Raises:
        DataError: If a mask is of another size than its photo.
    """
    (upright, orientation), drawn = upright_size(photo), image_size(mask)
    if drawn != upright and not (orientation >= 5 and drawn == upright[::-1]):
        raise DataError(
            f"The mask '{mask}' has {drawn[0]} x {drawn[1]} pixels but '{photo}' {upright[0]} x {upright[1]}; "
            "expected the same."
        )


def _chosen_number(
    folders: MaskFolders, names: dict[int, str], category: str | None, must_choose: bool
) -> tuple[int | None, str]:
    """The number that counts in masks, None for all but 0, and what it stands for in words."""
    if is_penn_fudan(folders):
        if category is not None and category.casefold() not in _PENN_FUDAN_NAMES:
            raise DataError(f"'{folders.root}' shows pedestrians only, got the category {category!r}; leave it out.")
        return None, "all pedestrians"
    listed = ", ".join(names[number] for number in sorted(names))
    if category is None:
        if must_choose:
            raise DataError(
                f"The masks in '{folders.masks}' give every pixel a class, 0 for {names[0]}; name the category that is "
                f"to be found: {listed}."
            )
        return None, "all objects"
    matching = [number for number, name in sorted(names.items()) if name.casefold() == category.casefold()]
    if matching:
        return matching[0], names[matching[0]]
    if category.isdecimal():
        return int(category), f"number {category} in the masks"
    known = f"choose from {listed}" if names else "without classes.json give the number that masks hold"
    raise DataError(f"'{folders.root}' knows no category {category!r}; {known}.")
