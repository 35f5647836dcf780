"""The files and sections that classification adds to an evaluation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from focalnets.files import csv_text, write_text
from focalnets.models.config import Preprocessing
from focalnets.report.parts import Column, Fact, Section, TableCell
from focalnets.report.pictures import fit_within
from focalnets.tasks.classify.classified import Classified
from focalnets.tasks.classify.figures import draw_calibration, draw_confident_errors, draw_confusion
from focalnets.tasks.classify.results import Evaluation, Prediction, none_of_the_classes
from focalnets.tasks.classify.sections import (
    calibration_section,
    classes_section,
    confusion_section,
    errors_section,
)
from focalnets.tasks.evaluation import EvaluationReport, loss_in_words, size_in_words, spec_of

_MOST_SHOWN_PX = 1024

__all__ = [
    "calibration_csv",
    "evaluation_facts",
    "evaluation_sections",
    "evaluation_summary",
    "pictures_of_errors",
    "prediction_row",
    "predictions_table",
    "write_evaluation_files",
]


def evaluation_summary(evaluation: Evaluation) -> list[str]:
    """Tell accuracy, speed, calibration, and how many images are called none of the classes."""
    low, high = evaluation.top1_interval
    preprocessing, calibration = evaluation.preprocessing, evaluation.calibration
    crop = f" (crop {preprocessing['crop_fraction']:g}, {preprocessing['interpolation']})"
    size = size_in_words(preprocessing) + ("" if "look" in preprocessing else crop)
    none = []
    if evaluation.called_none is not None:
        none.append(
            f"{evaluation.called_none:,} of {evaluation.images:,} images stay below the confidence "
            f"{evaluation.threshold:g}: predict calls them {none_of_the_classes(len(evaluation.per_class))!r}, the "
            "figures above count their likeliest class"
        )
    return [
        f"top-1 {evaluation.top1:.2%} (95 % interval {low:.2%} to {high:.2%}), top-5 {evaluation.top5:.2%}"
        f"{loss_in_words(evaluation.loss)} on {evaluation.images:,} images {size}, "
        f"{evaluation.images / max(evaluation.seconds, 1e-9):.0f} images/s",
        f"mean recall {evaluation.mean_recall:.2%}, mean confidence {calibration.mean_confidence:.2%}, expected "
        f"calibration error {calibration.ece_equal_width:.2%} ({len(calibration.equal_width)} bins of equal "
        f"width), {calibration.ece_equal_count:.2%} ({len(calibration.equal_count)} bins of equal count)",
        *none,
    ]


def prediction_row(result: Prediction) -> dict[Column, TableCell]:
    """Make a row of the likeliest class with its confidence, and the others in one cell; all, if none seems right."""
    classes = list(zip(result.class_names, result.confidences, strict=True))
    others = classes if result.is_none_of_the_classes else classes[1:]
    row: dict[Column, TableCell] = {Column("image"): str(result.path), Column("class"): result.verdict}
    row[Column("confidence", "number", ".1%")] = result.confidences[0]
    return row | ({Column("then"): ", ".join(f"{name} {value:.1%}" for name, value in others)} if others else {})


def predictions_table(results: Sequence[Prediction]) -> tuple[list[str], list[list[Any]]]:
    """Make a row for each class of each image; where the network tells, with whether it seems to show none of them."""
    tells = any(result.threshold is not None for result in results)
    rows = [
        [str(result.path), rank, name, confidence, *([result.is_none_of_the_classes] if tells else [])]
        for result in results
        for rank, (name, confidence) in enumerate(zip(result.class_names, result.confidences, strict=True), 1)
    ]
    return ["path", "rank", "class", "confidence", *(["none_of_the_classes"] if tells else [])], rows


def write_evaluation_files(evaluation: Evaluation, pictures: Sequence[Image.Image], folder: Path) -> list[str]:
    """Write figures as CSV and pictures as PNG; returns the files' names.

    Args:
        evaluation: What was measured.
        pictures: What the network saw of the most confident errors.
        folder: Where to write.
    """
    write_text(folder / "per_class.csv", evaluation.per_class_csv())
    write_text(folder / "confusion.csv", evaluation.confusion_csv())
    draw_confusion(evaluation, folder / "confusion.png")
    write_text(folder / "calibration.csv", calibration_csv(evaluation))
    draw_calibration(evaluation, folder / "calibration.png")
    write_text(folder / "mistakes.csv", _errors_csv(evaluation))
    names = ["per_class.csv", "confusion.csv", "confusion.png", "calibration.csv", "calibration.png", "mistakes.csv"]
    if pictures:
        draw_confident_errors(evaluation.mistakes, pictures, folder / "mistakes.png")
        names.append("mistakes.png")
    return names


def evaluation_facts(evaluation: Evaluation) -> list[Fact]:
    """Choose the figures that count most."""
    calibration = evaluation.calibration
    return [
        Fact(f"{evaluation.top1:.1%}", f"top-1: the likeliest class is right ({_interval(evaluation.top1_interval)})"),
        Fact(
            f"{evaluation.top5:.1%}",
            f"top-5: right among the {min(5, len(evaluation.per_class))} likeliest "
            f"({_interval(evaluation.top5_interval)})",
        ),
        Fact(f"{evaluation.mean_recall:.1%}", "mean recall: each class that has images counts the same"),
        Fact(
            f"{calibration.ece_equal_width:.1%}",
            f"expected calibration error, {len(calibration.equal_width)} bins of equal width",
        ),
    ]


def pictures_of_errors(
    report: EvaluationReport, seen: Callable[[tuple[Any, Any], Preprocessing], Image.Image]
) -> list[Image.Image]:
    """Show what the network saw of the most confident errors; ``seen`` shows it of an item that was resized."""
    items = (report.dataset[mistake.index] for mistake in report.evaluation.mistakes)
    if "look" in report.evaluation.preprocessing:
        return [fit_within(picture, _MOST_SHOWN_PX) for picture, _ in items]
    spec = spec_of(report.evaluation.preprocessing)
    return [seen(item, spec) for item in items]


def evaluation_sections(evaluation: Evaluation, pictures: Sequence[Image.Image]) -> list[Section]:
    """Write down an evaluation of a classifier as sections of a page; ``pictures`` as above."""
    return [
        classes_section(evaluation),
        confusion_section(evaluation),
        calibration_section(evaluation),
        errors_section(evaluation, pictures),
    ]


def _interval(interval: tuple[float, float]) -> str:
    return f"95 % interval {interval[0]:.1%} to {interval[1]:.1%}"


def calibration_csv(evaluation: Classified) -> str:
    """Write the bins of the calibration as CSV."""
    kinds = (
        ("equal width", evaluation.calibration.equal_width),
        ("equal count", evaluation.calibration.equal_count),
    )
    rows = ([kind, *dataclasses.astuple(bin_)] for kind, bins in kinds for bin_ in bins)
    return csv_text(["bins", "low", "high", evaluation.unit, "confidence", "accuracy"], rows)


def _errors_csv(evaluation: Evaluation) -> str:
    heading = ["path", "index", "true_class", "predicted_class", "confidence", "true_confidence"]
    return csv_text(heading, (dataclasses.astuple(mistake) for mistake in evaluation.mistakes))
