"""What every classifier's answers come to, whatever its inputs are: figures of the classes, and its errors.

Axes: K classes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from focalnets.intervals import wilson_interval
from focalnets.tasks.classify.calibration import Calibration, measure_calibration
from focalnets.tasks.evaluation import Measured
from focalnets.tasks.running import path_of

__all__ = [
    "Answer",
    "ClassFigures",
    "Classified",
    "ConfidentError",
    "calibration_of",
    "class_figures",
    "classifier_answers",
    "confusion_counts",
    "confusion_table",
    "mean_recall",
    "most_confident_errors",
]


class Answer(NamedTuple):
    """What a network says of one labelled image.

    Attributes:
        label: Index of its class.
        predicted: Index of the likeliest class.
        confidence: Probability of the predicted class, from 0 to 1.
        true_confidence: Probability of the true class.
    """

    label: int
    predicted: int
    confidence: float
    true_confidence: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassFigures:
    """How well one class is recognised.

    Attributes:
        name: The class.
        images: How many images of it were seen.
        recall: Fraction of them recognised; None without images.
        recall_interval: Wilson's 95 % confidence interval of ``recall``; None without images.
        precision: Fraction of the images called so that are of the class; None if none was called so.
    """

    name: str
    images: int
    recall: float | None
    precision: float | None
    recall_interval: tuple[float, float] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConfidentError:
    """An image that the network is sure of and calls wrongly.

    Attributes:
        path: The file, or ``image 7`` for data sets that are no files.
        index: Its number in the data set.
        true_class, predicted_class: What it is and what it is taken for.
        confidence: Probability of the predicted class, from 0 to 1.
        true_confidence: Probability of the true class.
    """

    path: str
    index: int
    true_class: str
    predicted_class: str
    confidence: float
    true_confidence: float


class Classified(Protocol):
    """A classifier measured on labelled inputs, as tables and charts show it.

    Attributes:
        unit: What its inputs are called, in the plural.
        images: How many there were.
        top1: Fraction whose class is the likeliest.
        per_class: One entry a class.
        confusion: Counts, one row for each true class, one column for each predicted one.
        calibration: Confidence against accuracy.
    """

    @property
    def unit(self) -> str: ...
    @property
    def images(self) -> int: ...
    @property
    def top1(self) -> float: ...
    @property
    def per_class(self) -> Sequence[ClassFigures]: ...
    @property
    def confusion(self) -> Sequence[Sequence[int]]: ...
    @property
    def calibration(self) -> Calibration: ...


def classifier_answers(logits: Tensor, labels: Tensor) -> list[Answer]:
    """Keep what a network says of each input: logits (B, K), with the labels (B,)."""
    probabilities = logits.double().softmax(-1)
    predicted = logits.argmax(-1, keepdim=True)
    columns = (
        labels,
        predicted[:, 0],
        probabilities.gather(-1, predicted)[:, 0],
        probabilities.gather(-1, labels[:, None])[:, 0],
    )
    return [Answer(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def calibration_of(answers: Sequence[Answer], bins: int) -> Calibration:
    """Compare confidence with accuracy, in so many bins."""
    confidences = [answer.confidence for answer in answers]
    return measure_calibration(confidences, [answer.predicted == answer.label for answer in answers], bins=bins)


def confusion_table(evaluation: Classified) -> tuple[list[str], list[list[Any]]]:
    """Return heading and rows of counts with a row for each true class, a column for each predicted one."""
    names = [figures.name for figures in evaluation.per_class]
    rows: list[list[Any]] = [[name, *counts] for name, counts in zip(names, evaluation.confusion, strict=True)]
    return ["true class", *names], rows


def confusion_counts(answers: Sequence[Answer], classes: int) -> np.ndarray:
    """Count which class was taken for which: (K, K) int64, rows are the true classes."""
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, ([answer.label for answer in answers], [answer.predicted for answer in answers]), 1)
    return counts


def most_confident_errors(measured: Measured, most: int) -> tuple[ConfidentError, ...]:
    """Select the wrong predictions of highest confidence, equals in the order of the inputs."""
    names = measured.labels
    wrong = [
        (index, answer)
        for index, answer in zip(measured.indices, measured.answers, strict=True)
        if answer.predicted != answer.label
    ]
    wrong.sort(key=lambda entry: -entry[1].confidence)
    return tuple(
        ConfidentError(
            path=str(path_of(measured.data, index)),
            index=index,
            true_class=names[answer.label],
            predicted_class=names[answer.predicted],
            confidence=answer.confidence,
            true_confidence=answer.true_confidence,
        )
        for index, answer in wrong[:most]
    )


def mean_recall(counts: np.ndarray) -> float:
    """Average the recall of the classes that have inputs, so that each of them counts the same."""
    right, totals = torch.from_numpy(counts.diagonal().copy()), torch.from_numpy(counts.sum(1))
    return float((right[totals > 0] / totals[totals > 0]).double().mean())


def class_figures(names: Sequence[str], counts: np.ndarray) -> tuple[ClassFigures, ...]:
    """Compute figures of each class from counts (K, K), see :func:`confusion_counts`."""
    figures = []
    for index, name in enumerate(names):
        images, called, right = int(counts[index].sum()), int(counts[:, index].sum()), int(counts[index, index])
        figures.append(
            ClassFigures(
                name=name,
                images=images,
                recall=right / images if images else None,
                recall_interval=wilson_interval(right, images) if images else None,
                precision=right / called if called else None,
            )
        )
    return tuple(figures)
