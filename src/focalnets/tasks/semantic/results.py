"""What a network says of the pixels of one photo, and what measuring it found: plain values.

Axes: K classes, H W height and width of the photo [px].
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from focalnets.errors import ConfigError, nearest
from focalnets.tasks.evaluation import Failure
from focalnets.tasks.metric import PlainFigures

__all__ = ["ClassResult", "Evaluation", "ImageResult", "Segmentation"]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Segmentation:
    """The class of each pixel of a photo.

    Attributes:
        path: The photo.
        class_names: Names of the K classes.
        size: Width and height of the photo [px].
        areas: Pixels of each class that the photo shows, the largest first.
        packed: Label of each pixel, the place of its class in ``class_names``, uint16, compressed: many results take
            little memory. Empty for large images, whose map lies in its file.
        class_ids: Number of each class in the data, which files are written with; None counts from 0.
    """

    path: Path
    class_names: tuple[str, ...]
    size: tuple[int, int]
    areas: dict[str, int]
    packed: bytes = dataclasses.field(repr=False)
    class_ids: tuple[int, ...] | None = None

    @classmethod
    def of_labels(
        cls, path: Path, class_names: Sequence[str], labels: np.ndarray, class_ids: tuple[int, ...] | None = None
    ) -> Segmentation:
        """Make one of the label of each pixel, whole numbers (H, W)."""
        counts = np.bincount(labels.ravel(), minlength=len(class_names))
        ranked = sorted(range(len(counts)), key=lambda label: -counts[label])
        return cls(
            path=path,
            class_names=tuple(class_names),
            size=(labels.shape[1], labels.shape[0]),
            areas={class_names[label]: int(counts[label]) for label in ranked if counts[label]},
            packed=zlib.compress(labels.astype(np.uint16).tobytes(), 1),
            class_ids=class_ids,
        )

    @property
    def labels(self) -> np.ndarray:
        """Label of each pixel, the place of its class in ``class_names``, (H, W) uint16, unpacked each time.

        Raises:
            ConfigError: If it is that of a large image, whose map lies in its file.
        """
        if not self.packed:
            raise ConfigError("The class map of a large image lies in its file classes.tif; read it from there.")
        return np.frombuffer(zlib.decompress(self.packed), dtype=np.uint16).reshape(self.size[::-1])

    @property
    def fractions(self) -> dict[str, float]:
        """Fraction of the photo that each class takes, the largest first."""
        return {name: pixels / (self.size[0] * self.size[1]) for name, pixels in self.areas.items()}

    def mask(self, class_name: str) -> np.ndarray:
        """Return where a class is, booleans (H, W).

        Raises:
            ConfigError: If the network has no such class.
        """
        if class_name not in self.class_names:
            raise ConfigError(f"The network has no class {class_name!r}; {nearest(class_name, self.class_names)}")
        return self.labels == self.class_names.index(class_name)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name} {fraction:.1%}" for name, fraction in list(self.fractions.items())[:3])
        return f"Segmentation({self.path}: {shown})"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; the map itself is written as a picture, see ``write_results`` of the task."""
        areas = [
            {"class": name, "pixels": self.areas[name], "fraction": fraction}
            for name, fraction in self.fractions.items()
        ]
        return {"path": str(self.path), "width": self.size[0], "height": self.size[1], "areas": areas}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassResult:
    """How well one class is found.

    Attributes:
        class_name: Its name.
        iou: Intersection over union; None where neither data nor answers hold the class.
        recall: Fraction of its pixels that are named so; None where there are none.
        precision: Fraction of pixels named so that are of it; None where there are none.
        pixels: Its pixels.
        confused_with: The class that most of its other pixels are taken for; None if all are right.
    """

    class_name: str
    iou: float | None
    recall: float | None
    precision: float | None
    pixels: int
    confused_with: str | None


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ImageResult:
    """How well one image is understood.

    Attributes:
        index: Its number in the data.
        path: The photo, or its name.
        miou: Mean intersection over union of the classes that it shows or that were named.
        wrong: Fraction of its pixels that are wrong.
        confidence: Mean probability that the network gave to what it said of these; None if none is wrong.
        said: What the network said, in small: class of each pixel (h, w).
    """

    index: int
    path: Path
    miou: float
    wrong: float
    confidence: float | None
    said: np.ndarray = dataclasses.field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, without the picture."""
        names = ("index", "path", "miou", "wrong", "confidence")
        return {name: str(value) if name == "path" else value for name in names for value in (getattr(self, name),)}


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Evaluation:
    """A network measured on images of which the class of each pixel is known, at the size of the photos.

    Attributes:
        inputs: Number of images, each counted once.
        metrics: Mean intersection over union, and so on, by name.
        loss: Mean cross-entropy of the positions of the network's map.
        classes: One entry for each class, in the order of the labels.
        confusion: Pixels by true class (rows) and class named (columns).
        worst: Images that are understood worst, the worst first.
        preprocessing: How the images were prepared.
        left_out: Images that could not be read.
        model: Where the weights came from, in words.
        seconds: Duration, with reading.
    """

    inputs: int
    metrics: dict[str, float]
    loss: float | None
    classes: tuple[ClassResult, ...]
    confusion: tuple[tuple[int, ...], ...]
    worst: tuple[ImageResult, ...]
    preprocessing: dict[str, Any]
    left_out: tuple[Failure, ...] = ()
    model: str = ""
    seconds: float = 0.0

    @property
    def miou(self) -> float:
        """Mean intersection over union."""
        return self.metrics["miou"]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {
            **values,
            "classes": [dataclasses.asdict(each) for each in self.classes],
            "confusion": [list(row) for row in self.confusion],
            "worst": [image.to_dict() for image in self.worst],
            "left_out": [failure.to_dict() for failure in self.left_out],
        }

    def figures(self) -> PlainFigures:
        """Sum up the evaluation in one line."""
        return PlainFigures(self.inputs, self.metrics, self.loss)

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return heading and rows for a terminal, the class that is found worst first."""
        ranked = sorted(self.classes, key=lambda each: 2.0 if each.iou is None else each.iou)
        rows = [
            [each.class_name, *map(_percent, (each.iou, each.recall, each.precision)), f"{each.pixels:,}",
             each.confused_with or ""]
            for each in ranked
        ]  # fmt: skip
        return ["class", "IoU", "recall", "precision", "pixels", "taken for"], rows

    def per_class_table(self) -> tuple[list[str], list[list[Any]]]:
        """Return heading and rows for programs, in the order of the labels."""
        heading = ["class", "iou", "recall", "precision", "pixels", "confused_with"]
        return heading, [list(dataclasses.astuple(each)) for each in self.classes]


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"
