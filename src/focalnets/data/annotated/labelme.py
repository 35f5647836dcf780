"""Labelme: a json file of shapes for each image.

Axes: H W height and width [px], C corners.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import io
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from focalnets.data.annotated.class_table import is_background, is_ignored
from focalnets.data.annotated.coco import is_file
from focalnets.data.annotated.encoded_masks import EncodedMask, finite_numbers
from focalnets.data.annotated.images import DenseTask
from focalnets.data.annotated.listed import ListedImage, Shape, listed_images, polygon_shape
from focalnets.data.annotated.objects import Box, Category
from focalnets.data.annotated.parts import Parts, Recognised
from focalnets.data.annotated.polygons import LARGEST_COORDINATE_PX
from focalnets.data.annotated.problems import Problems, abridge
from focalnets.data.annotated.run_lengths import run_lengths_of
from focalnets.data.annotated.sniffing import holds
from focalnets.data.finding import is_no_data_folder, list_folder, natural_key
from focalnets.data.image_formats import IMAGE_EXTENSIONS
from focalnets.data.images import DEFAULT_MAX_PIXELS, image_header
from focalnets.data.split_names import SplitRole, role_of_name
from focalnets.errors import DataError, ImageError

__all__ = ["LabelmeFile", "read_labelme", "recognise_labelme"]

_MOST_BYTES = 400_000_000
_MOST_SHAPES = 100_000
_SNIFFED_BYTES = 65_536
_LARGEST_DRAWN_RADIUS_PX = 100_000
_AREAS = ("polygon", "rectangle", "circle", "mask")
_SHAPED = re.compile(rb'"shape_type"\s*:\s*"(polygon|circle|mask)"')
_KNOWN = (*_AREAS, "line", "linestrip", "point", "points")
_BESIDE = ("", "images", "../images", "../JPEGImages", "../imgs")


@dataclasses.dataclass(frozen=True, eq=False)
class LabelmeFile:
    """What a json file says.

    Attributes:
        size: Width and height of the image [px]; None where they are not stated.
        image_name: Last part of the path of the image; None where it is not stated.
        shapes: What covers an area; lines and points are left out.
        left_out: Number of lines and points.
    """

    size: tuple[int, int] | None
    image_name: str | None
    shapes: Sequence[dict[str, Any]]
    left_out: int

    @property
    def names(self) -> set[str]:
        """Classes of the shapes."""
        return {shape["label"] for shape in self.shapes if not (is_ignored(shape["label"]) or is_hole(shape))}


def read_labelme(file: Path) -> LabelmeFile:
    """Read one json file; coordinates are checked when its shapes are read.

    Raises:
        DataError: If it cannot be read or is not as Labelme has it.
    """
    wanted = "expected a json file of Labelme"
    try:
        if not file.is_file():
            raise DataError(f"'{file}' is no regular file; {wanted}.")
        if file.stat().st_size > _MOST_BYTES:
            raise DataError(f"'{file}' has {file.stat().st_size / 1e6:.0f} MB; {wanted} of at most 400 MB.")
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"'{file}' cannot be read ({error}); {wanted}.") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"'{file}' is no json or incomplete ({error}); {wanted}.") from error
    try:
        return _read_content(content)
    except ValueError as error:
        raise DataError(f"'{file}' is not as Labelme has it ({error}); correct or remove it.") from error


def recognise_labelme(place: Path) -> Recognised | None:
    """Find json files of Labelme in a folder, its ``annotations/`` or folders of parts."""
    files = _files(place) if place.is_dir() else {}
    if not files:
        return None
    shaped = any(holds(file, _SHAPED) for part in files.values() for file in part)
    tasks: set[DenseTask] = {"detect", "instance", "semantic"} if shaped else {"detect"}
    return Recognised(
        format="Labelme json",
        place=place,
        tasks=frozenset(tasks),
        open=lambda task, problems: _open(place, files, frozenset(tasks), problems),
    )


def _open(
    place: Path, files: Mapping[SplitRole | None, Sequence[Path]], kinds: frozenset[DenseTask], problems: Problems
) -> Parts:
    found: dict[SplitRole | None, list[tuple[Path, Path, LabelmeFile]]] = {}
    for role, part in files.items():
        for file in part:
            try:
                content = read_labelme(file)
            except DataError as error:
                problems.add("broken-annotation", file.name, str(error))
                continue
            photo = _photo_of(file, content)
            if photo is None:
                problems.add(
                    "annotation-without-image",
                    file.name,
                    f"The image {abridge(content.image_name or file.stem)} of '{file}' is neither beside it nor in "
                    "images/; put it there or remove the file.",
                )
                continue
            if content.left_out:
                problems.note("no-area", file.name, f"'{file}' holds {content.left_out} lines or points.")
            found.setdefault(role, []).append((file, photo, content))
    names = {name for entries in found.values() for _, _, content in entries for name in content.names}
    categories = [Category(None, name) for name in sorted(names, key=natural_key)]
    return {
        role: listed_images(
            str(place),
            [
                ListedImage(
                    photo.relative_to(place).as_posix() if photo.is_relative_to(place) else photo.name,
                    photo,
                    _LabelmeReader(file, content.shapes),
                    size=content.size,
                    stored=True,
                    source=f"The image of '{file}'",
                )
                for file, photo, content in entries
            ],
            categories,
            kinds=kinds,
            sources=[file for file, _, _ in entries],
        )
        for role, entries in found.items()
    }


@dataclasses.dataclass(frozen=True, eq=False)
class _LabelmeReader:
    """Gives the shapes of one image."""

    file: Path
    shapes: Sequence[dict[str, Any]]

    def __call__(self, width: int, height: int) -> list[Shape]:
        found = []
        for number, shape in enumerate(self.shapes):
            if is_hole(shape) or is_ignored(shape["label"]):
                continue
            try:
                found.append(_read_shape(shape, width, height))
            except ValueError as error:
                raise DataError(
                    f"Shape {number} of '{self.file}' is not as Labelme has it ({error}); correct or remove it."
                ) from error
        return found


def is_hole(shape: Mapping[str, Any]) -> bool:
    """Whether a shape shows where nothing is."""
    return is_background(shape["label"])


def _read_content(content: Any) -> LabelmeFile:
    if not isinstance(content, dict):
        raise ValueError("a json object with shapes is needed")
    shapes = content.get("shapes")
    if not isinstance(shapes, list) or not all(isinstance(shape, dict) for shape in shapes):
        raise ValueError("shapes needs a list of objects")
    if len(shapes) > _MOST_SHAPES:
        raise ValueError(f"it has {len(shapes):,} shapes, more than the limit of {_MOST_SHAPES:,}")
    sides: list[Any] = [content.get("imageWidth"), content.get("imageHeight")]
    if all(side in (None, 0) and side is not False for side in sides):
        size = None
    elif not all(type(side) is int and side >= 1 for side in sides) or math.prod(sides) > DEFAULT_MAX_PIXELS:
        raise ValueError(
            f"imageWidth and imageHeight need whole numbers from 1 up of at most {DEFAULT_MAX_PIXELS / 1e6:.0f} "
            f"megapixels, it has {abridge(sides[0])} and {abridge(sides[1])}"
        )
    else:
        size = (sides[0], sides[1])
    name = content.get("imagePath")
    if name is not None and not isinstance(name, str):
        raise ValueError(f"imagePath needs a text, it has {abridge(name)}")
    kept = [_plain(shape) for shape in shapes]
    areas = [shape for shape in kept if shape["shape_type"] in _AREAS]
    return LabelmeFile(size, re.split(r"[\\/]", name)[-1] if name else None, areas, len(kept) - len(areas))


def _plain(shape: dict[str, Any]) -> dict[str, Any]:
    """Keep what is needed of a shape."""
    label, kind, group = shape.get("label"), shape.get("shape_type") or "polygon", shape.get("group_id")
    if not isinstance(label, str) or not label.strip() or len(label) > 200:
        raise ValueError(f"a shape needs a label of at most 200 letters, it has {abridge(label)}")
    if kind not in _KNOWN:
        raise ValueError(f"shape_type needs one of {', '.join(_KNOWN)}, it has {abridge(kind)}")
    if group is not None and (not isinstance(group, int | str) or isinstance(group, bool)):
        raise ValueError(f"group_id needs a whole number or nothing, it has {abridge(group)}")
    return {
        "label": " ".join(label.split()),
        "shape_type": kind,
        "group_id": group,
        "points": shape.get("points"),
        "mask": shape.get("mask"),
    }


def _read_shape(shape: Mapping[str, Any], width: int, height: int) -> Shape:
    points, kind = _read_points(shape["points"]), shape["shape_type"]
    facts = {"group": shape["group_id"]}
    if kind == "polygon":
        return polygon_shape(shape["label"], points, width, height, **facts)
    if len(points) < 2 or (len(points) != 2 and kind != "rectangle"):
        raise ValueError(f"a {kind} needs two points, it has {len(points)}")
    low, high = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    if kind == "rectangle":
        box: Box = (*low, *high)
        corners = np.array([(box[0], box[1]), (box[2], box[1]), (box[2], box[3]), (box[0], box[3])])
        return dataclasses.replace(polygon_shape(shape["label"], corners, width, height, **facts), box_xyxy=box)
    if kind == "circle":
        middle, radius = points[0], math.dist(points[0], points[1])
        if radius > _LARGEST_DRAWN_RADIUS_PX:
            raise ValueError(f"a circle has a radius of {radius:.0f} px, more than {_LARGEST_DRAWN_RADIUS_PX} px")
        angles = np.linspace(0, 2 * math.pi, max(32, math.ceil(2 * radius)), endpoint=False)
        corners = middle + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        return polygon_shape(shape["label"], corners, width, height, **facts)
    return _read_mask(shape, low, high, width, height)


def _read_points(points: Any) -> np.ndarray:
    words = "points needs a list of pairs of finite numbers"
    if not isinstance(points, list) or not points or not all(isinstance(p, list) and len(p) == 2 for p in points):
        raise ValueError(words)
    numbers = finite_numbers([number for point in points for number in point], words)
    if np.abs(numbers).max() > LARGEST_COORDINATE_PX:
        raise ValueError(f"a point lies more than {LARGEST_COORDINATE_PX:.0f} px away")
    return numbers.reshape(-1, 2)


def _read_mask(shape: Mapping[str, Any], low: list[float], high: list[float], width: int, height: int) -> Shape:
    """A PNG in base64 for the pixels from the first point to the second, both included."""
    left, top, right, bottom = (round(number) for number in (*low, *high))
    if not isinstance(shape["mask"], str):
        raise ValueError("a mask needs a PNG in base64")
    try:
        data = base64.b64decode(shape["mask"], validate=True)
        image = image_header(io.BytesIO(data), "the mask")
        if image.format != "PNG" or image.size != (right - left + 1, bottom - top + 1):
            raise ValueError(
                f"a mask needs a PNG of {right - left + 1} x {bottom - top + 1} px, as its points say, it has "
                f"{image.format} of {image.width} x {image.height}"
            )
        if image.width * image.height > DEFAULT_MAX_PIXELS:
            raise ValueError("a mask is too large")
        inside = np.asarray(image.convert("L")) > 0
    except binascii.Error as error:
        raise ValueError(f"a mask needs a PNG in base64 ({error})") from error
    except ImageError as error:
        raise ValueError(str(error).rstrip(".")) from error
    except (OSError, SyntaxError, EOFError) as error:  # What damaged files make Pillow raise.
        raise ValueError(f"a mask is damaged ({error})") from error
    first, last = max(left, 0), min(right + 1, width)
    upper, lower = max(top, 0), min(bottom + 1, height)
    part = inside[upper - top : max(lower, upper) - top, first - left : max(last, first) - left]
    mask = EncodedMask(height, width, run_lengths_of(part, first, upper, width, height))
    return Shape(shape["label"], (float(left), float(top), right + 1.0, bottom + 1.0), mask, group=shape["group_id"])


def _photo_of(file: Path, content: LabelmeFile) -> Path | None:
    """The image of a json file: of the stated name, or of its own, beside it or in a folder of images."""
    for beside in _BESIDE:
        folder = file.parent / beside
        if content.image_name and is_file(folder / content.image_name):
            return folder / content.image_name
        for ending in IMAGE_EXTENSIONS:
            for candidate in (ending, ending.upper()):
                if is_file(folder / (file.stem + candidate)):
                    return folder / (file.stem + candidate)
    return None


def _files(root: Path) -> dict[SplitRole | None, list[Path]]:
    found: dict[SplitRole | None, list[Path]] = {}
    for role, folder in _folders(root):
        files = [folder / entry.name for entry in list_folder(folder) if entry.name.lower().endswith(".json")]
        # One that is none says that the folder holds other json files.
        if files and any(_is_labelme(file) for file in files[:5]):
            found.setdefault(role, []).extend(files)
    return found


def _folders(root: Path) -> Iterator[tuple[SplitRole | None, Path]]:
    yield None, root
    for entry in list_folder(root):
        folder = root / entry.name
        if is_no_data_folder(entry.name) or not folder.is_dir():
            continue
        role = role_of_name(entry.name)
        if role is not None or entry.name.casefold() in ("annotations", "labels", "jsons", "json", "images"):
            yield role, folder
            for inner in list_folder(folder):
                below, inner_role = folder / inner.name, role_of_name(inner.name)
                known = inner.name.casefold() in ("annotations", "labels", "jsons", "json", "images")
                if below.is_dir() and (known or inner_role is not None):
                    yield role or inner_role, below


def _is_labelme(file: Path) -> bool:
    """Whether a file looks like one of Labelme by its beginning or its end; the image may stand in between."""
    try:
        if not file.is_file():
            return False
        with file.open("rb") as opened:
            text = opened.read(_SNIFFED_BYTES)
            opened.seek(max(0, file.stat().st_size - _SNIFFED_BYTES))
            text += opened.read(_SNIFFED_BYTES)
    except OSError:
        return False
    return b'"shapes"' in text and any(key in text for key in (b'"imagePath"', b'"imageHeight"', b'"imageData"'))
