"""What a network finds in one photo, and what measuring it found: plain values.

Axes: H W height and width of the photo [px]. A box is left, top, right, bottom [px of the photo].
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from focalnets.data.annotated.encoded_masks import EncodedMask
from focalnets.tasks.detect.run_lengths import text_of_runs
from focalnets.tasks.evaluation import Failure
from focalnets.tasks.metric import PlainFigures

__all__ = ["ClassResult", "DetectedObject", "Detections", "Evaluation", "Mistake"]

Box = tuple[float, float, float, float]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class DetectedObject:
    """One object.

    Attributes:
        class_name: What it is.
        class_index: Place of its class among the network's.
        class_id: Number of its class in the data that the network was trained on.
        score: From 0 to 1.
        box: Where it is.
        mask_data: Which pixels belong to it, as run lengths; None where the network draws no masks.
    """

    class_name: str
    class_index: int
    class_id: int
    score: float
    box: Box
    mask_data: EncodedMask | None = dataclasses.field(default=None, repr=False)

    @property
    def mask(self) -> np.ndarray | None:
        """Which pixels belong to it, booleans (H, W), drawn anew each time."""
        return None if self.mask_data is None else self.mask_data.decode()

    @property
    def area_px(self) -> float:
        """How many pixels it covers; of the box, where there is no mask."""
        if self.mask_data is not None:
            return float(self.mask_data.runs[1::2].sum())
        left, top, right, bottom = self.box
        return (right - left) * (bottom - top)

    def segmentation(self) -> dict[str, Any] | None:
        """Return the mask as COCO's files have it: size and run lengths as text."""
        mask = self.mask_data
        return None if mask is None else {"size": [mask.height, mask.width], "counts": text_of_runs(mask.runs)}

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        values = {"class": self.class_name, "class_id": self.class_id, "score": self.score, "box": list(self.box)}
        segmentation = self.segmentation()
        return values if segmentation is None else {**values, "segmentation": segmentation}


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Detections:
    """The objects in a photo.

    Attributes:
        path: The photo.
        size: Width and height of the photo [px].
        class_names: Names of the classes that the network knows.
        objects: What was found, the surest first.
    """

    path: Path
    size: tuple[int, int]
    class_names: tuple[str, ...]
    objects: tuple[DetectedObject, ...]

    def above(self, score: float) -> Detections:
        """Keep the objects from that score on."""
        return dataclasses.replace(self, objects=tuple(thing for thing in self.objects if thing.score >= score))

    @property
    def counts(self) -> dict[str, int]:
        """How many objects of each class there are, the most frequent first."""
        counts: dict[str, int] = {}
        for thing in self.objects:
            counts[thing.class_name] = counts.get(thing.class_name, 0) + 1
        return dict(sorted(counts.items(), key=lambda entry: -entry[1]))

    def __repr__(self) -> str:
        shown = ", ".join(f"{count} {name}" for name, count in self.counts.items())
        return f"Detections({self.path}: {shown or 'nothing'})"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "path": str(self.path),
            "width": self.size[0],
            "height": self.size[1],
            "objects": [thing.to_dict() for thing in self.objects],
        }

    def to_coco(self, image_id: int | str) -> list[dict[str, Any]]:
        """Return an entry for each object as COCO's files of results have it."""
        entries = []
        for thing in self.objects:
            left, top, right, bottom = thing.box
            entry: dict[str, Any] = {
                "image_id": image_id,
                "category_id": thing.class_id,
                "bbox": [left, top, right - left, bottom - top],
                "score": thing.score,
            }
            segmentation = thing.segmentation()
            entries.append(entry if segmentation is None else {**entry, "segmentation": segmentation})
        return entries


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassResult:
    """How well the objects of one class are found.

    Attributes:
        class_name: Its name.
        objects: How many there are.
        figures: Average precision by name, such as ``map50``; None where there are no objects.
        correct, missed: Objects that were found, and not.
        spurious: Detections that lie on no object of the class.
        doubled: Detections of objects that were found already.
    """

    class_name: str
    objects: int
    figures: Mapping[str, float | None]
    correct: int
    missed: int
    spurious: int
    doubled: int

    @property
    def recall(self) -> float | None:
        """Fraction of the objects that were found; None where there are none."""
        return self.correct / (self.correct + self.missed) if self.correct + self.missed else None

    @property
    def precision(self) -> float | None:
        """Fraction of the detections that are right; None where there are none."""
        found = self.correct + self.spurious + self.doubled
        return self.correct / found if found else None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {**dataclasses.asdict(self), "figures": dict(self.figures), "recall": self.recall,
                "precision": self.precision}  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Mistake:
    """One confident error: a detection where there is nothing like it, or an object that was missed.

    Attributes:
        index: Number of the image in the data.
        path: The photo, or its name.
        kind: ``spurious``, ``wrong class``, ``doubled`` or ``missed``.
        class_name: What was detected, or was missed.
        score: Of the detection; of a missed object that of the best detection on it, 0 where there is none.
        box: Where.
        truth: Where a detection lies on an object of another class, that class.
    """

    index: int
    path: Path
    kind: str
    class_name: str
    score: float
    box: Box
    truth: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {**dataclasses.asdict(self), "path": str(self.path), "box": list(self.box)}


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Evaluation:
    """A network measured on images whose objects are known.

    Attributes:
        inputs: Number of images, each counted once.
        metrics: Average precision by name, and how many objects were missed, spurious or found twice.
        loss: Mean of the summed losses; None where images were measured at the size that they have.
        counted_from: Score from which detections count as such.
        classes: One entry for each class, in the order of the labels.
        mistakes: Confident errors, the surest first.
        preprocessing: How the images were prepared.
        left_out: Images that could not be read.
        model: Where the weights came from, in words.
        seconds: Duration, with reading.
    """

    inputs: int
    metrics: dict[str, float]
    loss: float | None
    counted_from: float
    classes: tuple[ClassResult, ...]
    mistakes: tuple[Mistake, ...]
    preprocessing: dict[str, Any]
    left_out: tuple[Failure, ...] = ()
    model: str = ""
    seconds: float = 0.0

    @property
    def objects(self) -> int:
        """How many objects there are."""
        return sum(each.objects for each in self.classes)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {
            **values,
            "classes": [each.to_dict() for each in self.classes],
            "mistakes": [mistake.to_dict() for mistake in self.mistakes],
            "left_out": [failure.to_dict() for failure in self.left_out],
        }

    def figures(self) -> PlainFigures:
        """Sum up the evaluation in one line."""
        return PlainFigures(self.inputs, self.metrics, self.loss)

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return heading and rows for a terminal, the class that is found worst first."""
        names = self._figure_names()
        ranked = sorted(self.classes, key=lambda each: _first(each.figures.get(names[0])))
        heading = ["class", "objects", *map(_heading, names), "found", "missed", "spurious", "twice"]
        rows = [
            [each.class_name, f"{each.objects:,}", *(_percent(each.figures.get(name)) for name in names),
             f"{each.correct:,}", f"{each.missed:,}", f"{each.spurious:,}", f"{each.doubled:,}"]
            for each in ranked
        ]  # fmt: skip
        return heading, rows

    def per_class_table(self) -> tuple[list[str], list[list[Any]]]:
        """Return heading and rows for programs, in the order of the labels."""
        names = self._figure_names()
        heading = ["class", "objects", *names, "correct", "missed", "spurious", "doubled", "precision", "recall"]
        return heading, [
            [each.class_name, each.objects, *(each.figures.get(name) for name in names), each.correct, each.missed,
             each.spurious, each.doubled, each.precision, each.recall]
            for each in self.classes
        ]  # fmt: skip

    def _figure_names(self) -> list[str]:
        return list(self.classes[0].figures) if self.classes else []


def _heading(name: str) -> str:
    """AP50 for map50, mask AP for mask_map."""
    return name.replace("mask_", "mask ").replace("map", "AP")


def _first(value: float | None) -> float:
    return 2.0 if value is None else value


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"
