"""What a network says of the objects and the ground in one photo, and what measuring it found: plain values."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from focalnets.tasks.evaluation import Failure
from focalnets.tasks.metric import PlainFigures
from focalnets.tasks.panoptic.segments import Segments

__all__ = ["ClassQuality", "Evaluation", "ImageQuality", "Panoptic", "Segment"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Segment:
    """An object or a kind of ground.

    Attributes:
        id: Its number in the map.
        class_name: What it is.
        is_thing: Whether it is an object.
        score: Confidence, from 0 to 1.
        pixels: Its area.
        box: Left, top, width and height [px].
    """

    id: int
    class_name: str
    is_thing: bool
    score: float
    pixels: int
    box: tuple[int, int, int, int]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Panoptic:
    """The segments of a photo.

    Attributes:
        path: The photo.
        class_names: Names of the classes.
        size: Width and height of the photo [px].
        segments: The segments, that with number 1 first.
        packed: Number of each pixel's segment, uint16, 0 for none, compressed.
        class_ids: Number of each class in the data, which files are written with; None counts from 0.
    """

    path: Path
    class_names: tuple[str, ...]
    size: tuple[int, int]
    segments: tuple[Segment, ...]
    packed: bytes = dataclasses.field(repr=False)
    class_ids: tuple[int, ...] | None = None

    @classmethod
    def of_segments(
        cls,
        path: Path,
        class_names: Sequence[str],
        found: Segments,
        *,
        stuff: frozenset[int],
        class_ids: tuple[int, ...] | None = None,
    ) -> Panoptic:
        """Make one of segments and the classes that are kinds of ground."""
        areas = found.areas()
        segments = []
        for number, (label, score) in enumerate(zip(found.labels, found.scores, strict=True), 1):
            rows, columns = np.nonzero(found.ids == number)
            box = (0, 0, 0, 0)
            if len(rows):
                left, top = int(columns.min()), int(rows.min())
                box = (left, top, int(columns.max()) - left + 1, int(rows.max()) - top + 1)
            segments.append(
                Segment(
                    id=number,
                    class_name=class_names[label],
                    is_thing=label not in stuff,
                    score=score,
                    pixels=int(areas[number - 1]),
                    box=box,
                )
            )
        return cls(
            path=path,
            class_names=tuple(class_names),
            size=(found.ids.shape[1], found.ids.shape[0]),
            segments=tuple(segments),
            packed=zlib.compress(found.ids.astype(np.uint16).tobytes(), 1),
            class_ids=class_ids,
        )

    @property
    def numbers(self) -> dict[str, int]:
        """Number that each class is written with, by its name."""
        ids = range(len(self.class_names)) if self.class_ids is None else self.class_ids
        return dict(zip(self.class_names, ids, strict=True))

    @property
    def ids(self) -> np.ndarray:
        """Number of each pixel's segment, (H, W) uint16, 0 for none; unpacked each time."""
        return np.frombuffer(zlib.decompress(self.packed), dtype=np.uint16).reshape(self.size[::-1])

    def mask(self, segment: Segment) -> np.ndarray:
        """Return where a segment is, booleans (H, W)."""
        return self.ids == segment.id

    def __repr__(self) -> str:
        shown = ", ".join(segment.class_name for segment in self.segments[:5])
        return f"Panoptic({self.path}: {len(self.segments)} segments{': ' if shown else ''}{shown})"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; the map itself is written as a picture, see ``write_results`` of the task."""
        return {
            "path": str(self.path),
            "width": self.size[0],
            "height": self.size[1],
            "segments": [{**dataclasses.asdict(each), "box": list(each.box)} for each in self.segments],
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassQuality:
    """How well one class is found.

    Attributes:
        class_name: Its name.
        is_thing: Whether it has objects.
        pq, sq, rq: Panoptic, segmentation and recognition quality; None where there is no segment.
        matched, spurious, missed: Segments that match, that the data do not have, and that were not found.
    """

    class_name: str
    is_thing: bool
    pq: float | None
    sq: float | None
    rq: float | None
    matched: int
    spurious: int
    missed: int


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ImageQuality:
    """How well one image is understood.

    Attributes:
        index: Its number in the data.
        path: The photo, or its name.
        spurious: Classes and confidences of segments that the data do not have, the surest first.
        missed: Classes of segments that were not found.
        said: What the network said, in small: number of each pixel's segment, (h, w).
        labels: Class of each segment.
    """

    index: int
    path: Path
    spurious: tuple[tuple[str, float], ...]
    missed: tuple[str, ...]
    said: np.ndarray = dataclasses.field(repr=False)
    labels: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, without the picture."""
        return {
            "index": self.index,
            "path": str(self.path),
            "spurious": [{"class": name, "confidence": score} for name, score in self.spurious],
            "missed": list(self.missed),
        }


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Evaluation:
    """A network measured on images whose segments are known, at the size of the photos.

    Attributes:
        inputs: Number of images, each counted once.
        metrics: Panoptic quality and so on, by name.
        loss: Mean cross-entropy of the positions of the network's map.
        classes: One entry for each class, in the order of the labels.
        worst: Images with the surest spurious segments.
        preprocessing: How the images were prepared.
        left_out: Images that could not be read.
        model: Where the weights came from, in words.
        seconds: Duration, with reading.
    """

    inputs: int
    metrics: dict[str, float]
    loss: float | None
    classes: tuple[ClassQuality, ...]
    worst: tuple[ImageQuality, ...]
    preprocessing: dict[str, Any]
    left_out: tuple[Failure, ...] = ()
    model: str = ""
    seconds: float = 0.0

    @property
    def pq(self) -> float:
        """Panoptic quality."""
        return self.metrics["pq"]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {
            **values,
            "classes": [dataclasses.asdict(each) for each in self.classes],
            "worst": [image.to_dict() for image in self.worst],
            "left_out": [failure.to_dict() for failure in self.left_out],
        }

    def figures(self) -> PlainFigures:
        """Sum up the evaluation in one line."""
        return PlainFigures(self.inputs, self.metrics, self.loss)

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return heading and rows for a terminal, the class that is found worst first."""
        ranked = sorted(self.classes, key=lambda each: 2.0 if each.pq is None else each.pq)
        rows = [
            [each.class_name, *map(_percent, (each.pq, each.sq, each.rq)),
             *(f"{number:,}" for number in (each.matched, each.spurious, each.missed))]
            for each in ranked
        ]  # fmt: skip
        return ["class", "PQ", "SQ", "RQ", "matched", "spurious", "missed"], rows

    def per_class_table(self) -> tuple[list[str], list[list[Any]]]:
        """Return heading and rows for programs, in the order of the labels."""
        names = [field.name for field in dataclasses.fields(ClassQuality)]
        return ["class", *names[1:]], [list(dataclasses.astuple(each)) for each in self.classes]


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"
