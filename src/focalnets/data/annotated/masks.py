"""Folders of images with a mask image for each: Penn-Fudan, images/ with masks/, and class maps.

Axes: H W height and width [px].
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from focalnets.data.annotated.images import AnnotatedImage, AnnotatedImages, find_photo
from focalnets.data.annotated.objects import (
    AnnotatedObject,
    Box,
    Category,
    box_around,
    boxes_around_numbers,
    turn_between,
    turned_mask,
)
from focalnets.data.finding import find_images, list_folder
from focalnets.data.images import (
    exif_orientation,
    image_header,
    image_size,
    open_image_file,
    turned_upright,
    upright_size,
)
from focalnets.data.split_names import rank_of_name, role_of_name
from focalnets.errors import DataError, ImageError

__all__ = ["MaskFolders", "find_mask_folders", "open_masks", "read_label_image"]

_PAIRS = (("PNGImages", "PedMasks"), ("images", "masks"))
_PENN_FUDAN_NAMES = ("pedestrian", "person")
_NO_OBJECT_NAMES = ("background", "_background_", "none", "nothing", "unlabelled", "unlabeled", "void")


@dataclasses.dataclass(frozen=True)
class MaskFolders:
    """Where images and masks lie, and the folder in which names of classes may stand."""

    root: Path
    images: Path
    masks: Path


def find_mask_folders(root: Path) -> MaskFolders | None:
    """Find the folders of images and masks in ``root``, or in its ``val/`` or ``test/``, whatever these are called.

    Masks that repeat the folders of a COCO file, as generated scenes are written, have none of these layouts.
    """
    parts = [(role, entry.name) for entry in list_folder(root) if (role := role_of_name(entry.name)) in ("val", "test")]
    names = sorted(parts, key=lambda part: (part[0] == "test", rank_of_name(part[1])))
    for place in (root, *(root / name for _, name in names)):
        for images, masks in _PAIRS:
            if (place / images).is_dir() and (place / masks).is_dir():
                return MaskFolders(root, place / images, place / masks)
    return None


def open_masks(folders: MaskFolders, category: str | None = None, *, everything: bool = False) -> AnnotatedImages:
    """Open images with one mask image each, of the same name in the other folder, with ``_mask`` behind it or not.

    Numbers in a mask are 0 where nothing is and another number on objects: their own number, as in Penn-Fudan, or that
    of their class. Names of classes are read from ``classes.json`` or ``classes.txt``, the first one standing for 0.

    Each number is one object: in Penn-Fudan a pedestrian; elsewhere all that is of one class in the image. A number
    behind the last name is a region to ignore (``crowd``). Without names the number is the category's id and its name.
    Masks in colour or with fractions show one object.

    Args:
        folders: See :func:`find_mask_folders`.
        category: Name or number of a class; None takes everything that is not 0.
        everything: Whether 0 is an object too where it stands for a class like the others.

    Raises:
        DataError: If masks are missing or of another size, if there is no such class, or if none is given where 0
            is a class like the others.
        ImageError: If the header of a file cannot be read.
    """
    names = [] if _is_penn_fudan(folders) else _class_names(folders)
    zero_counts = bool(names) and names[0].casefold() not in _NO_OBJECT_NAMES
    number, words = _chosen_number(folders, names, category, everything=everything)
    photos = find_images([folders.images])
    masks = _masks_of(photos, folders)
    for photo, mask in zip(photos, masks, strict=True):
        _check_sizes(photo, mask)
    if _is_penn_fudan(folders):
        categories = [Category(1, _PENN_FUDAN_NAMES[0])]
    else:
        categories = [Category(place, name) for place, name in enumerate(names)][0 if zero_counts else 1 :]
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
            instances=_is_penn_fudan(folders),
            with_zero=zero_counts and everything,
        ),
        categories=categories,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _NumberMask:
    """Where a map (H, W) holds a number."""

    numbers: np.ndarray
    number: int

    def decode(self) -> np.ndarray:
        """Draw it: booleans (H, W)."""
        return np.asarray(self.numbers == self.number)


@dataclasses.dataclass(frozen=True, eq=False)
class _MaskReader:
    """Reads the image of a number, with its objects.

    Attributes:
        photos: Files.
        masks: A file for each.
        names: Of the numbers from 0 up; none where they are not known.
        categories: What objects can be; none where numbers have no names.
        number: The one number that counts; None takes all but 0.
        instances: Whether numbers tell objects of the one category apart.
        with_zero: Whether 0 counts too.
    """

    photos: Sequence[Path]
    masks: Sequence[Path]
    names: Sequence[str]
    categories: Sequence[Category]
    number: int | None
    instances: bool
    with_zero: bool

    def __call__(self, index: int) -> AnnotatedImage:
        photo, mask = self.photos[index], self.masks[index]
        image = find_photo(photo)
        numbers = read_label_image(mask)
        colours = numbers.ndim == 3
        if self.number is not None and colours:
            raise DataError(f"The mask '{mask}' holds colours; a category can be told apart in numbers only.")
        if colours:
            numbers = np.any(numbers, axis=-1)
        height, width = numbers.shape
        names = (f"The mask '{mask}'", f"'{photo}'")
        numbers = turned_mask(numbers, turn_between((width, height), image.size, image.orientation, names=names))
        inside = np.asarray(numbers != 0 if self.number is None else numbers == self.number)
        if self.number is not None or colours or numbers.dtype.kind == "f":
            objects = [self._object(self.number, box_around(inside), inside)] if inside.any() else []
            return AnnotatedImage(photo.name, image, objects, union=inside)
        if numbers.dtype == bool:
            numbers = numbers.astype(np.uint8)
        try:
            boxes = boxes_around_numbers(numbers)
        except ValueError as error:
            raise DataError(f"The mask '{mask}' cannot be one of objects or classes: {error}.") from error
        objects = [self._object(number, box, _NumberMask(numbers, number)) for number, box in boxes.items()]
        if self.with_zero and not inside.all():
            objects.insert(0, self._object(0, box_around(~inside), ~inside))
            inside = np.ones_like(inside)
        return AnnotatedImage(photo.name, image, objects, union=inside)

    def _object(self, number: int | None, box: Box, mask: np.ndarray | _NumberMask) -> AnnotatedObject:
        """One object; ``number`` None where the mask does not tell what it is."""
        if self.instances:
            return AnnotatedObject(self.categories[0], 0, box, mask)
        if number is None:
            return AnnotatedObject(Category(None, "object"), -1, box, mask)
        if not 0 <= number < len(self.names):
            return AnnotatedObject(Category(number, str(number)), -1, box, mask, crowd=bool(self.names))
        category = Category(number, self.names[number])
        label = self.categories.index(category) if category in self.categories else -1
        return AnnotatedObject(category, label, box, mask)


def read_label_image(path: Path) -> np.ndarray:
    """Read the numbers that a mask image holds, turned as its own EXIF data says.

    Returns:
        (H, W), of whole numbers or booleans: of a palette image the indices, not the colours. (H, W, 3) uint8 for
        images in colour, whatever their transparency.

    Raises:
        ImageError: If it cannot be read, or is a JPEG, which does not keep numbers as they were.
    """
    with open_image_file(path) as file:
        image = image_header(file, f"'{path}'")
        if image.format in ("JPEG", "MPO"):
            raise ImageError(f"the mask '{path}' is a JPEG, which blurs numbers into each other; store it as PNG.")
        try:
            image.load()
        except Exception as error:  # Damaged files make decoders raise anything.
            reason = str(error).rstrip(".") or type(error).__name__
            raise ImageError(
                f"the mask '{path}' is damaged or incomplete ({reason}); save or fetch it again."
            ) from error
        orientation = exif_orientation(image)
        if image.mode in ("LA", "La", "PA"):
            image = image.getchannel(0)
        elif image.mode not in ("1", "L", "P", "I", "F") and not image.mode.startswith("I;16"):
            image = image.convert("RGBA" if image.mode == "RGBa" else "RGB").convert("RGB")
        return np.asarray(turned_upright(image, orientation))


def _masks_of(photos: Sequence[Path], folders: MaskFolders) -> list[Path]:
    stored = {mask.relative_to(folders.masks).with_suffix("").as_posix(): mask for mask in find_images([folders.masks])}
    masks, missing = [], []
    for photo in photos:
        stem = photo.relative_to(folders.images).with_suffix("").as_posix()
        found = stored.get(stem) or stored.get(f"{stem}_mask")
        if found is None:
            missing.append(photo)
        else:
            masks.append(found)
    if missing:
        raise DataError(
            f"{len(missing)} of the {len(photos)} images in '{folders.images}' have no mask of their name in "
            f"'{folders.masks}', the first is '{missing[0].name}'; add the masks, all black where nothing is to be "
            "found, or take the images away."
        )
    return masks


def _check_sizes(photo: Path, mask: Path) -> None:
    """Compare headers, so that a mistake shows before an hour of work and not after it."""
    (upright, orientation), drawn = upright_size(photo), image_size(mask)
    if drawn != upright and not (orientation >= 5 and drawn == upright[::-1]):
        raise DataError(
            f"The mask '{mask}' has {drawn[0]} x {drawn[1]} pixels but '{photo}' {upright[0]} x {upright[1]}; "
            "expected the same."
        )


def _is_penn_fudan(folders: MaskFolders) -> bool:
    return folders.masks.name == "PedMasks"


def _chosen_number(
    folders: MaskFolders, names: Sequence[str], category: str | None, *, everything: bool
) -> tuple[int | None, str]:
    """The number that counts in masks, None for all but 0, and what it stands for in words."""
    if _is_penn_fudan(folders):
        if category is not None and category.casefold() not in _PENN_FUDAN_NAMES:
            raise DataError(f"'{folders.root}' shows pedestrians only, got the category {category!r}; leave it out.")
        return None, "all pedestrians"
    if category is None:
        if names and names[0].casefold() not in _NO_OBJECT_NAMES and not everything:
            raise DataError(
                f"The masks in '{folders.masks}' give every pixel a class, 0 for {names[0]}; name the category that is "
                f"to be found: {', '.join(names)}."
            )
        return None, "all objects"
    matching = [number for number, name in enumerate(names) if name.casefold() == category.casefold()]
    if matching:
        return matching[0], names[matching[0]]
    if category.isdecimal():
        return int(category), f"number {category} in the masks"
    known = f"choose from {', '.join(names)}" if names else "without classes.json give the number that masks hold"
    raise DataError(f"'{folders.root}' knows no category {category!r}; {known}.")


def _class_names(folders: MaskFolders) -> list[str]:
    for place in dict.fromkeys((folders.images.parent, folders.root)):
        if (place / "classes.json").is_file():
            return _names_in_json(place / "classes.json")
        if (place / "classes.txt").is_file():
            return [line.strip() for line in _text(place / "classes.txt").splitlines() if line.strip()]
    return []


def _names_in_json(file: Path) -> list[str]:
    try:
        names = json.loads(_text(file))
    except (ValueError, RecursionError) as error:
        raise DataError(f"'{file}' is no json ({error}); expected a list of names.") from error
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise DataError(f"'{file}' must hold a list of names of classes, the first one for number 0.")
    return names


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"'{file}' cannot be read ({error}); expected text in UTF-8.") from error
