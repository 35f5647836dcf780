"""COCO's panoptic format: an image of numbers for each photo, and a json file that says what each number is.

Axes: H W height and width [px].
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from focalnets.data.annotated.coco import image_folder, is_file
from focalnets.data.annotated.coco_content import (
    CocoImage,
    is_id,
    is_inside,
    read_categories,
    read_images,
    read_json,
    unlisted_image,
)
from focalnets.data.annotated.encoded_masks import finite_numbers
from focalnets.data.annotated.images import IGNORED, AnnotatedImage, AnnotatedImages, DenseTask, find_photo
from focalnets.data.annotated.masks import read_upright_mask
from focalnets.data.annotated.objects import AnnotatedObject, Box, Category, boxes_around_numbers
from focalnets.data.annotated.parts import DENSE_TASKS, Recognised
from focalnets.data.annotated.problems import Problems, abridge
from focalnets.data.annotated.sniffing import holds
from focalnets.data.finding import is_folder, list_folder
from focalnets.data.split_names import SplitRole, role_of_name, role_of_shard
from focalnets.errors import DataError, quoted_list

__all__ = ["Segment", "open_panoptic", "recognise_panoptic"]

_SEGMENTS = re.compile(rb'"segments_info"')
_LARGEST_NUMBER = 256**3 - 1
_MOST_SEGMENTS = 65_536


@dataclasses.dataclass(frozen=True)
class Segment:
    """One number in an image of numbers.

    Attributes:
        number: ``red + 256 * green + 65536 * blue``.
        label: Of its category.
        crowd: Whether it is a region of many things.
        area_px: Number of its pixels, where the file states it.
    """

    number: int
    label: int
    crowd: bool
    area_px: float | None


def recognise_panoptic(place: Path) -> Recognised | None:
    """Find json files for panoptic segmentation: one file, or those of a folder, told apart by their names.

    Raises:
        DataError: If several may be meant.
    """
    files = _files(place)
    if not files:
        return None
    return Recognised(
        format="COCO panoptic",
        place=place,
        tasks=frozenset(DENSE_TASKS),
        open=lambda task, problems: {part: open_panoptic(file, task, problems) for part, file in files.items()},
        maps=True,
    )


def open_panoptic(file: Path, task: DenseTask, problems: Problems | None = None) -> AnnotatedImages:
    """Open the photos of a json file.

    Things are objects; with stuff, which is left out for ``detect`` and ``instance``, they give each pixel its class.
    Number 0, numbers that the json file does not know, and crowds are ignored.

    Args:
        file: The json file. The images of numbers lie in the folder of its name, or beside it.
        task: What they are for.
        problems: Takes what is wrong with single images, which are then left out; None raises it.

    Raises:
        DataError: If the file is not as expected.
    """
    problems = Problems() if problems is None else problems
    content = read_json(file)
    categories = read_categories(content, file)
    if not content.get("categories"):
        raise DataError(f"'{file}' lists no categories; expected those of things and stuff.")
    images = {image.id: image for image in read_images(content, file)}
    found: list[tuple[CocoImage, str, list[Segment]]] = []
    for number, entry in enumerate(content["annotations"]):
        image = images.pop(entry.get("image_id"), None) if is_id(entry.get("image_id")) else None
        if image is None:
            name = abridge(entry.get("image_id"))
            problems.add("annotation-without-image", name, unlisted_image(entry, f"number {number}", file))
            continue
        try:
            name, segments = _read_entry(entry, categories)
        except ValueError as error:
            sentence = f"The annotation of image {abridge(image.id)} in '{file}' is not as COCO has it ({error})."
            problems.add("broken-annotation", image.file_name, sentence)
            continue
        found.append((image, name, segments))
    for image in images.values():
        sentence = f"'{file}' says nothing of the image {abridge(image.file_name)}; it is not used."
        problems.note("image-without-annotation", image.file_name, sentence)
    if not found:
        raise DataError(f"'{file}' annotates no image.")
    photos = image_folder(file, [image.file_name for image, _, _ in found])
    masks = _mask_folder(file, [name for _, name, _ in found])
    kept = []
    for image, name, segments in found:
        missing = next((path for path in (photos / image.file_name, masks / name) if not is_file(path)), None)
        if missing is not None:
            problems.add(
                "annotation-without-image", image.file_name, f"'{file}' needs '{missing}', which is not there."
            )
            continue
        kept.append((photos / image.file_name, masks / name, segments))
    chosen = list(range(len(categories)))
    if task in ("detect", "instance"):
        chosen = [label for label, category in enumerate(categories) if category.thing]
    images_found = AnnotatedImages(
        data=str(file),
        objects="all things",
        names=[photo.relative_to(photos).as_posix() for photo, _, _ in kept],
        read=_PanopticReader(kept, categories),
        categories=categories,
        kinds=frozenset(DENSE_TASKS),
        maps=True,
        files=[photo for photo, _, _ in kept],
        sources=[file],
    )
    labels = [chosen.index(label) if label in chosen else -1 for label in range(len(categories))]
    return images_found.relabelled([categories[label] for label in chosen], labels)


@dataclasses.dataclass(frozen=True, eq=False)
class _PanopticReader:
    """Reads the photo of a number, its things and the class of each pixel."""

    entries: Sequence[tuple[Path, Path, Sequence[Segment]]]
    categories: Sequence[Category]

    def __call__(self, index: int) -> AnnotatedImage:
        path, mask, segments = self.entries[index]
        photo = find_photo(path)
        numbers = _Numbers(mask, path, photo.size, photo.orientation)
        boxes = numbers.boxes
        objects = []
        for segment in segments:
            category = self.categories[segment.label]
            if category.thing and segment.number in boxes:
                shape = _SegmentMask(numbers, segment.number)
                objects.append(
                    AnnotatedObject(
                        category,
                        segment.label,
                        boxes[segment.number],
                        shape,
                        crowd=segment.crowd,
                        area_px=segment.area_px,
                    )
                )
        return AnnotatedImage(path.name, photo, objects, semantic_data=_SegmentMap(numbers, segments))


@dataclasses.dataclass(frozen=True)
class _Numbers:
    """An image of numbers, read when they are needed and kept while its photo is in use."""

    mask: Path
    photo: Path
    photo_size: tuple[int, int]
    orientation: int

    @functools.cached_property
    def map(self) -> np.ndarray:
        """The number of each pixel, (H, W) int32."""
        colours = read_upright_mask(self.mask, self.photo, self.photo_size, self.orientation)
        if colours.ndim == 2:
            if colours.dtype.kind == "f":
                raise DataError(f"The mask '{self.mask}' holds fractions; expected numbers of segments.")
            return colours.astype(np.int32)
        return colours.astype(np.int32) @ np.array([1, 256, 65536], dtype=np.int32)

    @functools.cached_property
    def boxes(self) -> dict[int, Box]:
        """Box around each number but 0."""
        try:
            return boxes_around_numbers(self.map, most=_MOST_SEGMENTS)
        except ValueError as error:
            raise DataError(f"The mask '{self.mask}' cannot be one of segments: {error}.") from error

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what was read, for other processes."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


@dataclasses.dataclass(frozen=True, eq=False)
class _SegmentMask:
    """Where one number is."""

    numbers: _Numbers
    number: int

    def decode(self) -> np.ndarray:
        """Draw it: booleans (H, W)."""
        return np.asarray(self.numbers.map == self.number)


@dataclasses.dataclass(frozen=True, eq=False)
class _SegmentMap:
    """The class of each pixel."""

    numbers: _Numbers
    segments: Sequence[Segment]

    def decode(self) -> np.ndarray:
        """Make it: labels (H, W) uint8."""
        known = sorted((segment.number, IGNORED if segment.crowd else segment.label) for segment in self.segments)
        keys = np.array([-1, *(number for number, _ in known)], dtype=np.int32)
        values = np.array([IGNORED, *(label for _, label in known)], dtype=np.uint8)
        numbers = self.numbers.map
        places = np.searchsorted(keys, numbers).clip(max=len(keys) - 1)
        return np.where(keys[places] == numbers, values[places], np.uint8(IGNORED))


def _read_entry(entry: Mapping[str, Any], categories: Sequence[Category]) -> tuple[str, list[Segment]]:
    """Name of the image of numbers, and what each of them is."""
    name, infos = entry.get("file_name"), entry.get("segments_info")
    if not isinstance(name, str) or not name or not is_inside(name):
        raise ValueError(f"file_name needs a path below the folder of masks, it has {abridge(name)}")
    if not isinstance(infos, list) or not all(isinstance(info, dict) for info in infos):
        raise ValueError("segments_info needs a list of objects")
    if len(infos) > _MOST_SEGMENTS:
        raise ValueError(f"it has {len(infos):,} segments, more than the limit of {_MOST_SEGMENTS:,}")
    labels = {category.id: label for label, category in enumerate(categories)}
    segments, used = [], set()
    for info in infos:
        number, category, area = info.get("id"), info.get("category_id"), info.get("area")
        if type(number) is not int or not 1 <= number <= _LARGEST_NUMBER:
            raise ValueError(
                f"id of a segment needs a whole number from 1 to {_LARGEST_NUMBER}, it has {abridge(number)}"
            )
        if number in used:
            raise ValueError(f"two segments have the id {number}")
        used.add(number)
        if not is_id(category) or category not in labels:
            raise ValueError(f"category_id {abridge(category)} is not among the categories")
        if info.get("iscrowd") not in (None, 0, 1):
            raise ValueError("iscrowd needs 0 or 1")
        if area is not None and finite_numbers([area], "area needs a number from 0 up")[0] < 0:
            raise ValueError("area needs a number from 0 up")
        segments.append(
            Segment(number, labels[category], bool(info.get("iscrowd")), None if area is None else float(area))
        )
    return name, segments


def _mask_folder(file: Path, names: Sequence[str]) -> Path:
    """The folder of the images of numbers."""
    candidates = [file.parent / file.stem, file.parent, file.parent / "masks", file.parent.parent / file.stem]
    candidates += [file.parent.parent / "panoptic", file.parent / "panoptic"]
    for name in (names[0], *names[1 :: max(1, len(names) // 20)]):
        for folder in candidates:
            if is_file(folder / name):
                return folder
    raise DataError(
        f"The masks of '{file}' are neither in '{candidates[0]}' nor beside it, where {abridge(names[0])} was looked "
        "for; put them there."
    )


def _files(place: Path) -> dict[SplitRole | None, Path]:
    if place.is_file():
        return {None: place} if place.suffix == ".json" and holds(place, _SEGMENTS) else {}
    found: dict[SplitRole | None, list[Path]] = {}
    folders = [place, place / "annotations"]
    folders += [place / entry.name for entry in list_folder(place) if is_folder(entry) and role_of_name(entry.name)]
    for folder in folders:
        for file in sorted(folder.glob("*.json")) if folder.is_dir() else []:
            if holds(file, _SEGMENTS):
                found.setdefault(role_of_shard(file.name) or role_of_name(folder.name), []).append(file)
    for files in found.values():
        if len(files) > 1:
            names = quoted_list([str(file.relative_to(place)) for file in files])
            raise DataError(f"'{place}' holds several panoptic files of the same part: {names}; name one, or keep one.")
    return {part: files[0] for part, files in found.items()}
