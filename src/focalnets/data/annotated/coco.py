"""Images annotated in COCO's format for objects: polygons, run lengths of both kinds, boxes, and regions of crowds.

Axes: H W height and width [px].
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from focalnets.data.annotated.coco_content import CocoFile, CocoImage, read_coco
from focalnets.data.annotated.encoded_masks import EncodedMask, encode_segmentation, finite_numbers
from focalnets.data.annotated.images import AnnotatedImage, AnnotatedImages, DenseTask, find_photo
from focalnets.data.annotated.objects import (
    AnnotatedObject,
    Box,
    Category,
    box_around,
    filled_box,
    turn_between,
    turned_box,
)
from focalnets.data.annotated.parts import Recognised
from focalnets.data.annotated.polygons import LARGEST_COORDINATE_PX, PolygonMask, polygon_extent
from focalnets.data.annotated.problems import Problems, abridge
from focalnets.data.annotated.sniffing import holds
from focalnets.data.finding import is_folder, list_folder
from focalnets.data.images import upright_size
from focalnets.data.split_names import SplitRole, role_of_name, role_of_shard
from focalnets.errors import DataError, ImageError
from focalnets.files import user_path

__all__ = ["annotation_mask", "find_coco_file", "open_coco", "read_annotation", "recognise_coco"]


def find_coco_file(path: Path) -> Path | None:
    """Find the json file that is meant by itself or by a folder that holds one, or holds one in ``annotations/``.

    Raises:
        DataError: If a folder holds several.
    """
    if path.is_file():
        return path
    for folder in (path, path / "annotations"):
        # Reading a pipe would wait for a writer, and devices have no end.
        files = [file for file in sorted(folder.glob("*.json")) if file.is_file()] if folder.is_dir() else []
        if len(files) > 1:
            raise DataError(f"'{folder}' holds {', '.join(file.name for file in files)}; name one of these files.")
        if files:
            return files[0]
    return None


def recognise_coco(place: Path) -> Recognised | None:
    """Find COCO files for objects: one file, or those of a folder, told apart by ``train`` and ``val`` in their names.

    Raises:
        DataError: If several files may be meant.
    """
    files = {None: place} if place.is_file() else _files_of_parts(place)
    files = {part: file for part, file in files.items() if _is_coco(file)}
    if not files:
        return None
    shaped = any(holds(file, _SHAPES) for file in files.values())
    return Recognised(
        format="COCO json",
        place=place,
        tasks=frozenset({"detect", "instance", "semantic"} if shaped else {"detect"}),
        open=lambda task, problems: {
            part: open_coco(file, everything=True, problems=problems) for part, file in files.items()
        },
    )


def _files_of_parts(root: Path) -> dict[SplitRole | None, Path]:
    found: dict[SplitRole | None, list[Path]] = {}
    folders = [root, root / "annotations"]
    folders += [root / entry.name for entry in list_folder(root) if is_folder(entry) and role_of_name(entry.name)]
    for folder in folders:
        for file in sorted(folder.glob("*.json")) if folder.is_dir() else []:
            part = role_of_shard(file.name) or role_of_name(folder.name)
            if _is_coco(file):
                found.setdefault(part, []).append(file)
    for part, files in found.items():
        instances = [file for file in files if file.name.startswith("instances")]
        found[part] = files = instances or files
        if len(files) > 1:
            names = ", ".join(f"'{file.relative_to(root)}'" for file in files)
            raise DataError(f"'{root}' holds several COCO files of the same part: {names}; name one, or keep one.")
    return {part: files[0] for part, files in found.items()}


_OBJECTS = re.compile(rb'"bbox"|"annotations"\s*:\s*\[\s*\]|"segmentation"')
_OTHERS = re.compile(rb'"segments_info"')
_SHAPES = re.compile(rb'"segmentation"\s*:\s*(\[\s*\[|\{)')


def _is_coco(file: Path) -> bool:
    return file.suffix == ".json" and holds(file, _OBJECTS) and not holds(file, _OTHERS)


def open_coco(
    file: Path,
    category: str | None = None,
    images: str | Path | None = None,
    *,
    everything: bool = False,
    problems: Problems | None = None,
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
        problems: Takes what is wrong with single images and annotations, which are then left out; None raises it.

    Raises:
        DataError: If the file is no such json, if images are missing or of another size, if there is no such category,
            or if no image shows an object of it.
        ImageError: If the header of an image cannot be read.
    """
    problems = Problems() if problems is None else problems
    content = read_coco(file, problems)
    words = "all objects"
    if category is not None:
        content, words = content.of_category(category)
    if not everything:
        content = content.with_objects()
    if not content.images:
        raise DataError(f"No image of '{file}' shows an object{f' of category {category!r}' if category else ''}.")
    folder = image_folder(file, [image.file_name for image in content.images], images)
    content = dataclasses.replace(
        content, images=[image for image in content.images if _check_image(image, folder, file, problems)]
    )
    return AnnotatedImages(
        data=str(file),
        objects=words,
        names=[image.file_name for image in content.images],
        read=_CocoReader(content, folder),
        categories=content.categories,
        kinds=_kinds(content),
        files=[folder / image.file_name for image in content.images],
        sources=[file],
        counts=[len(image.annotations) for image in content.images],
    )


def _kinds(content: CocoFile) -> frozenset[DenseTask]:
    """Boxes train detection; where objects have masks too, masks and classes of pixels as well."""
    annotations = [each for image in content.images for each in image.annotations if not each.get("iscrowd")]
    if any(each.get("segmentation") for each in annotations):
        return frozenset({"detect", "instance", "semantic"})
    return frozenset({"detect"})


def annotation_mask(annotation: dict[str, Any], height: int, width: int) -> np.ndarray:
    """Draw where the object of one annotation is, booleans (height, width).

    Several polygons of one object are joined. Without polygons or run lengths the box is filled.

    Raises:
        DataError: If ``segmentation`` or ``bbox`` is not as expected.
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
        photo = find_photo(path)
        size = entry.size or (photo.size[::-1] if photo.orientation >= 5 else photo.size)
        names = (f"image {abridge(entry.id)} in '{self.content.path}'", f"'{path}'")
        turn = turn_between(size, photo.size, photo.orientation, names=names)
        objects = []
        for annotation in entry.annotations:
            label = self.labels[annotation.get("category_id")]
            category = self.content.categories[label]
            objects.append(read_annotation(annotation, category, label, size=size, orientation=turn))
        return AnnotatedImage(entry.file_name, photo, objects)


def _read_shape(
    annotation: dict[str, Any], height: int, width: int
) -> tuple[EncodedMask | PolygonMask | None, Box, float | None]:
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
        elif isinstance(mask, PolygonMask):
            box = polygon_extent(mask.polygons, height, width)
        else:
            box = box_around(mask.decode())
    except ValueError as error:
        identity = abridge(annotation.get("id"))
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


def image_folder(file: Path, names: Sequence[str], images: str | Path | None = None) -> Path:
    """Find the folder of the images of a json file: the one that holds the first of them, or else another one.

    Args:
        file: The json file.
        names: Of the images, below the folder.
        images: The folder as the user gives it; None looks beside the file, see :func:`open_coco`.

    Raises:
        DataError: If there is none.
    """
    if images is not None:
        candidates: Sequence[Path] = [user_path(images)]
    else:
        split = file.stem.rsplit("_", 1)[-1]
        below = (Path(), Path("images"), Path(split), Path("images") / split)
        candidates = [above / place for above in (file.parent, file.parent.parent) for place in below]
    for name in (names[0], *names[1 :: max(1, len(names) // 20)]):
        for folder in candidates:
            if is_file(folder / name):
                return folder
    searched = f"'{images}'" if images is not None else f"and around '{file.parent}'"
    raise DataError(
        f"The images of '{file}' are not in {searched}, where {abridge(names[0])} was looked for; name their folder."
    )


def is_file(path: Path) -> bool:
    """Whether there is a file; a name that no system allows is the name of none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _check_image(image: CocoImage, folder: Path, file: Path, problems: Problems) -> bool:
    """Compare headers, so that a mistake shows before an hour of work and not after it."""
    path, stated = folder / image.file_name, image.size
    if not is_file(path):
        sentence = f"'{file}' lists the image {abridge(image.file_name)}, which is not in '{folder}'."
        problems.add("annotation-without-image", image.file_name, sentence)
        return False
    try:
        upright, orientation = upright_size(path)
    except ImageError as error:
        if not problems.collect:
            raise
        problems.add("unreadable", image.file_name, str(error))
        return False
    if stated is None or stated == upright or (stated == upright[::-1] and orientation >= 5):
        return True
    problems.add(
        "another-size",
        image.file_name,
        f"'{path}' has {upright[0]} x {upright[1]} pixels but '{file}' says {stated[0]} x {stated[1]}; expected the "
        "same.",
    )
    return False
