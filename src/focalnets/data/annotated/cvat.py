"""CVAT's xml for images: boxes, polygons, masks and ellipses of many images in one file.

Axes: H W height and width [px], C corners, R runs.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from focalnets.data.annotated.coco import is_file
from focalnets.data.annotated.coco_content import is_inside
from focalnets.data.annotated.encoded_masks import EncodedMask
from focalnets.data.annotated.images import DenseTask
from focalnets.data.annotated.listed import ListedImage, Shape, ShapeMask, listed_images, polygon_shape
from focalnets.data.annotated.objects import Box, Category
from focalnets.data.annotated.parts import Parts, Recognised
from focalnets.data.annotated.polygons import LARGEST_COORDINATE_PX, PolygonMask, check_polygon, polygon_extent
from focalnets.data.annotated.problems import Problems, abridge
from focalnets.data.annotated.run_lengths import part_of_rows, run_lengths_of
from focalnets.data.annotated.sniffing import holds
from focalnets.data.annotated.xml_files import read_xml, root_name
from focalnets.data.finding import list_folder, natural_key
from focalnets.data.images import DEFAULT_MAX_PIXELS
from focalnets.data.split_names import SplitRole, role_of_name, role_of_shard
from focalnets.errors import DataError

__all__ = ["CvatFile", "CvatImage", "read_cvat", "recognise_cvat"]

_AREAS = ("box", "polygon", "mask", "ellipse")
_OTHERS = ("polyline", "points", "cuboid", "skeleton", "tag", "attribute")
_SHAPED = re.compile(rb"<(polygon|mask|ellipse)\s")
_CROWD_NAMES = ("is_crowd", "iscrowd", "crowd", "ignore", "difficult")
_MOST_LABELS = 65_536


@dataclasses.dataclass(frozen=True, eq=False)
class CvatImage:
    """One image of a file.

    Attributes:
        name: Its path as CVAT knew it.
        size: Width and height [px].
        part: The part of the data that it belongs to; None where none is named.
        shapes: Its objects.
        left_out: Number of lines, points and other shapes without an area.
    """

    name: str
    size: tuple[int, int]
    part: SplitRole | None
    shapes: Sequence[Shape]
    left_out: int


@dataclasses.dataclass(frozen=True, eq=False)
class CvatFile:
    """What a file holds: names of classes in their order, and images."""

    labels: Sequence[str]
    images: Sequence[CvatImage]


def read_cvat(file: Path, problems: Problems | None = None) -> CvatFile:
    """Read a file of CVAT, one image at a time.

    Args:
        file: The xml file.
        problems: Takes images whose shapes are not as expected; None raises the first one.

    Raises:
        DataError: If it cannot be read, is one for videos or not as CVAT has it.
    """
    problems = Problems() if problems is None else problems
    images: list[CvatImage] = []

    def take(element: Element) -> None:
        name = element.get("name") or ""
        try:
            images.append(_read_image(element))
        except ValueError as error:
            sentence = f"Image {abridge(name)} of '{file}' is not as CVAT has it ({error}); correct or remove it."
            problems.add("broken-annotation", name, sentence)

    root = read_xml(file, "annotations", each="image", take=take)
    if root.find("track") is not None:
        raise DataError(f"'{file}' holds tracks of a video; export it as 'CVAT for images'.")
    if not images and not problems.found:
        raise DataError(f"'{file}' lists no images.")
    labels = [" ".join((label.text or "").split()) for label in root.findall("meta//labels/label/name")]
    return CvatFile([label for label in dict.fromkeys(labels) if label], images)


def recognise_cvat(place: Path) -> Recognised | None:
    """Find a file of CVAT, or those of a folder, told apart by their names or the ``subset`` of each image."""
    files = _files(place)
    if not files:
        return None
    shaped = any(holds(file, _SHAPED) for file in files)
    tasks: set[DenseTask] = {"detect", "instance", "semantic"} if shaped else {"detect"}
    return Recognised(
        format="CVAT xml",
        place=place,
        tasks=frozenset(tasks),
        open=lambda task, problems: _open(place, files, frozenset(tasks), problems),
    )


def _open(
    place: Path, files: Mapping[Path, SplitRole | None], kinds: frozenset[DenseTask], problems: Problems
) -> Parts:
    images: dict[SplitRole | None, list[ListedImage]] = {}
    sources: dict[SplitRole | None, list[Path]] = {}
    labels: dict[str, None] = {}
    used: set[str] = set()
    for file, role in files.items():
        content = read_cvat(file, problems)
        labels |= dict.fromkeys(content.labels)
        for image in content.images:
            photo = _photo_of(file, image)
            if photo is None:
                problems.add(
                    "annotation-without-image",
                    image.name,
                    f"'{file}' lists the image {abridge(image.name)}, which is neither beside it nor in images/.",
                )
                continue
            if image.left_out:
                problems.note("no-area", image.name, f"'{file}' holds {image.left_out} lines or points.")
            part = image.part or role
            used |= {str(shape.category) for shape in image.shapes}
            entry = ListedImage(
                image.name,
                photo,
                _CvatReader(image),
                size=image.size,
                source=f"Image {abridge(image.name)} of '{file}'",
            )
            images.setdefault(part, []).append(entry)
            if file not in sources.setdefault(part, []):
                sources[part].append(file)
    names = [*(label for label in labels), *sorted(used - set(labels), key=natural_key)]
    if len(names) > _MOST_LABELS:
        raise DataError(f"'{place}' names {len(names):,} classes, more than the limit of {_MOST_LABELS:,}.")
    categories = [Category(None, name) for name in names]
    return {
        part: listed_images(str(place), entries, categories, kinds=kinds, sources=sources[part])
        for part, entries in images.items()
    }


@dataclasses.dataclass(frozen=True, eq=False)
class _CvatReader:
    """Gives the shapes of one image, which were checked when the file was read."""

    image: CvatImage

    def __call__(self, width: int, height: int) -> list[Shape]:
        return list(self.image.shapes)


def _read_image(element: Element) -> CvatImage:
    name = element.get("name")
    if not name or not is_inside(name.replace("\\", "/")):
        raise ValueError("an image needs a name, which is a path below the folder of the images")
    sides = [_number(element, key) for key in ("width", "height")]
    if any(side % 1 or side < 1 for side in sides) or sides[0] * sides[1] > DEFAULT_MAX_PIXELS:
        raise ValueError(
            f"width and height need whole numbers from 1 up of at most {DEFAULT_MAX_PIXELS / 1e6:.0f} megapixels, it "
            f"has {sides[0]:g} x {sides[1]:g}"
        )
    width, height = int(sides[0]), int(sides[1])
    shapes, left_out = [], 0
    for child in element:
        if child.tag in _AREAS:
            shapes.append(_read_shape(child, width, height))
        elif child.tag in _OTHERS:
            left_out += child.tag not in ("tag", "attribute")
        else:
            raise ValueError(f"{abridge(child.tag)} is no shape that is known")
    part = role_of_name(element.get("subset") or "")
    return CvatImage(name, (width, height), part, shapes, left_out)


def _read_shape(element: Element, width: int, height: int) -> Shape:
    label = " ".join((element.get("label") or "").split())
    if not label or len(label) > 200:
        raise ValueError("a shape needs a label of at most 200 letters")
    group = element.get("group_id")
    if group is not None and not (group.isascii() and group.isdecimal() and len(group) < 20):
        raise ValueError(f"group_id needs a whole number, it has {abridge(group)}")
    flags = {each.get("name"): (each.text or "").strip().casefold() for each in element.findall("attribute")}
    facts = {
        "group": int(group) if group and int(group) else None,
        "crowd": any(flags.get(name) in ("true", "1") for name in _CROWD_NAMES),
    }
    box, mask = _READERS[element.tag](element, width, height)
    return Shape(label, box, mask, **facts)  # type: ignore[arg-type]


def _read_box(element: Element, width: int, height: int) -> tuple[Box, ShapeMask | None]:
    left, top, right, bottom = (_number(element, key) for key in ("xtl", "ytl", "xbr", "ybr"))
    if right < left or bottom < top:
        raise ValueError("xbr and ybr of a box must not be below xtl and ytl")
    turn = _number(element, "rotation", 0.0)
    if turn == 0.0:
        return (left, top, right, bottom), None
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    corners = _turned(corners, np.array([(left + right) / 2, (top + bottom) / 2]), turn)
    return _outlined(corners, width, height)


def _read_polygon(element: Element, width: int, height: int) -> tuple[Box, ShapeMask | None]:
    words = "points of a polygon need pairs of finite numbers like 1,2;3,4;5,6"
    pairs = [pair.split(",") for pair in (element.get("points") or "").split(";")]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError(words)
    try:
        corners = np.array([[float(number) for number in pair] for pair in pairs], dtype=np.float64)
    except ValueError:
        raise ValueError(words) from None
    if not np.isfinite(corners).all():
        raise ValueError(words)
    shape = polygon_shape("", corners, width, height)
    return shape.box_xyxy, shape.mask


def _read_ellipse(element: Element, width: int, height: int) -> tuple[Box, ShapeMask | None]:
    middle = np.array([_number(element, "cx"), _number(element, "cy")])
    radii = np.array([_number(element, "rx"), _number(element, "ry")])
    if radii.min() < 0 or radii.max() > LARGEST_COORDINATE_PX / 10:
        raise ValueError(f"rx and ry of an ellipse need numbers from 0 to {LARGEST_COORDINATE_PX / 10:.0f}")
    angles = np.linspace(0, 2 * math.pi, max(32, math.ceil(2 * float(radii.max()))), endpoint=False)
    corners = middle + radii * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return _outlined(_turned(corners, middle, _number(element, "rotation", 0.0)), width, height)


def _read_mask(element: Element, width: int, height: int) -> tuple[Box, ShapeMask | None]:
    """Runs along the rows of a part of the image, in turn outside and on the object."""
    left, top, across, down = (_number(element, key) for key in ("left", "top", "width", "height"))
    if any(number % 1 for number in (left, top, across, down)) or min(left, top) < 0 or min(across, down) < 1:
        raise ValueError("left, top, width and height of a mask need whole numbers from 0 up")
    if left + across > width or top + down > height:
        raise ValueError("a mask reaches beyond the image")
    words = (element.get("rle") or "").split(",")
    if not all(word.strip().isascii() and word.strip().isdecimal() and len(word.strip()) < 12 for word in words):
        raise ValueError("rle of a mask needs whole numbers from 0 up like 3, 4, 5")
    counts = np.array([int(word) for word in words], dtype=np.int64)
    if counts.sum() != across * down:
        raise ValueError(f"rle of a mask covers {counts.sum()} pixels, its part has {across * down:.0f}")
    x, y, w, h = int(left), int(top), int(across), int(down)
    runs = run_lengths_of(part_of_rows(counts, w, h), x, y, width, height)
    return (left, top, left + across, top + down), EncodedMask(height, width, runs)


_READERS = {"box": _read_box, "polygon": _read_polygon, "ellipse": _read_ellipse, "mask": _read_mask}


def _outlined(corners: np.ndarray, width: int, height: int) -> tuple[Box, ShapeMask]:
    check_polygon(corners)
    return polygon_extent([corners], height, width), PolygonMask(height, width, [corners])


def _turned(corners: np.ndarray, middle: np.ndarray, degrees: float) -> np.ndarray:
    """Corners (C, 2) turned clockwise around a point."""
    angle = math.radians(degrees)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    return (corners - middle) @ turn + middle


def _number(element: Element, key: str, otherwise: float | None = None) -> float:
    text = element.get(key)
    if text is None and otherwise is not None:
        return otherwise
    try:
        number = float(text) if text is not None and text.isascii() and "_" not in text else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or abs(number) > LARGEST_COORDINATE_PX:
        raise ValueError(
            f"{key} of <{element.tag}> needs a number of at most {LARGEST_COORDINATE_PX:.0f}, it has {abridge(text)}"
        )
    return number


def _photo_of(file: Path, image: CvatImage) -> Path | None:
    """The image, by its whole path or its last part, beside the file or in folders of images."""
    relative = Path(image.name.replace("\\", "/"))
    for folder in (file.parent / "images", file.parent, file.parent.parent / "images", file.parent.parent):
        inner = [folder / entry for entry in ("train", "val", "test", "Train", "Validation", "Test", "default")]
        for place in (folder, *inner):
            for name in dict.fromkeys((relative, Path(relative.name))):
                if is_file(place / name):
                    return place / name
    return None


def _files(place: Path) -> dict[Path, SplitRole | None]:
    if place.is_file():
        return {place: None} if place.suffix.lower() == ".xml" and root_name(place) == "annotations" else {}
    found: dict[Path, SplitRole | None] = {}
    folders: list[tuple[Path, SplitRole | None]] = [(place, None), (place / "annotations", None)]
    for entry in list_folder(place):
        role = role_of_name(entry.name)
        if role is not None and (place / entry.name).is_dir():
            folders.append((place / entry.name, role))
    for folder, role in folders:
        if not folder.is_dir():
            continue
        files = [folder / entry.name for entry in list_folder(folder) if entry.name.lower().endswith(".xml")]
        if files and root_name(files[0]) == "annotations":
            found |= {file: role or role_of_shard(file.name) for file in files if root_name(file) == "annotations"}
    return found
