"""Folders of images and masks as tasks train on them: numbers of objects, classes of pixels, a mask for each object.

Axes: H W height and width [px].
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from focalnets.data.annotated.class_table import LARGEST_NUMBER, ClassTable, find_class_table
from focalnets.data.annotated.images import IGNORED, AnnotatedImage, AnnotatedImages, DenseTask, find_photo
from focalnets.data.annotated.label_images import read_label_image
from focalnets.data.annotated.mask_folders import (
    MaskFolders,
    class_folder,
    find_mask_parts,
    masks_of_photos,
    paired,
)
from focalnets.data.annotated.masks import (
    check_sizes,
    is_penn_fudan,
    numbered_objects,
    read_upright_mask,
    table_folders,
)
from focalnets.data.annotated.objects import AnnotatedObject, Category, box_around
from focalnets.data.annotated.parts import Parts, Recognised
from focalnets.data.annotated.problems import Problems
from focalnets.data.finding import find_images
from focalnets.data.split_names import SplitRole
from focalnets.errors import DataError

__all__ = ["class_maps", "recognise_masks"]

_MOST_CLASSES = IGNORED


def recognise_masks(place: Path) -> Recognised | None:
    """Find folders of images and masks.

    A table of classes says that numbers or colours are classes. Several masks for an image, or names of folders as in
    Penn-Fudan, say that they are objects. Otherwise the task decides.
    """
    parts = find_mask_parts(place) if place.is_dir() else {}
    if not parts:
        return None
    found = {role: _Pairs.find(folders) for role, folders in parts.items()}
    first = next(iter(found.values()))
    table = first.table
    tasks: set[DenseTask] = {"semantic"} if table and not first.by_object else {"detect", "instance", "semantic"}
    return Recognised(
        format="masks",
        place=place,
        tasks=frozenset(tasks),
        maps=tasks == {"semantic"},
        open=lambda task, problems: _open(found, task, problems),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Pairs:
    """Images of one part and their masks.

    Attributes:
        folders: Where they lie.
        photos: Files.
        masks: Files for each.
        table: What numbers and colours mean; None where nothing says so.
        by_object: Whether masks show one object each.
    """

    folders: MaskFolders
    photos: Sequence[Path]
    masks: Sequence[list[Path]]
    table: ClassTable | None
    by_object: bool

    @classmethod
    def find(cls, folders: MaskFolders) -> _Pairs:
        if folders.samples:
            photos = [photo for sample in folders.samples for photo in find_images([sample / "images"])]
        else:
            photos = find_images([folders.images])
        masks = masks_of_photos(photos, folders)
        by_object = bool(folders.samples) or any(
            len(found) > 1 or any(class_folder(mask, folders) is not None for mask in found) for found in masks
        )
        table = None if is_penn_fudan(folders) else find_class_table(table_folders(folders))
        return cls(folders, photos, masks, table, by_object)


def _open(found: Mapping[SplitRole | None, _Pairs], task: DenseTask, problems: Problems) -> Parts:
    first = next(iter(found.values()))
    if first.by_object or any(pairs.by_object for pairs in found.values()):
        return {role: _open_by_object(pairs) for role, pairs in found.items()}
    for pairs in found.values():
        paired(pairs.masks, pairs.photos, pairs.folders)
    if task != "semantic" or is_penn_fudan(first.folders):
        return {role: _open_numbered(pairs) for role, pairs in found.items()}
    table = first.table or _numbers_as_classes([mask for pairs in found.values() for (mask, *_) in pairs.masks])
    return {
        role: class_maps(pairs.folders, pairs.photos, [mask for mask, *_ in pairs.masks], table)
        for role, pairs in found.items()
    }


def class_maps(
    folders: MaskFolders, photos: Sequence[Path], masks: Sequence[Path], table: ClassTable
) -> AnnotatedImages:
    """Open images with a mask for each that holds the class of each pixel.

    Raises:
        DataError: If there are too many classes or a mask is of another size than its photo.
    """
    categories = table.categories(background=True)
    if len(categories) > _MOST_CLASSES:
        raise DataError(
            f"'{folders.root}' has {len(categories)} classes of pixels, more than the limit of {_MOST_CLASSES}; "
            "merge some."
        )
    labels = np.full(LARGEST_NUMBER + 2, IGNORED, dtype=np.uint8)  # The last entry is that of -1.
    for label, category in enumerate(categories):
        assert isinstance(category.id, int)
        labels[category.id] = label
    return AnnotatedImages(
        data=str(folders.root),
        objects="the class of each pixel",
        names=[photo.relative_to(folders.images).as_posix() for photo in photos],
        read=_ClassMapReader(photos, masks, table, labels),
        categories=categories,
        kinds=frozenset({"semantic"}),
        maps=True,
        files=photos,
        sources=masks,
    )


def _open_numbered(pairs: _Pairs) -> AnnotatedImages:
    category = Category(1, "pedestrian" if is_penn_fudan(pairs.folders) else "object")
    return AnnotatedImages(
        data=str(pairs.folders.root),
        objects="each number or colour in masks",
        names=_names(pairs),
        read=_NumberedReader(pairs, category),
        categories=[category],
        kinds=frozenset({"detect", "instance", "semantic"}),
        files=pairs.photos,
        sources=[mask for mask, *_ in pairs.masks],
    )


def _open_by_object(pairs: _Pairs) -> AnnotatedImages:
    classes = {class_folder(mask, pairs.folders) or "object" for masks in pairs.masks for mask in masks} or {"object"}
    categories = [Category(number, name) for number, name in enumerate(sorted(classes), start=1)]
    return AnnotatedImages(
        data=str(pairs.folders.root),
        objects="each mask",
        names=_names(pairs),
        read=_ObjectReader(pairs, categories),
        categories=categories,
        kinds=frozenset({"detect", "instance", "semantic"}),
        files=pairs.photos,
        sources=[mask for masks in pairs.masks for mask in masks],
        counts=[len(masks) for masks in pairs.masks],
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _ClassMapReader:
    """Reads images with the class of each pixel; ``labels`` holds the label of each number, the last that of -1."""

    photos: Sequence[Path]
    masks: Sequence[Path]
    table: ClassTable
    labels: np.ndarray

    def __call__(self, index: int) -> AnnotatedImage:
        photo, mask = find_photo(self.photos[index]), self.masks[index]
        check_sizes(photo.path, mask)
        stored = _StoredMap(mask, photo.path, photo.size, photo.orientation, self.table, self.labels)
        return AnnotatedImage(photo.path.name, photo, semantic_data=stored)


@dataclasses.dataclass(frozen=True, eq=False)
class _StoredMap:
    """A class map in a file."""

    mask: Path
    photo: Path
    photo_size: tuple[int, int]
    orientation: int
    table: ClassTable
    labels: np.ndarray

    def decode(self) -> np.ndarray:
        """Read it: labels (H, W) uint8."""
        numbers = read_upright_mask(self.mask, self.photo, self.photo_size, self.orientation)
        if numbers.ndim == 3:
            if not self.table.colours:
                raise DataError(
                    f"The mask '{self.mask}' holds colours; say which class each stands for in class_dict.csv, with "
                    "columns name, r, g, b."
                )
            numbers = self.table.numbers_of(numbers)
        if numbers.dtype.kind == "f":
            raise DataError(f"The mask '{self.mask}' holds fractions; expected whole numbers of classes.")
        numbers = numbers.astype(np.int64)
        return self.labels[np.where((numbers < 0) | (numbers > LARGEST_NUMBER), -1, numbers)]


@dataclasses.dataclass(frozen=True, eq=False)
class _NumberedReader:
    """Reads images whose masks give each object a number or a colour of its own."""

    pairs: _Pairs
    category: Category

    def __call__(self, index: int) -> AnnotatedImage:
        photo, mask = find_photo(self.pairs.photos[index]), self.pairs.masks[index][0]
        numbers = read_upright_mask(mask, photo.path, photo.size, photo.orientation)
        if numbers.ndim == 3:
            numbers = numbers.astype(np.int32) @ np.array([65536, 256, 1], dtype=np.int32)
        if numbers.dtype.kind == "f":
            raise DataError(f"The mask '{mask}' holds fractions; expected whole numbers of objects.")
        objects = [AnnotatedObject(self.category, 0, box, shape) for _, box, shape in numbered_objects(numbers, mask)]
        return AnnotatedImage(photo.path.name, photo, objects)


@dataclasses.dataclass(frozen=True, eq=False)
class _ObjectReader:
    """Reads images with a mask for each object, not 0 where it is."""

    pairs: _Pairs
    categories: Sequence[Category]

    def __call__(self, index: int) -> AnnotatedImage:
        photo = find_photo(self.pairs.photos[index])
        labels = {category.name: label for label, category in enumerate(self.categories)}
        objects = []
        for mask in self.pairs.masks[index]:
            label = labels[class_folder(mask, self.pairs.folders) or "object"]
            inside = read_upright_mask(mask, photo.path, photo.size, photo.orientation) != 0
            inside = inside.any(axis=-1) if inside.ndim == 3 else inside
            stored = _StoredMask(mask, photo.path, photo.size, photo.orientation)
            objects.append(
                AnnotatedObject(self.categories[label], label, box_around(inside), stored, area_px=float(inside.sum()))
            )
        return AnnotatedImage(photo.path.name, photo, objects)


@dataclasses.dataclass(frozen=True, eq=False)
class _StoredMask:
    """The mask of one object in a file."""

    mask: Path
    photo: Path
    photo_size: tuple[int, int]
    orientation: int

    def decode(self) -> np.ndarray:
        """Read it: booleans (H, W)."""
        inside = read_upright_mask(self.mask, self.photo, self.photo_size, self.orientation) != 0
        return np.asarray(inside.any(axis=-1) if inside.ndim == 3 else inside)


def _names(pairs: _Pairs) -> list[str]:
    return [photo.relative_to(pairs.folders.images).as_posix() for photo in pairs.photos]


def _numbers_as_classes(masks: Sequence[Path]) -> ClassTable:
    """Take the numbers in all masks for classes without names; 0 is the background, 255 beside others is ignored.

    Raises:
        DataError: If masks hold colours or too many numbers.
    """

    def numbers_in(mask: Path) -> np.ndarray:
        numbers = read_label_image(mask)
        if numbers.ndim == 3 or numbers.dtype.kind == "f":
            raise DataError(
                f"The mask '{mask}' holds {'colours' if numbers.ndim == 3 else 'fractions'}; say which class each "
                "stands for in class_dict.csv, with columns name, r, g, b."
            )
        return np.unique(numbers).astype(np.int64)

    with ThreadPoolExecutor() as pool:
        found = sorted({int(number) for numbers in pool.map(numbers_in, masks) for number in numbers})
    if len(found) > _MOST_CLASSES + 1 or found[0] < 0 or found[-1] > LARGEST_NUMBER:
        raise DataError(
            f"The masks hold {len(found)} different numbers from {found[0]} to {found[-1]}, too many for classes; "
            "train instance if they number objects."
        )
    if set(found) <= {0, IGNORED} and IGNORED in found:
        return ClassTable({0: "background", IGNORED: "object"})
    kept = [number for number in found if number != IGNORED]
    names = {number: "background" if number == 0 else str(number) for number in kept}
    return ClassTable({**names, 1: "object"} if kept == [0, 1] else names)
