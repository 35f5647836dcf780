"""Pascal VOC: an xml file of boxes for each image, and masks of objects and classes beside them.

Axes: H W height and width [px].
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from focalnets.data.annotated.class_table import ClassTable, find_class_table
from focalnets.data.annotated.images import AnnotatedImage, AnnotatedImages, DenseTask, find_photo
from focalnets.data.annotated.listed import ListedImage, Shape, listed_images
from focalnets.data.annotated.mask_folders import MaskFolders
from focalnets.data.annotated.mask_training import class_maps
from focalnets.data.annotated.masks import NumberMask, read_upright_mask
from focalnets.data.annotated.objects import Category
from focalnets.data.annotated.parts import Parts, Recognised
from focalnets.data.annotated.polygons import LARGEST_COORDINATE_PX
from focalnets.data.annotated.problems import Problems, abridge
from focalnets.data.annotated.voc_folders import VocFolders, find_voc
from focalnets.data.annotated.xml_files import read_xml
from focalnets.data.finding import natural_key
from focalnets.data.images import DEFAULT_MAX_PIXELS
from focalnets.data.split_names import SplitRole
from focalnets.errors import DataError

__all__ = ["VocFile", "read_voc", "recognise_voc"]


@dataclasses.dataclass(frozen=True, eq=False)
class VocFile:
    """What an xml file says.

    Attributes:
        size: Width and height [px]; None where none or 0 are stated.
        file_name: Of the image; None where it is not stated.
        names: Class of each object.
        corners: Left, top, right and bottom of each as written, (N, 4) float64.
        difficult: Whether each is marked as difficult, which counts as a region to ignore.
    """

    size: tuple[int, int] | None
    file_name: str | None
    names: Sequence[str]
    corners: np.ndarray
    difficult: Sequence[bool]


def read_voc(file: Path) -> VocFile:
    """Read one xml file.

    Raises:
        DataError: If it cannot be read or is not as VOC has it.
    """
    root = read_xml(file, "annotation")
    try:
        objects = root.findall("object")
        return VocFile(
            size=_read_size(root),
            file_name=(root.findtext("filename") or "").strip() or None,
            names=[_read_name(each) for each in objects],
            corners=np.array([_read_corners(each) for each in objects], dtype=np.float64).reshape(-1, 4),
            difficult=[_read_flag(each, "difficult") for each in objects],
        )
    except ValueError as error:
        raise DataError(f"'{file}' is not as VOC has it ({error}); correct or remove it.") from error


def recognise_voc(place: Path) -> Recognised | None:
    """Find xml files of VOC beside images, in ``Annotations/`` or in folders of parts.

    Boxes count pixels from 1 with the last one included, as VOC has it; from 0 where a box begins there.
    """
    found = find_voc(place) if place.is_dir() else None
    if found is None:
        return None
    tasks: set[DenseTask] = {"detect"}
    if found.objects is not None:
        tasks.add("instance")
    if found.classes is not None:
        tasks.add("semantic")
    return Recognised(
        format="Pascal VOC xml",
        place=place,
        tasks=frozenset(tasks),
        open=lambda task, problems: _open(found, task, problems),
    )


def _open(found: VocFolders, task: DenseTask, problems: Problems) -> Parts:
    read: dict[Path, VocFile] = {}
    for file, photo in found.pairs.items():
        try:
            content = read_voc(file)
        except DataError as error:
            problems.add("broken-annotation", file.name, str(error))
            continue
        if photo is None:
            problems.add(
                "annotation-without-image",
                file.name,
                f"There is no image for '{file}'; put it into '{found.images[0]}' or remove the file.",
            )
            continue
        read[file] = content
    for photo in sorted(set(found.photos.values()) - {photo for photo in found.pairs.values() if photo is not None}):
        problems.note("image-without-annotation", photo.name, f"There is no xml file for '{photo}'; it is not used.")
    names = sorted({name for content in read.values() for name in content.names}, key=natural_key)
    if task == "semantic":
        return _open_classes(found, read, names)
    corners = [content.corners for content in read.values() if len(content.corners)]
    # Whoever counts from 1 has no box that begins before 1.
    shift = 1.0 if not corners or min(float(each[:, :2].min()) for each in corners) >= 1.0 else 0.0
    categories = [Category(None, name) for name in names]
    parts: dict[SplitRole | None, AnnotatedImages] = {}
    for role, files in found.parts.items():
        kept = [file for file in files if file in read]
        if task == "instance":
            parts[role] = _open_objects(found, {file: read[file] for file in kept}, categories, shift)
        elif kept:
            parts[role] = _open_boxes(found, {file: read[file] for file in kept}, categories, shift)
    return parts


def _open_boxes(
    found: VocFolders, files: Mapping[Path, VocFile], categories: Sequence[Category], shift: float
) -> AnnotatedImages:
    images = [
        ListedImage(
            found.name_of(file),
            found.photo_of(file),
            _BoxReader(content, shift),
            size=content.size,
            stored=True,
            source=f"The image of '{file}'",
        )
        for file, content in files.items()
    ]
    return listed_images(str(found.root), images, categories, kinds=frozenset({"detect"}), sources=list(files))


@dataclasses.dataclass(frozen=True, eq=False)
class _BoxReader:
    """Gives the boxes of one image; ``shift`` is what the first pixel is called."""

    content: VocFile
    shift: float

    def __call__(self, width: int, height: int) -> list[Shape]:
        shapes = []
        for name, corners, difficult in zip(
            self.content.names, self.content.corners.tolist(), self.content.difficult, strict=True
        ):
            left, top, right, bottom = corners
            shapes.append(Shape(name, (left - self.shift, top - self.shift, right, bottom), crowd=difficult))
        return shapes


def _open_objects(
    found: VocFolders, files: Mapping[Path, VocFile], categories: Sequence[Category], shift: float
) -> AnnotatedImages:
    """Images of which there is a mask with the number of each object, counted in the xml file from 1."""
    assert found.objects is not None
    masks = {mask.stem: mask for mask in found.objects.iterdir() if mask.suffix.lower() == ".png"}
    kept = {file: content for file, content in files.items() if file.stem in masks}
    boxes = _open_boxes(found, kept, categories, shift)
    chosen = [masks[file.stem] for file in kept]
    return dataclasses.replace(
        boxes,
        read=_ObjectReader(boxes, chosen),
        kinds=frozenset({"detect", "instance"}),
        sources=[*boxes.sources, *chosen],
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _ObjectReader:
    """Adds masks to the boxes of an image; objects without a pixel in the mask are regions to ignore."""

    boxes: AnnotatedImages
    masks: Sequence[Path]

    def __call__(self, index: int) -> AnnotatedImage:
        known = self.boxes.annotation(index)
        numbers = _numbers(self.masks[index], self.boxes.files[index])
        seen = set(np.unique(numbers).tolist())
        objects = []
        for number, thing in enumerate(known.objects, start=1):
            shape = NumberMask(numbers, number) if number in seen else None
            objects.append(dataclasses.replace(thing, mask_data=shape, crowd=thing.crowd or shape is None))
        return dataclasses.replace(known, objects=objects)


def _numbers(mask: Path, photo_file: Path) -> np.ndarray:
    """Numbers of objects (H, W) in a mask; colours are those of VOC's palette."""
    photo = find_photo(photo_file)
    numbers = read_upright_mask(mask, photo.path, photo.size, photo.orientation)
    if numbers.ndim == 3:
        numbers = ClassTable({}, _voc_palette()).numbers_of(numbers)
    if numbers.dtype.kind == "f":
        raise DataError(f"The mask '{mask}' holds fractions; expected whole numbers of objects.")
    return numbers


def _open_classes(found: VocFolders, read: Mapping[Path, VocFile], names: Sequence[str]) -> Parts:
    """Images of which there is a mask of classes, by a table or in the order of the alphabet, as VOC counts them."""
    assert found.classes is not None
    table = find_class_table((found.root, found.classes))
    if table is None:
        numbered = dict(enumerate(["background", *sorted(names)]))
        table = ClassTable(numbered, {colour: n for colour, n in _voc_palette().items() if n in numbered})
    masks = {mask.stem: mask for mask in found.classes.iterdir() if mask.suffix.lower() == ".png"}
    parts: dict[SplitRole | None, AnnotatedImages] = {}
    for role, stems in found.segmented.items():
        photos = {stem: found.photos[stem] for stem in stems if stem in masks and stem in found.photos}
        if photos:
            folders = MaskFolders(found.root, found.images[0], found.classes)
            parts[role] = class_maps(folders, list(photos.values()), [masks[stem] for stem in photos], table)
    if not parts:
        raise DataError(f"No image in '{found.images[0]}' has a mask of its name in '{found.classes}'.")
    return parts


@functools.cache
def _voc_palette() -> dict[tuple[int, int, int], int]:
    """Number of each colour as VOC gives them: the bits of a number go to red, green and blue in turn."""
    colours = {}
    for number in range(255, -1, -1):
        parts, rest = [0, 0, 0], number
        for bit in range(7, -1, -1):
            for channel in range(3):
                parts[channel] |= (rest >> channel & 1) << bit
            rest >>= 3
        colours[parts[0], parts[1], parts[2]] = number
    return colours


def _read_size(root: Element) -> tuple[int, int] | None:
    sides = [root.findtext(f"size/{key}") for key in ("width", "height")]
    if all(side is None or side.strip() in ("", "0") for side in sides):
        return None
    numbers = [_finite(side or "", f"size/{key}") for side, key in zip(sides, ("width", "height"), strict=True)]
    if any(number % 1 or number < 1 for number in numbers) or numbers[0] * numbers[1] > DEFAULT_MAX_PIXELS:
        raise ValueError(
            f"size must be whole numbers from 1 up of at most {DEFAULT_MAX_PIXELS / 1e6:.0f} megapixels, it has "
            f"{numbers[0]:g} x {numbers[1]:g}"
        )
    return int(numbers[0]), int(numbers[1])


def _read_name(thing: Element) -> str:
    name = " ".join((thing.findtext("name") or "").split())
    if not name or len(name) > 200:
        raise ValueError("an object needs a name of at most 200 letters")
    return name


def _read_corners(thing: Element) -> list[float]:
    numbers = []
    for key in ("xmin", "ymin", "xmax", "ymax"):
        text = thing.findtext(f"bndbox/{key}")
        if text is None:
            raise ValueError(f"an object has no bndbox/{key}")
        numbers.append(_finite(text, f"bndbox/{key}"))
    if max(map(abs, numbers)) > LARGEST_COORDINATE_PX:
        raise ValueError(f"bndbox lies or reaches more than {LARGEST_COORDINATE_PX:.0f} px away")
    if numbers[2] < numbers[0] or numbers[3] < numbers[1]:
        raise ValueError("xmax and ymax of bndbox must not be below xmin and ymin")
    return numbers


def _read_flag(thing: Element, key: str) -> bool:
    text = (thing.findtext(key) or "0").strip().casefold()
    if text not in ("", "0", "1", "true", "false", "yes", "no", "unspecified"):
        raise ValueError(f"{key} needs 0 or 1, it has {abridge(text)}")
    return text in ("1", "true", "yes")


def _finite(text: str, key: str) -> float:
    try:
        number = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{key} needs a finite number, it has {abridge(text.strip())}")
    return number
