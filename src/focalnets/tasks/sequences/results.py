"""What classifying sequences returns: plain, frozen values that survive JSON.

Axes: K classes.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np

from focalnets.files import csv_text
from focalnets.intervals import Estimate, f1_scores, wilson_interval
from focalnets.tasks.classify.calibration import Calibration
from focalnets.tasks.classify.classified import (
    ClassFigures,
    ConfidentError,
    calibration_of,
    class_figures,
    confusion_counts,
    confusion_table,
    most_confident_errors,
)
from focalnets.tasks.classify.results import Prediction
from focalnets.tasks.evaluation import Failure, Measured

__all__ = [
    "Baseline",
    "Evaluation",
    "SequenceClass",
    "SequenceError",
    "SequencePrediction",
    "make_evaluation",
    "rarer_class",
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SequencePrediction(Prediction):
    """What a network says about one sequence.

    Attributes:
        text: The text; empty for a series.
    """

    text: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; the text only where it is one."""
        values = super().to_dict()
        return {"path": values.pop("path"), **({"text": self.text} if self.text else {}), **values}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SequenceClass(ClassFigures):
    """How well one class is recognised.

    Attributes:
        f1: Harmonic mean of precision and recall, with its 95 % interval; None for a class that is
            neither true nor named.
    """

    f1: Estimate | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class SequenceError(ConfidentError):
    """A sequence that the network is sure of and calls wrongly.

    Attributes:
        text: The text; empty for a series.
    """

    text: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Baseline:
    """A plain method measured on the same inputs as a network.

    Attributes:
        method: What it is.
        accuracy, macro_f1: As of an :class:`Evaluation`.
        rarer_f1: F1 of the rarer class of two; None for more classes.
        difference: Accuracy of the network less that of the method, of the same inputs.
        verdict: What follows, in a sentence.
    """

    method: str
    accuracy: float
    macro_f1: float
    rarer_f1: float | None
    difference: Estimate
    verdict: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A network measured on labelled sequences.

    Attributes:
        inputs: How many, each counted once.
        unit: What they are called, in the plural.
        accuracy: Fraction whose class is the likeliest, with Wilson's 95 % interval.
        macro_f1: Mean of F1 over the classes that are true or named, with its 95 % interval by drawing the inputs anew.
        rarer_class: Of two classes that occur the one with fewer inputs; empty for others.
        rarer_f1: F1 of that class.
        loss: Mean cross-entropy [nats].
        per_class: One entry a class.
        confusion: Counts, one row for each true class, one column for each predicted one.
        calibration: Confidence against accuracy.
        mistakes: The wrong predictions of highest confidence, the most confident first.
        preprocessing: How the inputs were prepared.
        baseline: A plain method on the same inputs; None where none was measured.
        baseline_note: Why none was measured; empty where one was, or none is known.
        left_out: Inputs that could not be read and are not counted.
        model: Where the weights came from, in words.
        seconds: Duration, with reading.
    """

    inputs: int
    unit: str
    accuracy: Estimate
    macro_f1: Estimate
    rarer_class: str
    rarer_f1: Estimate | None
    loss: float | None
    per_class: tuple[SequenceClass, ...]
    confusion: tuple[tuple[int, ...], ...]
    calibration: Calibration
    mistakes: tuple[SequenceError, ...]
    preprocessing: dict[str, Any]
    baseline: Baseline | None = None
    baseline_note: str = ""
    left_out: tuple[Failure, ...] = ()
    model: str = ""
    seconds: float = 0.0

    @property
    def images(self) -> int:
        """The inputs, under the name that tables and charts of classifiers have for them."""
        return self.inputs

    @property
    def top1(self) -> float:
        """The accuracy, under the name that tables and charts of classifiers have for it."""
        return self.accuracy.value

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        values = _with_inputs(dataclasses.asdict(self))
        return {**values, "left_out": [failure.to_dict() for failure in self.left_out]}

    def figures(self) -> Figures:
        """Sum up the evaluation in one line."""
        return Figures(inputs=self.inputs, accuracy=self.accuracy, macro_f1=self.macro_f1, loss=self.loss)

    def table(self) -> tuple[list[str], list[list[str]]]:
        """List the classes that have inputs, the hardest first, for terminals."""
        seen = sorted((figures for figures in self.per_class if figures.images), key=lambda each: each.recall or 0.0)
        rows = [
            [
                figures.name,
                f"{figures.images:,}",
                f"{figures.recall:.1%}",
                "-" if figures.precision is None else f"{figures.precision:.1%}",
                "-" if figures.f1 is None else f"{figures.f1.value:.1%}",
            ]
            for figures in seen
        ]
        return ["class", self.unit, "recall", "precision", "F1"], rows

    def per_class_table(self) -> tuple[list[str], list[list[Any]]]:
        """Return heading and rows of the figures of the classes; None where a class has none."""
        rows = []
        for figures in self.per_class:
            recall_low, recall_high = figures.recall_interval or (None, None)
            f1, low, high = (None,) * 3 if figures.f1 is None else dataclasses.astuple(figures.f1)
            rows.append([figures.name, figures.images, figures.recall, figures.precision, recall_low, recall_high,
                         f1, low, high])  # fmt: skip
        heading = ["class", self.unit, "recall", "precision", "recall_low", "recall_high", "f1", "f1_low", "f1_high"]
        return heading, rows

    def confusion_csv(self) -> str:
        """Write the confusion matrix as CSV: counts with a row for each true class, a column for each predicted one."""
        return csv_text(*confusion_table(self))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figures:
    """An evaluation in one line; the attributes mean what they mean in :class:`Evaluation`."""

    names: ClassVar[tuple[str, ...]] = ("accuracy", "macro_f1")

    inputs: int
    accuracy: Estimate
    macro_f1: Estimate
    loss: float | None

    def value(self, metric: str) -> float:
        """Return a metric by its name."""
        return getattr(self, metric).value

    def interval(self, metric: str) -> tuple[float, float] | None:
        """Return the 95 % confidence interval of a metric."""
        estimate: Estimate = getattr(self, metric)
        return estimate.low, estimate.high

    def to_row(self) -> dict[str, Any]:
        """Return one cell for each column of a table."""
        row: dict[str, Any] = {"inputs": self.inputs}
        for name in self.names:
            estimate: Estimate = getattr(self, name)
            row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        return row | {"loss": self.loss}

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return dataclasses.asdict(self)


def make_evaluation(measured: Measured, *, unit: str, bins: int, worst: int) -> Evaluation:
    """Put together an evaluation from what one pass over the inputs gathered.

    Args:
        measured: Its ``answers`` are :class:`focalnets.tasks.classify.classified.Answer`.
        unit: What the inputs are called.
        bins: Bins of the calibration.
        worst: Most confident errors to keep, at most.
    """
    names, answers = measured.labels, measured.answers
    counts = confusion_counts(answers, len(names))
    inputs, right = len(answers), int(counts.trace())
    *f1, macro = f1_scores(counts)
    assert macro is not None, "at least one input"
    texts = getattr(measured.data, "texts", None)
    rarer = rarer_class(counts)
    mistakes = (
        SequenceError(**dataclasses.asdict(mistake), text="" if texts is None else texts[mistake.index])
        for mistake in most_confident_errors(measured, worst)
    )
    return Evaluation(
        inputs=inputs,
        unit=unit,
        accuracy=Estimate(right / inputs, *wilson_interval(right, inputs)),
        macro_f1=macro,
        rarer_class="" if rarer is None else names[rarer],
        rarer_f1=None if rarer is None else f1[rarer],
        loss=measured.loss,
        per_class=tuple(
            SequenceClass(**dataclasses.asdict(figures), f1=score)
            for figures, score in zip(class_figures(names, counts), f1, strict=True)
        ),
        confusion=tuple(map(tuple, counts.tolist())),
        calibration=calibration_of(answers, bins),
        mistakes=tuple(mistakes),
        preprocessing=measured.preprocessing,
        left_out=measured.left_out,
        model=measured.model,
        seconds=measured.seconds,
    )


def rarer_class(counts: np.ndarray) -> int | None:
    """Find the class of two that has fewer inputs, from counts (2, 2); the second of equals.

    None for more classes, or where one of the two does not occur.
    """
    if len(counts) != 2 or not counts.sum(1).all():
        return None
    first, second = counts.sum(1)
    return 0 if first < second else 1


def _with_inputs(value: Any) -> Any:
    """Call ``inputs`` what values of classifiers of images call ``images``."""
    if isinstance(value, dict):
        return {"inputs" if key == "images" else key: _with_inputs(inner) for key, inner in value.items()}
    return [_with_inputs(inner) for inner in value] if isinstance(value, list | tuple) else value
