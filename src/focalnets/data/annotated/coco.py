"""Images annotated in COCO's format for objects: polygons, run lengths of both kinds, boxes, and regions of crowds.

Axes: H W height and width [px].
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from focalnets.data.annotated.coco_content import CocoFile, CocoImage, read_coco
from focalnets.data.annotated.encoded_masks import (
    LARGEST_COORDINATE_PX,
    EncodedMask,
    encode_segmentation,
    finite_numbers,
    polygon_extent,
    require_pycocotools,
)
from focalnets.data.annotated.images import AnnotatedImage, AnnotatedImages, read_photo
from focalnets.data.annotated.objects import (
    AnnotatedObject,
    Box,
    Category,
    box_around,
    filled_box,
    turn_between,
    turned_box,
)
from focalnets.data.images import exif_orientation, image_header, image_size, open_image_file
from focalnets.errors import DataError, abridged
from focalnets.files import user_path

__all__ = ["annotation_mask", "find_coco_file", "open_coco", "read_annotation"]


def find_coco_file(path: Path) -> Path | None:
    """Find the json file that is meant by itself or by a folder that holds one, or holds one in ``annotations/``.

    Raises:
        DataError: If a folder holds several.
    """
    if path.is_file():
        return path
    for folder in (path, path / "annotations"):
        files = sorted(folder.glob("*.json")) if folder.is_dir() else []
        if len(files) > 1:
            raise DataError(f"'{folder}' holds {', '.join(file.name for file in files)}; name one of these files.")
        if files:
            return files[0]
    return None


def open_coco(
    file: Path, category: str | None = None, images: str | Path | None = None, *, everything: bool = False
) -> AnnotatedImages:
    """Open the images of a COCO file that show an object, or all of them.

    Labels count the categories of the whole file from 0, in the order of their ids, whichever of them are asked for.

    Args:
        file: The json file, with ``images``, ``annotations`` and ``categories``. An annotation without ``segmentation``
            counts with its box. Regions of crowds count as objects, and say so.
        category: Name of a category or of a ``supercategory``; None takes all annotations.
        images: Folder of the images; None looks beside the file and in the folders above it, also in ``images/``, in
            the folder that the file's name ends in (``instances_val2017.json``: ``val2017/``) and in both.
        everything: Whether images without such an object are there too, with none.

    Raises:
        DataError: If the file is no such json, if images are missing or of another size, if there is no such category,
            or if no image shows an object of it.
        ImageError: If the header of an image cannot be read.
        MissingPackageError: If there are polygons and pycocotools is not installed.
    """
    content = read_coco(file)
    words = "all objects"
    if category is not None:
        content, words = content.of_category(category)
    if not everything:
        content = content.with_objects()
    if not content.images:
        raise DataError(f"No image of '{file}' shows an object{f' of category {category!r}' if category else ''}.")
    shapes = (annotation.get("segmentation") for image in content.images for annotation in image.annotations)
    if any(isinstance(shape, list) and shape for shape in shapes):
        require_pycocotools()
    folder = _image_folder(content, images)
    for image in content.images:
        _check_image(image, folder, file)
    return AnnotatedImages(
        data=str(file),
        objects=words,
        names=[image.file_name for image in content.images],
        read=_CocoReader(content, folder),
        categories=content.categories,
    )


def annotation_mask(annotation: dict[str, Any], height: int, width: int) -> np.ndarray:
    """Draw where the object of one annotation is, booleans (height, width).

    Several polygons of one object are joined. Without polygons or run lengths the box is filled.

    Raises:
        DataError: If ``segmentation`` or ``bbox`` is not as expected.
        MissingPackageError: If there are polygons and pycocotools is not installed.
    """
    mask, box, _ = _read_shape(annotation, height, width)
    if mask is not None:
        return mask.decode()
    filled = np.zeros((height, width), dtype=bool)
    filled[filled_box(box, height, width)] = True
    return filled


def read_annotation(
    annotation: dict[str, Any], category: Category, label: int, *, size: tuple[int, int], orientation: int = 1
) -> AnnotatedObject:
    """Check one annotation and read it as an object.

    Args:
        annotation: As it stands in the file.
        category: Of the object.
        label: Of its category.
        size: Width and height of the image that was annotated [px].
        orientation: How annotations must be turned to lie on the upright photo.

    Raises:
        DataError: If it is not as COCO has it.
        MissingPackageError: If there are polygons and pycocotools is not installed.
    """
    width, height = size
    mask, box, area = _read_shape(annotation, height, width)
    return AnnotatedObject(
        category=category,
        label=label,
        box_xyxy=turned_box(box, size, orientation),
        mask_data=None if mask is None else dataclasses.replace(mask, orientation=orientation),
        crowd=bool(annotation.get("iscrowd")),
        area_px=area,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _CocoReader:
    """Reads the image of a number."""

    content: CocoFile
    folder: Path

    @functools.cached_property
    def labels(self) -> dict[int | str | None, int]:
        """Label of each category by its id."""
        return {category.id: label for label, category in enumerate(self.content.categories)}

    def __call__(self, index: int) -> AnnotatedImage:
        entry = self.content.images[index]
        path = self.folder / entry.file_name
        photo, orientation = read_photo(path)
        size = entry.size or _stored_size(path)
        names = (f"image {abridged(entry.id)} in '{self.content.path}'", f"'{path}'")
        turn = turn_between(size, photo.size, orientation, names=names)
        objects = []
        for annotation in entry.annotations:
            label = self.labels[annotation.get("category_id")]
            category = self.content.categories[label]
            objects.append(read_annotation(annotation, category, label, size=size, orientation=turn))
        return AnnotatedImage(entry.file_name, photo, objects)


def _read_shape(annotation: dict[str, Any], height: int, width: int) -> tuple[EncodedMask | None, Box, float | None]:
    """Check and read mask, box and area of an annotation."""
    try:
        if annotation.get("iscrowd") not in (None, 0, 1):
            raise ValueError("iscrowd needs 0 or 1")
        area = annotation.get("area")
        if area is not None and finite_numbers([area], "area needs a number from 0 up")[0] < 0:
            raise ValueError("area needs a number from 0 up")
        segmentation = annotation.get("segmentation")
        mask = encode_segmentation(segmentation, height, width)
        if mask is None or annotation.get("bbox") not in (None, []):
            box = _stated_box(annotation.get("bbox"))
        elif isinstance(segmentation, list):
            box = polygon_extent(segmentation, height, width)
        else:
            box = box_around(mask.decode())
    except ValueError as error:
        identity = abridged(annotation.get("id"))
        raise DataError(f"Annotation {identity} is not as COCO has it ({error}); correct or remove it.") from error
    return mask, box, None if area is None else float(area)


def _stated_box(stated: Any) -> Box:
    words = "bbox needs four finite numbers: left, top, width and height, the last two from 0 up"
    numbers = finite_numbers(stated, words)
    if numbers.shape != (4,) or numbers[2:].min() < 0:
        raise ValueError(words)
    if np.abs(numbers).max() > LARGEST_COORDINATE_PX:
        raise ValueError(f"bbox lies or reaches more than {LARGEST_COORDINATE_PX:.0f} px away")
    left, top, width, height = numbers.tolist()
    return left, top, left + width, top + height


def _image_folder(content: CocoFile, images: str | Path | None) -> Path:
    file, first = content.path, content.images[0].file_name
    if images is not None:
        candidates: Sequence[Path] = [user_path(images)]
    else:
        split = file.stem.rsplit("_", 1)[-1]
        below = (Path(), Path("images"), Path(split), Path("images") / split)
        candidates = [above / place for above in (file.parent, file.parent.parent) for place in below]
    for folder in candidates:
        if _is_file(folder / first):
            return folder
    searched = f"'{images}'" if images is not None else f"and around '{file.parent}'"
    raise DataError(
        f"The images of '{file}' are not in {searched}, where {abridged(first)} was looked for; name their folder."
    )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # A name that no system allows is the name of no file.
        return False


def _stored_size(path: Path) -> tuple[int, int]:
    """Width and height of the pixels in the file, before EXIF turns them."""
    upright = image_size(path)
    return upright[::-1] if _orientation(path) >= 5 else upright


def _orientation(path: Path) -> int:
    with open_image_file(path) as opened:
        return exif_orientation(image_header(opened, f"'{path}'"))


def _check_image(image: CocoImage, folder: Path, file: Path) -> None:
    """Compare headers, so that a mistake shows before an hour of work and not after it."""
    path, stated = folder / image.file_name, image.size
    if not _is_file(path):
        raise DataError(f"'{file}' lists the image {abridged(image.file_name)}, which is not in '{folder}'.")
    upright = image_size(path)
    if stated is None or stated == upright or (stated == upright[::-1] and _orientation(path) >= 5):
        return
    raise DataError(
        f"'{path}' has {upright[0]} x {upright[1]} pixels but '{file}' says {stated[0]} x {stated[1]}; expected the "
        "same."
    )
