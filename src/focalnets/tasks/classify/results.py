"""What classification returns: plain, frozen values that survive JSON.

Axes: K classes.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, ClassVar

from focalnets.files import csv_text
from focalnets.intervals import wilson_interval
from focalnets.report.words import count_in_words
from focalnets.tasks.classify.calibration import Calibration
from focalnets.tasks.classify.classified import (
    ClassFigures,
    ConfidentError,
    calibration_of,
    class_figures,
    confusion_counts,
    confusion_table,
    mean_recall,
    most_confident_errors,
)
from focalnets.tasks.evaluation import Failure, Measured

__all__ = [
    "Evaluation",
    "Figures",
    "Prediction",
    "make_evaluation",
    "none_of_the_classes",
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a network says about one image.

    Attributes:
        path: The file.
        class_names: The likeliest classes, likeliest first.
        class_indices: Their numbers among the network's outputs.
        confidences: Their probabilities after softmax, from 0 to 1.
        threshold: Confidence below which the image seems to show none of the classes; None where the network does not
            tell.
        class_count: How many classes the network has; 0 where that is not told.
    """

    path: Path
    class_names: tuple[str, ...]
    class_indices: tuple[int, ...]
    confidences: tuple[float, ...]
    threshold: float | None = None
    class_count: int = 0

    @property
    def is_none_of_the_classes(self) -> bool:
        """Whether the image seems to show none of the classes; False where the network has no threshold."""
        return self.threshold is not None and self.confidences[0] < self.threshold

    @property
    def verdict(self) -> str:
        """The likeliest class, or in words that it is none of them."""
        return none_of_the_classes(self.class_count) if self.is_none_of_the_classes else self.class_names[0]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; without a threshold nothing is said about none of the classes."""
        rows = zip(self.class_names, self.class_indices, self.confidences, strict=True)
        told = {} if self.threshold is None else {
            "none_of_the_classes": self.is_none_of_the_classes, "threshold": self.threshold,
        }  # fmt: skip
        return {
            "path": str(self.path),
            "classes": [{"name": name, "index": index, "confidence": confidence} for name, index, confidence in rows],
            **told,
        }


def none_of_the_classes(count: int) -> str:
    """Say that an image shows none of so many classes."""
    return f"none of the {count_in_words(count) if count > 1 else 'classes'}, as it seems"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figures:
    """An evaluation in one line; the attributes mean what they mean in :class:`Evaluation`."""

    images: int
    top1: float
    top1_interval: tuple[float, float]
    top5: float
    top5_interval: tuple[float, float]
    loss: float | None
    ece: float

    def value(self, metric: str) -> float:
        """Return a metric by its name."""
        return getattr(self, metric)

    def interval(self, metric: str) -> tuple[float, float] | None:
        """Return Wilson's 95 % confidence interval of an accuracy."""
        return getattr(self, f"{metric}_interval", None)

    def to_row(self) -> dict[str, Any]:
        """Return one cell for each column of a table."""
        row: dict[str, Any] = {"images": self.images}
        for name in ("top1", "top5"):
            low, high = getattr(self, f"{name}_interval")
            row |= {name: getattr(self, name), f"{name}_low": low, f"{name}_high": high}
        return row | {"loss": self.loss, "ece": self.ece}

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A network measured on labelled images.

    Attributes:
        images: Number of images, each counted once.
        top1, top5: Fraction whose class is the likeliest, or among the five likeliest (all, where there are fewer).
        top1_interval, top5_interval: Wilson's 95 % confidence intervals of them.
        mean_recall: Mean over the classes that have images, so that each of them counts the same.
        loss: Mean cross-entropy [nats].
        per_class: One entry a class.
        confusion: Counts, one row for each true class, one column for each predicted one.
        preprocessing: How the images were prepared, with ``input_size_px``; figures without it mean nothing.
        calibration: Confidence against accuracy.
        mistakes: The wrong predictions of highest confidence, the most confident first.
        left_out: Images that could not be read and are not counted.
        threshold: Confidence below which the network names no class, or None. The figures above are those of the
            likeliest class all the same.
        called_none: How many images were below it; None without a threshold.
        model: Where the weights came from, in words.
        seconds: Duration, with reading the images.
    """

    unit: ClassVar[str] = "images"

    images: int
    top1: float
    top5: float
    top1_interval: tuple[float, float]
    top5_interval: tuple[float, float]
    mean_recall: float
    loss: float | None
    per_class: tuple[ClassFigures, ...]
    confusion: tuple[tuple[int, ...], ...]
    preprocessing: dict[str, Any]
    calibration: Calibration
    mistakes: tuple[ConfidentError, ...] = ()
    left_out: tuple[Failure, ...] = ()
    threshold: float | None = None
    called_none: int | None = None
    model: str = ""
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            **dataclasses.asdict(self),
            "per_class": [dataclasses.asdict(figures) for figures in self.per_class],
            "confusion": [list(row) for row in self.confusion],
            "left_out": [failure.to_dict() for failure in self.left_out],
        }

    def figures(self) -> Figures:
        """Sum up the evaluation in one line."""
        return Figures(
            images=self.images,
            top1=self.top1,
            top1_interval=self.top1_interval,
            top5=self.top5,
            top5_interval=self.top5_interval,
            loss=self.loss,
            ece=self.calibration.ece_equal_width,
        )

    def table(self) -> tuple[list[str], list[list[str]]]:
        """List the classes that have images, the hardest first, for terminals."""
        seen = [figures for figures in self.per_class if figures.images]
        seen.sort(key=lambda figures: figures.recall or 0.0)
        rows = [
            [
                figures.name,
                f"{figures.images:,}",
                f"{figures.recall:.1%}",
                "-" if figures.precision is None else f"{figures.precision:.1%}",
            ]
            for figures in seen
        ]
        return ["class", "images", "recall", "precision"], rows

    def per_class_table(self) -> tuple[list[str], list[list[Any]]]:
        """Return heading and rows of the figures of the classes; None where a class has none."""
        rows = []
        for figures in self.per_class:
            low, high = figures.recall_interval or (None, None)
            rows.append([figures.name, figures.images, figures.recall, figures.precision, low, high])
        return ["class", "images", "recall", "precision", "recall_low", "recall_high"], rows

    def per_class_csv(self) -> str:
        """The figures of the classes as CSV."""
        return csv_text(*self.per_class_table())

    def confusion_csv(self) -> str:
        """Write the confusion matrix as CSV: counts with a row for each true class, a column for each predicted one."""
        return csv_text(*confusion_table(self))


def make_evaluation(
    measured: Measured, *, bins: int = 15, worst: int = 24, threshold: float | None = None
) -> Evaluation:
    """Make the evaluation of a classifier from what one pass over the images gathered.

    Args:
        measured: Its ``answers`` are :class:`Answer`, its metrics ``top1`` and ``top5``.
        bins: Bins of the calibration.
        worst: Most confident errors to keep, at most.
        threshold: Confidence below which the network names no class, or None.
    """
    names, answers = measured.labels, measured.answers
    counts = confusion_counts(answers, len(names))
    images = len(answers)
    metrics: Any = measured.metrics
    top1, top5 = (int(metrics[name].tp.sum()) for name in ("top1", "top5"))
    return Evaluation(
        images=images,
        top1=top1 / images,
        top5=top5 / images,
        top1_interval=wilson_interval(top1, images),
        top5_interval=wilson_interval(top5, images),
        mean_recall=mean_recall(counts),
        loss=measured.loss,
        per_class=class_figures(names, counts),
        confusion=tuple(map(tuple, counts.tolist())),
        preprocessing=measured.preprocessing,
        calibration=calibration_of(answers, bins),
        mistakes=most_confident_errors(measured, worst),
        left_out=measured.left_out,
        threshold=threshold,
        called_none=None if threshold is None else sum(answer.confidence < threshold for answer in answers),
        model=measured.model,
        seconds=measured.seconds,
    )
