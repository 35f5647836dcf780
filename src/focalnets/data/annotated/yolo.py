"""Labels in YOLO's text format: a line for each object, fractions of width and height.

Axes: H W height and width [px], C corners.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from focalnets.data.annotated.class_table import read_text
from focalnets.data.annotated.images import AnnotatedImages, DenseTask
from focalnets.data.annotated.listed import ListedImage, Shape, listed_images, polygon_shape
from focalnets.data.annotated.objects import Category
from focalnets.data.annotated.parts import Parts, Recognised
from focalnets.data.annotated.problems import Problems, abridge
from focalnets.data.annotated.yolo_folders import YoloPart, find_yolo, first_lines, label_file
from focalnets.errors import DataError
from focalnets.files import is_there

__all__ = ["read_yolo_labels", "recognise_yolo"]

_MOST_BYTES = 16_000_000
_MOST_LINES = 100_000
_SNIFFED = 300
_DECIMALS = 6
"""Decimals of a pixel to which positions are rounded: more than written fractions have."""

_FARTHEST = 0.5
"""How far boxes and corners may lie outside the image, in widths and heights; more is taken for pixels."""


def recognise_yolo(place: Path) -> Recognised | None:
    """Find labels of YOLO: a yaml file that names images and classes, or folders of images and labels.

    Raises:
        DataError: If the yaml file is not as expected or several may be meant.
    """
    found = find_yolo(place)
    if found is None:
        return None
    shaped = any(_holds_polygons(part, found.keypoints) for part in found.parts.values())
    tasks: set[DenseTask] = {"detect", "instance", "semantic"} if shaped else {"detect"}

    def opened(task: DenseTask, problems: Problems) -> Parts:
        return {
            role: _open_part(place, part, found.categories, found.keypoints, frozenset(tasks))
            for role, part in found.parts.items()
        }

    return Recognised(format="YOLO txt", place=place, tasks=frozenset(tasks), open=opened)


def read_yolo_labels(file: Path, width: int, height: int, *, classes: int, keypoints: int | None = None) -> list[Shape]:
    """Read the objects of one image; an empty file, or none, has no objects.

    A line holds the number of a class and then either the middle and size of a box, or the corners of a polygon, as
    fractions of width and height.

    Args:
        file: The text file.
        width: Of the image [px].
        height: Of the image [px].
        classes: Number of classes.
        keypoints: Numbers of points that follow each box, which are not read; None where there are none.

    Raises:
        DataError: If a line is not as expected.
    """
    if not is_there(file):
        return []
    lines = read_text(file, most_bytes=_MOST_BYTES, kind="labels of YOLO").splitlines()
    if len(lines) > _MOST_LINES:
        raise DataError(f"'{file}' has {len(lines):,} lines, more than the limit of {_MOST_LINES:,} objects.")
    shapes = []
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words:
            continue
        try:
            shapes.append(_read_line(words, width, height, classes, keypoints))
        except ValueError as error:
            raise DataError(
                f"Line {number} of '{file}' is not as YOLO has it ({error}); correct or remove it."
            ) from error
    return shapes


def _read_line(words: Sequence[str], width: int, height: int, classes: int, keypoints: int | None) -> Shape:
    category = _class_number(words[0], classes)
    numbers = _fractions(words[1:])
    if keypoints is not None and len(numbers) == 4 + keypoints:
        numbers = numbers[:4]
    size = np.array([width, height], dtype=np.float64)
    if len(numbers) == 4:
        middle, sides = numbers[:2], numbers[2:]
        if sides.min() < 0:
            raise ValueError("width and height of a box must be 0 or more")
        corners = np.concatenate([middle - sides / 2, middle + sides / 2])
        _require_near(corners)
        left, top, right, bottom = np.round(corners * np.tile(size, 2), _DECIMALS).tolist()
        return Shape(category, (left, top, right, bottom))
    if len(numbers) < 6 or len(numbers) % 2:
        raise ValueError(
            "after the class 4 numbers of a box, or at least 3 corners of a polygon, are needed, it has "
            f"{len(numbers)} numbers"
        )
    _require_near(numbers)
    return polygon_shape(category, np.round(numbers.reshape(-1, 2) * size, _DECIMALS), width, height)


def _class_number(word: str, classes: int) -> int:
    number = _number(word)
    if number is None or number % 1 or not 0 <= number < classes:
        raise ValueError(f"a class must be a whole number from 0 to {classes - 1}, it has {abridge(word)}")
    return int(number)


def _fractions(words: Sequence[str]) -> np.ndarray:
    numbers = [_number(word) for word in words]
    wrong = next((word for word, number in zip(words, numbers, strict=True) if number is None), None)
    if wrong is not None:
        raise ValueError(f"{abridge(wrong)} is no finite number")
    return np.array(numbers, dtype=np.float64)


def _number(word: str) -> float | None:
    try:
        number = float(word) if word.isascii() and "_" not in word else float("nan")
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def _require_near(fractions: np.ndarray) -> None:
    low, high = float(fractions.min()), float(fractions.max())
    if low < -_FARTHEST or high > 1 + _FARTHEST:
        raise ValueError(
            f"positions must be fractions of width and height from 0 to 1, it reaches from {low:g} to {high:g}; are "
            "these pixels?"
        )


@dataclasses.dataclass(frozen=True)
class _YoloReader:
    """Reads the labels of one image."""

    file: Path
    classes: int
    keypoints: int | None

    def __call__(self, width: int, height: int) -> list[Shape]:
        return read_yolo_labels(self.file, width, height, classes=self.classes, keypoints=self.keypoints)


def _open_part(
    place: Path,
    part: YoloPart,
    categories: Sequence[Category],
    keypoints: int | None,
    kinds: frozenset[DenseTask],
) -> AnnotatedImages:
    images, sources = [], []
    for photo in part.images:
        labels = label_file(photo)
        name = photo.relative_to(place).as_posix() if photo.is_relative_to(place) else photo.name
        images.append(ListedImage(name, photo, _YoloReader(labels, len(categories), keypoints)))
        if is_there(labels):
            sources.append(labels)
    return listed_images(str(place), images, categories, kinds=kinds, sources=sources)


def _holds_polygons(part: YoloPart, keypoints: int | None) -> bool:
    """Whether labels hold polygons, by the first lines of some files."""
    step = max(1, len(part.images) // _SNIFFED)
    for photo in part.images[::step]:
        lines = [line.split() for line in first_lines(label_file(photo))[:20]]
        if any(len(words) >= 7 and len(words) != 5 + (keypoints or 0) for words in lines):
            return True
    return False
